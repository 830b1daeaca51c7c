"""Stationary recurrences, run program by program under Triton's interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tilewright.gpu.catalogue import find
from tilewright.judge.api import check
from tilewright.judge.interpreted.assembly import FORMS
from tilewright.problem import Problem
from tilewright.proposers.recurrence.emit.module import module
from tilewright.proposers.recurrence.frontend.passes import compile_network
from tilewright.proposers.recurrence.ir import Group
from tilewright.proposers.recurrence.stationary import emit as emit_stationary

pytestmark = pytest.mark.interpreted
SCRIPT = Path(__file__).parents[1] / "data" / "recurrence" / "interpret_stationary.py"
CASES = [
    # cell, steps, batch, hidden, precision, reverse, factor of the streams
    ("elman", 3, 3, 16, "tf32", False, 1.0),
    ("elman", 4, 2, 33, "float32", True, 1.0),
    ("lstm", 4, 5, 32, "tf32", False, 1.0),
    ("lstm", 3, 1, 17, "bfloat16", True, 1.0),
    ("gru", 4, 9, 24, "float16", True, 1.0),
    ("leaky", 4, 5, 20, "float32", False, 1.0),  # a mask of one column
    ("leaky", 3, 2, 60, "tf32", True, 1.0),
    ("columns", 3, 3, 20, "float32", False, 1.0),
    ("gated", 3, 2, 140, "tf32", True, 1.0),  # 32 rows of a wide value to a warp, 16 of a single column
    ("relu", 3, 1, 1, "tf32", False, 1.0),  # unbounded states: two bfloat16 for each number
    ("relu", 5, 3, 40, "tf32", False, 1.0),
]
SATURATED = [
    ("elman", 4, 2, 16, "tf32", False, 1e5),
    ("elman", 4, 2, 16, "float32", False, 1e5),
    ("lstm", 4, 2, 16, "tf32", False, 1e5),
    ("gru", 4, 2, 16, "float16", False, 1e5),
]
# operands rounded to 11, 8 or 24 bits of mantissa; sums of K ≤ 40 terms, over at most 5 steps
BUDGET = {"float32": 1e-6, "tf32": 2 * 2**-11, "float16": 2 * 2**-11, "bfloat16": 2 * 2**-8}


def figures(cases: list[tuple[object, ...]]) -> list[tuple[float, float, bool]]:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), json.dumps(cases)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [tuple(one) for one in json.loads(done.stdout.splitlines()[-1])]


def test_results_match_the_step_by_step_loop() -> None:
    found = figures(CASES)
    over = [(case, f) for case, f in zip(CASES, found, strict=True) if not f[0] < BUDGET[case[4]]]
    assert not over


def test_two_bfloat16_for_each_number_keep_more_than_tf32() -> None:
    ((error, _, _),) = figures([CASES[-1]])
    assert error < 2**-14


def test_saturated_gates_stay_at_their_ends() -> None:
    for case, (_, largest, finite) in zip(SATURATED, figures(SATURATED), strict=True):
        assert finite, case
        if case[0] == "elman":
            assert largest == 1.0, case


def test_an_infinite_state_is_as_infinite_in_parts() -> None:
    """Its rest is no number and must not reach the step: W h is an infinity, and tanh of that 1 or -1."""
    cases = [("elman", 4, 2, 20, "float32", False, 1.0, sign * float("inf")) for sign in (1, -1)]
    for error, _, finite in figures(cases):
        assert finite and error < BUDGET["float32"]


@pytest.mark.parametrize(
    ("form", "ends"), [("approximate_tanh", (-1, 0, 1)), ("approximate_sigmoid", (0, 0.5, 1))]
)
def test_the_meaning_of_assembly_is_exact_at_the_ends(form: str, ends: tuple[float, ...]) -> None:
    np = pytest.importorskip("numpy")
    x = np.array([-100.0, 0.0, 100.0], np.float32)
    assert FORMS[form].meaning([x], np.float32).tolist() == list(ends)


@pytest.mark.parametrize("form", ["approximate_tanh", "approximate_sigmoid"])
def test_the_meaning_of_assembly_between_the_ends(form: str) -> None:
    np = pytest.importorskip("numpy")
    x = np.linspace(-12, 12, 4001, dtype=np.float32)
    exact = np.tanh(x.astype(np.float64)) if "tanh" in form else 1 / (1 + np.exp(-x.astype(np.float64)))
    got = FORMS[form].meaning([x], np.float32)
    assert got.dtype == np.float32
    assert np.abs(got - exact).max() < 2e-7


MODEL = """import torch
import torch.nn as nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.{kind}(5, {hidden})

    def forward(self, x):
        return self.rnn(x)[0]


def get_inputs():
    return [torch.randn(4, 3, 5)]


def get_init_inputs():
    return []
"""


@pytest.mark.parametrize(("kind", "hidden"), [("RNN", 16), ("LSTM", 9), ("GRU", 20)])
def test_a_whole_file_is_judged_correct(kind: str, hidden: int, tmp_path: Path) -> None:
    source = MODEL.format(kind=kind, hidden=hidden)
    problem = Problem.from_source(source)
    network = compile_network(source, str(tmp_path / "problem.py"))
    group = Group(network.recurrences)
    emitted = emit_stationary.emit(group, network.types, find("h100"), "tf32", "recurrence")
    text = module(network, problem, [(group, emitted)], find("h100"), "tf32", ("One loop.",))
    assert "tanh.approx.f32: within 2^-11" in text.split('"""')[1]
    verdict = check(problem, text, precision="tf32")
    assert verdict.correct, verdict.reason
