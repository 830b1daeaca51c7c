"""Files of the recurrence compiler, built for GPUs that are not there: they fit, and no loop spills.

A card is tried with the networks that press it hardest; `test_recurrence_spread_compiled` and
`test_recurrence_stationary` build the easier ones.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from proposing import proposed

from tilewright.gpu.catalogue import find
from tilewright.inspect.api import inspect
from tilewright.problem import Problem

pytestmark = pytest.mark.compiled
ROOT = Path(__file__).parents[2]
LAYER = """import torch
import torch.nn as nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.{kind}({hidden}, {hidden})

    def forward(self, x):
        return self.rnn(x)[0]


def get_inputs():
    return [torch.randn(16, {batch}, {hidden})]


def get_init_inputs():
    return []
"""


def layer(kind: str, hidden: int, batch: int = 8) -> Problem:
    return Problem.from_source(LAYER.format(kind=kind, hidden=hidden, batch=batch))


def with_a_head(kind: str, hidden: int, batch: int) -> Problem:
    text = LAYER.replace("return self.rnn(x)[0]", "return self.head(self.rnn(x)[0])")
    head = "        self.head = nn.Linear({hidden}, {hidden})\n\n"
    text = text.replace("    def forward", head + "    def forward")
    return Problem.from_source(text.format(kind=kind, hidden=hidden, batch=batch))


def built(
    problem: Problem, gpu_name: str, dialect: str = "triton", place: int = 0, plan: str | None = None
) -> str:
    """Its plan; fails unless the file proposed there runs on the card without spills inside a loop."""
    gpu = find(gpu_name)
    proposals = proposed(problem, gpu, dialect=dialect, plan=plan)
    assert proposals.candidates, proposals.notes
    candidate = proposals.candidates[place]
    found = inspect(problem, candidate.source, gpu)
    kernels = [kernel for kernel in found.resources if kernel.kernel.startswith("recurrence")]
    assert kernels
    for kernel in found.resources:
        assert not kernel.problem
        assert kernel.shared_static_bytes + kernel.shared_dynamic_bytes <= gpu.shared_memory_per_block_bytes
    for kernel in kernels:
        assert kernel.spills.in_loop == 0
    assert found.estimate is not None and found.estimate.breakdown
    return candidate.settings["plan"]


@pytest.mark.parametrize("gpu", ["RTX 4090", "H200"])
@pytest.mark.parametrize("dialect", ["triton", "gluon"])
def test_the_reference_case(gpu: str, dialect: str) -> None:
    built(Problem.from_file(ROOT / "examples" / "vanilla_rnn" / "problem.py"), gpu, dialect)


def test_six_layers_of_lstm() -> None:
    built(Problem.from_file(ROOT / "benchmarks" / "problems" / "lstm.py"), "RTX 4090")


@pytest.mark.parametrize("plan", ["spread", "streamed"])
@pytest.mark.parametrize(
    ("gpu", "kind", "hidden"),
    [
        ("RTX 4090", "LSTM", 1024),
        ("A100", "GRU", 1024),
        ("RTX 5090", "RNN", 512),
    ],
)
def test_one_layer(gpu: str, kind: str, hidden: int, plan: str) -> None:
    assert f"weights {plan}" in built(layer(kind, hidden), gpu, plan=plan)


@pytest.mark.parametrize("gpu", ["RTX 4090", "A100", "RTX 5090"])
def test_weights_shared_by_many_rows_are_read_every_step(gpu: str) -> None:
    assert "weights streamed" in built(with_a_head("LSTM", 1024, 64), gpu)


@pytest.mark.parametrize("dialect", ["triton", "gluon"])
@pytest.mark.parametrize(
    ("gpu", "kind", "hidden", "batch", "rows"),
    [
        ("H200", "RNN", 64, 64, 64),
        ("RTX 4090", "RNN", 128, 32, 32),
        ("RTX 5090", "RNN", 128, 64, 64),
        ("A100", "RNN", 256, 64, 64),
    ],
)
def test_one_launch_whose_workers_compute_large_tiles(
    gpu: str, kind: str, hidden: int, batch: int, rows: int, dialect: str
) -> None:
    problem = with_a_head(kind, hidden, batch)
    source = proposed(problem, find(gpu), dialect=dialect, plan="stationary").candidates[0].source
    assert "launch_cooperative_grid=True" in source and f" * {rows} + " in source
    built(problem, gpu, dialect, plan="stationary")


def test_a_spread_loop_comes_in_two_layouts() -> None:
    assert built(layer("LSTM", 256), "H200", place=1).endswith("weights spread, in another layout")


def test_weights_that_fit_no_registers_are_streamed() -> None:
    assert "weights streamed" in built(layer("LSTM", 2048), "RTX 4090")
