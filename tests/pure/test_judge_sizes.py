"""Sizes cut down to what can be interpreted: which of them, and how far."""

from __future__ import annotations

import pytest

from tilewright.errors import AmbiguousParameters, ProblemError
from tilewright.judge.inputs.constants import size_constants
from tilewright.judge.inputs.sizes import Cost, fit

PROBLEM = """
from torch import nn
WIDTH, ROWS = 64, 512
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)
def get_inputs():
    return [torch.randn(ROWS, WIDTH)]
def get_init_inputs():
    return []
"""


@pytest.mark.parametrize("error", [AmbiguousParameters("no pair"), ProblemError("does not run")])
def test_a_size_that_the_candidate_does_not_follow_is_left_alone(error: Exception) -> None:
    def measure(text: str) -> Cost:
        sizes = {name: constant.value for name, constant in size_constants(text).items()}
        if sizes["WIDTH"] != 64:  # it is not handed to the constructor, so the candidate still has 64 of them
            raise error
        return Cost(1, sizes["ROWS"] // 16, 0.1 * sizes["ROWS"], {"kernel": sizes["ROWS"] // 16})

    found = fit(PROBLEM, measure, "", seconds=7.0)
    assert found.cut == "ROWS 512 → 64"
    assert found.seconds == pytest.approx(6.4)
