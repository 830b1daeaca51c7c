"""Screening on a CPU: the figures mean nothing there; who is out, and why, and what goes on, do."""

from __future__ import annotations

import math

import pytest
from timing_sides import PROBLEM, candidate

from tilewright.errors import ProblemError, SetupError
from tilewright.problem import Problem
from tilewright.screening.api import screen
from tilewright.screening.halving import Round
from tilewright.screening.model import Screening


def screened(**forwards: str) -> Screening:
    sources = [(label, candidate(forward)) for label, forward in forwards.items()]
    return screen(
        Problem(PROBLEM, "problem.py"), sources, keep=1, seconds=5.0, visit_seconds=3.0, device="cpu"
    )


def test_the_slower_are_dropped_and_a_failure_costs_only_its_own_turn() -> None:
    result = screened(
        slow="time.sleep(0.03)",
        quick="pass",
        raises="raise ValueError('no')",
        lazy="return torch.empty_like(x)",
        wrong="return x",
    )
    labels = [one.label for one in result.candidates]
    assert labels[:2] == ["quick", "slow"]
    assert len(result.candidates[0].device_us) >= len(result.candidates[1].device_us) == 2
    problems = {one.label: one.problem for one in result.candidates if one.problem}
    assert set(problems) == {"raises", "lazy", "wrong"}
    assert "ValueError: no" in problems["raises"] and "nan" in problems["lazy"]
    assert result.restarts == 0


def test_one_that_hangs_and_one_that_kills_the_process_are_out_and_the_rest_goes_on() -> None:
    result = screened(
        fine="pass", hangs="while True: pass", dies="import os; os._exit(9)", slow="time.sleep(0.03)"
    )
    assert [one.label for one in result.candidates][:2] == ["fine", "slow"]
    problems = {one.label: one.problem for one in result.candidates if one.problem}
    assert set(problems) == {"hangs", "dies"}
    assert "within 3 s" in problems["hangs"] and "exit code 9" in problems["dies"]
    assert result.restarts == 2


def test_a_problem_that_does_not_run_is_the_problems_fault() -> None:
    broken = PROBLEM.replace("torch.rand(16, 8)", "torch.rand(16, 7)")
    with pytest.raises(ProblemError, match="Model raises"):
        screen(Problem(broken, "problem.py"), [("a", candidate())], keep=1, device="cpu")


def test_without_a_gpu_it_says_so() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(SetupError, match="needs an NVIDIA GPU"):
        screen(Problem(PROBLEM, "problem.py"), [("a", candidate())], keep=1)


def test_a_round_may_let_everybody_pass() -> None:
    """As where all configurations are timed alike, to know the best of them."""
    sources = [("quick", candidate()), ("slow", candidate("time.sleep(0.03)"))]
    every = (Round(3, math.inf, 1.0),)
    result = screen(Problem(PROBLEM, "problem.py"), sources, keep=1, device="cpu", rounds=every)
    assert [len(one.device_us) for one in result.candidates] == [3, 3]
