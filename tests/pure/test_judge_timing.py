"""Timing with the clocks of one machine: sides in cells of their own, honest and dishonest.

On the CPU the figures mean nothing to anybody; who waits, who hides time and who lies shows all the same.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tilewright.judge.sampling import compare_speed
from tilewright.judge.speed_model import Rules, SpeedOutcome
from tilewright.judge.timing import time_all
from tilewright.judge.timing_model import Side

PROBLEM = """
import torch
from torch import nn

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8))

    def forward(self, x):
        return x * self.weight

def get_inputs():
    return [torch.rand(16, 8)]

def get_init_inputs():
    return []
"""
CANDIDATE = """
import time
import torch
from torch import nn
{above}
class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(8))

    def forward(self, x):
        {forward}
        return x * self.weight
"""


def candidate(forward: str = "pass", above: str = "") -> str:
    return CANDIDATE.format(forward=forward, above=above)


def payload(*sources: str | None, **others: object) -> dict[str, object]:
    sides = [(f"side {number}", source) for number, source in enumerate(sources)]
    given = {"problem": PROBLEM, "problem_path": "problem.py", "sides": sides, "mapping": {}}
    return {**given, "precision": None, "seconds": 0.1, **others}


def timed(*sources: str | None) -> tuple[Side, ...]:
    return time_all(payload(*sources), "cpu").sides


def middle(values: tuple[float, ...]) -> float:
    return sorted(values)[len(values) // 2]


def test_a_slow_side_is_slow_and_every_side_has_as_many_samples() -> None:
    reference, quick, slow = timed(None, candidate(), candidate("time.sleep(0.02)"))
    assert [side.problem for side in (reference, quick, slow)] == ["", "", ""]
    assert len({len(side.cold.wall_us) for side in (reference, quick, slow)}) == 1
    assert middle(slow.cold.wall_us) > 20_000 > 4 * middle(quick.cold.wall_us)
    assert middle(slow.warm.command_us) > 20_000


def test_a_side_that_cannot_be_imported_leaves_the_others_alone() -> None:
    broken, fine = timed("import no_such_module", candidate())
    assert "no_such_module" in broken.problem and not broken.cold.wall_us
    assert fine.problem == "" and fine.cold.wall_us


def test_a_side_that_dies_while_it_is_timed_leaves_the_others_alone() -> None:
    dying = candidate("import os; ModelNew.calls = getattr(ModelNew, 'calls', 0) + 1\n"
                      "        if ModelNew.calls > 9: os._exit(3)")  # fmt: skip
    died, fine = timed(dying, candidate())
    assert "exit code 3" in died.problem
    assert fine.problem == ""


PATCHED_CLOCK = """
real = time.perf_counter
began = real()
time.perf_counter = lambda: began + (real() - began) / 1000
"""
EARLY = """
import threading, tilewright.judge.cell.subject as subject
original = subject.Subject._placed
def ahead(self, inputs, **how):
    time.sleep(0.02)  # work on the inputs before the clock starts
    return original(self, inputs, **how)
subject.Subject._placed = ahead
"""


@pytest.mark.parametrize(
    "cheat",
    [
        lambda: candidate("time.sleep(0.02)", PATCHED_CLOCK),
        lambda: candidate("pass", EARLY),
    ],
    ids=["patched clock", "work before the clock"],
)
def test_time_that_a_sides_own_clock_leaves_out_is_found_from_outside(cheat: Callable[[], str]) -> None:
    honest, caught = timed(candidate(), cheat())
    assert honest.problem == ""
    assert caught.problem.startswith("not-allowed: hidden-time: ")


def test_a_side_that_answers_from_its_last_call_is_out() -> None:
    cached = candidate(
        "if not hasattr(self, 'answer'): self.answer = x * self.weight\n        return self.answer"
    )
    out, _ = timed(cached, candidate())
    assert "a timed call gave wrong outputs" in out.problem


@pytest.mark.parametrize(
    "sleeps, outcome",
    [((0.01, 0.002), SpeedOutcome.FASTER), ((0.002, 0.01), SpeedOutcome.SLOWER)],
)
def test_blocks_over_cells_show_a_difference(sleeps: tuple[float, float], outcome: SpeedOutcome) -> None:
    before, after = (candidate(f"time.sleep({seconds})") for seconds in sleeps)
    given = payload(before, after, condition="wall time, warm L2", seconds=2.0)
    rules = Rules(false_alarm=0.05, looks=(6,), noise_blocks=6)
    verdict = compare_speed(given, rules, "cpu")
    assert verdict.outcome is outcome
    assert len(verdict.pairs) == 6 and len(verdict.noise_pairs) == 6
