"""Files whose one launch runs a loop and the products around it, on a GPU."""

from __future__ import annotations

import pytest
from proposing import proposed

from tilewright.judge.api import check
from tilewright.problem import Problem

pytestmark = pytest.mark.gpu
SOURCE = """import torch
import torch.nn as nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.{kind}({inputs}, {hidden})
        self.head = nn.Linear({hidden}, {outputs})

    def forward(self, x):
        return self.head(self.rnn(x)[0])


def get_inputs():
    return [torch.randn({steps}, {batch}, {inputs})]


def get_init_inputs():
    return []
"""


@pytest.mark.parametrize("dialect", ["triton", "gluon"])
@pytest.mark.parametrize(
    ("kind", "steps", "batch", "inputs", "hidden", "outputs"),
    [
        ("RNN", 256, 8, 1024, 256, 128),
        ("RNN", 301, 17, 100, 256, 70),
        ("LSTM", 65, 1, 64, 128, 10),
        ("GRU", 7, 24, 300, 100, 33),
        ("GRU", 65, 40, 100, 100, 33),  # tiles of 32 rows
        ("RNN", 301, 70, 100, 128, 70),  # of 64
        ("LSTM", 65, 64, 64, 64, 10),
    ],
)
def test_one_launch_is_right(
    kind: str, steps: int, batch: int, inputs: int, hidden: int, outputs: int, dialect: str
) -> None:
    from tilewright.gpu.plugged import plugged_in

    posed = Problem.from_source(
        SOURCE.format(kind=kind, steps=steps, batch=batch, inputs=inputs, hidden=hidden, outputs=outputs)
    )
    gpu = plugged_in()
    assert gpu is not None
    proposals = proposed(posed, gpu, dialect=dialect, plan="stationary")
    source = proposals.candidates[0].source
    assert "launch_cooperative_grid=True" in source
    verdict = check(posed, source, precision="tf32", trials=10)
    assert verdict.correct, verdict.reason
