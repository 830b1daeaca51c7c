"""Screening on a CPU: the figures mean nothing there; who is out, and why, and what goes on, do."""

from __future__ import annotations

import itertools
import math

import pytest
from timing_sides import PROBLEM, candidate

from tilewright.candidate import Apart
from tilewright.errors import ProblemError, SetupError
from tilewright.problem import Problem
from tilewright.screening.api import screen
from tilewright.screening.halving import Round
from tilewright.screening.model import Screening
from tilewright.screening.replay import MOST_LAUNCHES, Replay, recorded


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


TWO_KERNELS = """import time

import torch
import triton
import triton.language as tl
from torch import nn


@triton.jit
def double_kernel(x_ptr, out_ptr, SIZE: tl.constexpr):
    at = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    tl.store(out_ptr + at, tl.load(x_ptr + at) * 2.0)


@triton.jit
def scale_kernel(x_ptr, weight_ptr, out_ptr, count_ptr, SIZE: tl.constexpr, REPEATS: tl.constexpr):
    at = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    for _ in range(REPEATS):
        tl.store(out_ptr + at, tl.load(x_ptr + at) * 0.5 * tl.load(weight_ptr + at % 8))
    if tl.program_id(0) == 0:
        tl.store(count_ptr, tl.load(count_ptr) + 1)
    WAIT


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(8))

    def forward(self, x):
        time.sleep(BESIDE)
        doubled, out, count = torch.empty_like(x), torch.empty_like(x), torch.zeros(1, dtype=torch.int32)
        double_kernel[(8,)](x, doubled, SIZE=16)
        scale_kernel[(128 // TILE,)](doubled, self.weight, out, count, SIZE=TILE, REPEATS=WORK)
        return out
"""


def two_kernels(tile: int = 16, *, work: int = 1, beside: float = 0.0, wait: str = "") -> str:
    settings = {"TILE": tile, "WORK": work, "BESIDE": beside, "WAIT": wait or "pass"}
    text = TWO_KERNELS
    for name, value in settings.items():
        text = text.replace(name, str(value))
    return text


def screened_alone(sources: dict[str, str], visit_seconds: float = 60.0) -> dict[str, float]:
    """Medians in milliseconds; all but the base are timed by launches of scale_kernel."""
    result = screen(
        Problem(PROBLEM, "problem.py"),
        list(sources.items()),
        keep=len(sources),
        seconds=5.0,
        visit_seconds=visit_seconds,
        apart={label: Apart("base", ("scale_kernel",)) for label in sources if label != "base"},
        device="cpu",
    )
    assert not any(one.problem for one in result.candidates), result
    return {one.label: one.time_us / 1e3 for one in result.candidates}


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")


@pytest.mark.usefixtures("interpreted")
def test_candidates_that_differ_in_one_kernel_are_timed_by_its_launches() -> None:
    """What they do beside it does not count, what the base does beside it does."""
    times = screened_alone(
        {
            "base": two_kernels(beside=0.04),
            "slow elsewhere": two_kernels(beside=0.4),
            "slow": two_kernels(work=100),
        }
    )
    assert times["base"] > 40.0
    assert 35.0 < times["slow elsewhere"] < 200.0
    assert times["slow"] > 1.5 * times["slow elsewhere"]


@pytest.mark.usefixtures("interpreted")
def test_where_a_kernel_does_not_end_by_itself_whole_forwards_are_timed() -> None:
    waits = "while tl.load(count_ptr) > 1:\n        pass"
    times = screened_alone({"base": two_kernels(wait=waits), "beside": two_kernels(beside=0.2)}, 6.0)
    assert times["beside"] > 200.0 > times["base"]


@pytest.mark.parametrize("count", [1, 5, MOST_LAUNCHES, 3 * MOST_LAUNCHES + 7])
def test_launches_that_are_made_again_stand_for_all(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    numbers = itertools.count()

    def launching(around):  # type: ignore[no-untyped-def]
        class Hook:
            def __enter__(self) -> None:
                for number in range(count):
                    around("mine", lambda number=number: made.append(number), [])
                    around("another", lambda: next(numbers), [])

            def __exit__(self, *error: object) -> None: ...

        return Hook()

    monkeypatch.setattr("tilewright.screening.replay.launching", launching)
    replay = recorded(lambda: None, {"mine"})
    assert isinstance(replay, Replay)
    assert made == list(range(count)) and next(numbers) == count
    made.clear()
    replay()
    assert made == sorted(set(made)) and len(made) == min(count, MOST_LAUNCHES)
    assert replay.weight * len(made) == pytest.approx(count)
    assert recorded(lambda: None, {"nobody"}) is None
