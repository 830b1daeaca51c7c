"""A network without a loop on a GPU: one recurrent step, its products by kernels of their own."""

from __future__ import annotations

import pytest
from proposing import proposed

from tilewright.judge.api import check
from tilewright.problem import Problem

pytestmark = pytest.mark.gpu
CELL = """import torch
import torch.nn as nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.inward = nn.Linear({inner}, {width})
        self.outward = nn.Linear({width}, {out})

    def forward(self, x, h):
        return self.outward(torch.tanh(self.inward(torch.cat((x, h), dim=1))))


def get_inputs():
    return [torch.randn({rows}, {inner} // 2), torch.randn({rows}, {inner} // 2)]


def get_init_inputs():
    return []
"""


@pytest.mark.parametrize("precision", ["tf32", "float32"])
@pytest.mark.parametrize(
    ("rows", "inner", "width", "out"),
    [(256, 8192, 4096, 2048), (300, 8204, 4100, 2051), (8, 4096, 4096, 4096), (100, 1030, 517, 33)],
)
def test_the_step_is_what_the_reference_computes(
    rows: int, inner: int, width: int, out: int, precision: str
) -> None:
    from tilewright.gpu.plugged import plugged_in

    gpu = plugged_in()
    assert gpu is not None
    problem = Problem.from_source(CELL.format(rows=rows, inner=inner, width=width, out=out))
    proposals = proposed(problem, gpu, precision)
    assert proposals.candidates, proposals.notes
    verdict = check(problem, proposals.candidates[0].source, precision=precision, target=gpu)
    assert verdict.correct, verdict.reason
