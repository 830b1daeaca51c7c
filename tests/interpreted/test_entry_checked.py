"""Functions in place of ModelNew files, judged: one of each kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tilewright.cli import main
from tilewright.entry import model_new
from tilewright.problem import Problem

pytestmark = pytest.mark.interpreted

TESTS = Path(__file__).parents[1]
DATA = TESTS / "data" / "entry"
PROBLEMS = {
    "linear": TESTS / "problems" / "linear.py",
    "softmax": TESTS / "problems" / "softmax.py",
    "norm": DATA / "norm_problem.py",
}


def checked(capsys: pytest.CaptureFixture[str], file: str, name: str, *options: str) -> tuple[int, str, str]:
    code = main(
        [
            "check",
            "--entry",
            f"{DATA / file}.py:{name}",
            "--problem",
            str(PROBLEMS[file]),
            "--trials",
            "1",
            *options,
        ]
    )
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    ("file", "name", "call"),
    [
        ("linear", "linear", "linear(x, self.weight, self.bias)"),
        ("softmax", "softmax", "softmax(x)"),
        (
            "norm",
            "layer_norm",
            "layer_norm(x, self.norm.normalized_shape, self.norm.weight, self.norm.bias, self.eps)",
        ),
    ],
)
def test_a_function_is_judged_as_the_reference_replaced_by_it(
    capsys, file: str, name: str, call: str
) -> None:
    code, out, err = checked(capsys, file, name, "--json")
    answer = json.loads(out)
    assert (code, answer["verdict"]["outcome"], answer["breaches"]) == (0, "correct", [])
    assert f"ModelNew.forward returns {call}" in err


REACH = """
import torch
import torch.nn as nn

class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.rates = [rate.item() for rate in torch.linspace(0, 1, 3)]
        self.layers = nn.ModuleList([nn.Linear(width, 4, bias=False), nn.BatchNorm1d(4)])
        self.register_buffer("shift", torch.zeros(4))
        self.heads = 2

    def forward(self, x):
        return x

def get_inputs():
    return [torch.randn(3, 8)]

def get_init_inputs():
    return [8]
"""


def test_everything_that_the_model_holds_can_be_reached(tmp_path: Path) -> None:
    """Its constructor reads values, so it is built of real tensors."""
    path = tmp_path / "kernels.py"
    names = "x, rates, layers_0_weight, layers_0_bias, running_mean, shift, heads, eps"
    path.write_text(f"import torch\n\n\ndef f({names}):\n    return x\n")
    source = model_new(Problem.from_source(REACH), f"{path}:f").source
    assert "".join(source.rpartition("return ")[2].split()) == (
        "f(x,self.rates,self.layers[0].weight,self.layers[0].bias,self.layers[1].running_mean,self.shift,"
        "self.heads,self.layers[1].eps,)"
    )
