"""Kernels whose programs wait for one another, judged without a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
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


def test_what_they_take_is_not_told_from_the_first_alone() -> None:
    run = subprocess.run([sys.executable, DATA / "uneven.py"], capture_output=True, text=True, check=True)
    seconds = json.loads(run.stdout)
    assert 0.3 < seconds["expected"] / seconds["took"] < 3.0
