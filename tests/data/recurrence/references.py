"""What a test needs to write a reference that steps through time, compile it and compare it with PyTorch."""

from __future__ import annotations

import textwrap
from typing import Any

import torch

from tilewright.problem import import_problem
from tilewright.proposers.recurrence.frontend.passes import compile_network
from tilewright.proposers.recurrence.ir import Network
from tilewright.proposers.recurrence.oracle import execute

HEADER = """\
import torch
import torch.nn as nn
import torch.nn.functional as F

T, B, I, H, O = 6, 3, 4, 5, 2


def get_init_inputs():
    return []


"""
SEQUENCE = "[torch.randn(T, B, I)]"
WIDE = "[torch.randn(T, B, H)]"


def problem(init: str, signature: str, forward: str, inputs: str = SEQUENCE) -> str:
    """A problem file: the lines of the constructor, forward's arguments and lines, and its inputs."""

    def indented(lines: str) -> str:
        return textwrap.indent(textwrap.dedent(lines).strip(), " " * 8)

    return (
        HEADER
        + "class Model(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        + indented(init)
        + f"\n\n    def forward(self, {signature}):\n"
        + indented(forward)
        + f"\n\n\ndef get_inputs():\n    return {inputs}\n"
    )


def leaves(value: Any) -> list[torch.Tensor]:
    return [value] if isinstance(value, torch.Tensor) else [leaf for item in value for leaf in leaves(item)]


def compiled(source: str) -> Network:
    """The network of a problem, after its oracle agreed with the reference in float64."""
    network = compile_network(source, "problem.py")
    agrees(source, network)
    return network


def agrees(source: str, network: Network) -> None:
    reference = import_problem(source, "problem.py")
    torch.manual_seed(0)
    model = reference.model(*reference.get_init_inputs()).double()
    inputs = [v.double() if v.is_floating_point() else v for v in reference.get_inputs()]
    members = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():
            torch.manual_seed(1)
            expected = leaves(model(*inputs))
            torch.manual_seed(1)
            found = leaves(execute(network, inputs, members))
    finally:
        torch.set_default_dtype(torch.float32)
    assert [v.shape for v in found] == [v.shape for v in expected]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-8)
