"""The benchmark's sides compute the reference: checked on the CPU, where PyTorch alone is needed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))  # scripts, not a package: they import one another by name

import sides  # noqa: E402
import vanilla_rnn  # noqa: E402

OTHER_NAMES = """
import torch
import torch.nn as nn


class ModelNew(nn.Module):
    def __init__(self, input_size, hidden_size, output_size):
        super().__init__()
        self.weight_i2h = nn.Parameter(torch.zeros(hidden_size, input_size + hidden_size))
        self.bias_i2h = nn.Parameter(torch.zeros(hidden_size))
        self.weight_h2o = nn.Parameter(torch.zeros(output_size, hidden_size))
        self.bias_h2o = nn.Parameter(torch.zeros(output_size))

    def forward(self, x, h0):
        outputs = []
        for step in x:
            h0 = torch.tanh(torch.cat((step, h0), dim=1) @ self.weight_i2h.T + self.bias_i2h)
            outputs.append(h0 @ self.weight_h2o.T + self.bias_h2o)
        return torch.stack(outputs)
"""


@pytest.fixture(scope="module")
def case() -> sides.Case:
    return vanilla_rnn.reference_case(torch.device("cpu"), seed=0)


def test_the_case_has_the_sizes_of_the_example(case: sides.Case):
    assert vanilla_rnn.sizes(case) == {"T": 256, "B": 8, "I": 1024, "H": 256, "O": 128, "dtype": "float32"}
    assert case.expected.dtype == torch.float64
    with torch.no_grad():
        assert case.error(case.model(*case.inputs)) < 1e-5


@pytest.mark.parametrize("dtype, most", [(torch.float32, 1e-5), (torch.float16, 3e-3)])
def test_nn_rnn_with_split_weights_is_the_loop(case: sides.Case, dtype: torch.dtype, most: float):
    with torch.no_grad():
        output = vanilla_rnn.cudnn(case, dtype)()
    assert output.dtype == dtype
    assert case.error(output) < most


def test_a_file_whose_parameters_have_other_names_gets_the_same_weights(case: sides.Case, tmp_path: Path):
    path = tmp_path / "candidate.py"
    path.write_text(OTHER_NAMES)
    with torch.no_grad():
        assert case.error(sides.model_new(case, path)()) < 1e-5


@pytest.mark.parametrize(
    "spoil, said",
    [
        (lambda output: output[:, :, :-1], "output of shape"),
        (lambda output: output * float("nan"), "not finite"),
        (lambda output: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_a_side_that_fails_says_why_and_is_not_timed(case: sides.Case, spoil, said: str):
    entry = sides.Entry("spoilt", lambda: lambda: spoil(case.expected))
    side, contender = sides.build(entry, case)
    assert contender is None
    assert side.error is None
    assert said in side.note
