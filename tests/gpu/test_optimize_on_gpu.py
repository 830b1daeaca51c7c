"""A whole run beside a device, from a reference alone."""

from pathlib import Path

import pytest

from tilewright.api import optimize
from tilewright.gpu.plugged import plugged_in
from tilewright.problem import Problem

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(400)]
LAYER = """import torch
import torch.nn as nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.{layer}(64, 64)

    def forward(self, x):
        return self.rnn(x)[0]


def get_inputs():
    return [torch.randn(128, 4, 64)]


def get_init_inputs():
    return []
"""


@pytest.mark.parametrize("layer", ["LSTM", "GRU"])
def test_a_recurrent_layer_is_optimized(tmp_path: Path, layer: str) -> None:
    """Its reference is one of cuDNN's layers, which ask the device for much, and inspection hides it."""
    problem = Problem.from_source(LAYER.format(layer=layer))
    summary = optimize(
        problem,
        tmp_path / "run",
        gpu=plugged_in(),
        stages=("algorithm",),
        precision="tf32",
        budget_seconds=60.0,
    )
    assert summary.verdict.correct
    assert summary.gain is not None and summary.gain.shown
