"""Functions in place of ModelNew files, judged: one of each kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tilewright.cli import main

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
