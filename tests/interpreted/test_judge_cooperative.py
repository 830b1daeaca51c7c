"""Kernels whose programs wait for one another, judged without a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilewright.judge.api import check
from tilewright.judge.verdict import Outcome
from tilewright.problem import Problem

pytestmark = pytest.mark.interpreted
DATA = Path(__file__).parents[1] / "data" / "judge"


def test_programs_that_wait_for_later_ones_end() -> None:
    problem = Problem.from_file(DATA / "relay_problem.py")
    verdict = check(problem, (DATA / "relay.py").read_text(), trials=2)
    assert verdict.outcome is Outcome.CORRECT, verdict.reason


def test_programs_that_wait_for_ever_are_reported() -> None:
    problem = Problem.from_file(DATA / "relay_problem.py")
    source = (DATA / "relay.py").read_text().replace("< row:", "< row + 1:")
    verdict = check(problem, source, trials=1)
    assert verdict.outcome not in (Outcome.CORRECT, Outcome.TIMEOUT)
    assert "wait for one another" in verdict.reason


def test_a_wrong_answer_is_still_wrong() -> None:
    problem = Problem.from_file(DATA / "relay_problem.py")
    source = (DATA / "relay.py").read_text().replace("if row > 0", "if row > 1")
    assert check(problem, source, trials=1).outcome not in (Outcome.CORRECT, Outcome.TIMEOUT, Outcome.CRASH)
