"""The race without a GPU: what the judge would answer is given, and who is ahead follows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import pytest

from tilewright.candidate import Candidate
from tilewright.errors import NotTimed, SetupError, WorkerTimeout
from tilewright.evidence import Evidence, Figure
from tilewright.gpu.catalogue import find
from tilewright.inspect.model import Floor, Inspection
from tilewright.judge.speed.decision import recompute
from tilewright.judge.speed.model import Block, Rules, SpeedVerdict
from tilewright.judge.speed.samples import Samples, Side, Timing
from tilewright.problem import Problem
from tilewright.runs import Decided
from tilewright.stages import race as module
from tilewright.stages.race import REFERENCE, Contender, Ranking, Track, first, measure_gain, race

PROBLEM = Problem.from_source(
    """
from torch import nn
class Model(nn.Module):
    def forward(self, x):
        return x
def get_inputs():
    return []
def get_init_inputs():
    return []
"""
)
H100 = find("h100")
ONE = Figure(1.0, "", Evidence.ESTIMATED)
BEST, A, B, C, D = (Contender(Candidate(f"text = {name!r}"), None) for name in ("best", "a", "b", "c", "d"))


class Judge:
    """Answers with times that are given, and remembers what it was asked.

    Args:
        times: of a side in the heat and again when it is decided, microseconds; an error is raised there.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **times: tuple[float, float | Exception]) -> None:
        named = {"best": BEST, "a": A, "b": B, "c": C, "d": D}
        self.times = {named[name].id: pair for name, pair in times.items()}
        self.rules: list[Rules] = []
        self.recorded: list[Timing | Decided] = []
        self.track = Track(PROBLEM, H100, H100, {}, None, self.recorded.append)
        monkeypatch.setattr(module, "time_sides", self.time_sides)
        monkeypatch.setattr(module, "compare_speed", self.compare_speed)

    def time_sides(
        self, problem: Problem, sides: Sequence[tuple[str, str | None]], **options: object
    ) -> Timing:
        def side(label: str) -> Side:
            samples = Samples((self.times[label][0],), (self.times[label][0],))
            return Side(label, samples, samples, "" if self.times[label][0] else "raised")

        return Timing("H100", "", "", "", tuple(side(label) for label, _ in sides))

    def compare_speed(
        self,
        problem: Problem,
        before: str | None,
        after: str | None,
        *,
        labels: tuple[str, str],
        rules: Rules,
        **options: object,
    ) -> SpeedVerdict:
        self.rules.append(rules)
        one, other = (self.times[label][1] for label in labels)
        for time in (one, other):
            if isinstance(time, Exception):
                raise time
        same = [Block((one,), (one,))] * rules.noise_blocks
        for look in rules.looks:
            try:
                return recompute([Block((one,), (other,))] * look, same, rules, "device time, cold L2")
            except ValueError:
                continue
        raise AssertionError("no look decides")

    def race(self, *rivals: Contender) -> Ranking:
        return race(self.track, BEST, rivals, lambda text: None)

    @property
    def decisions(self) -> list[Decided]:
        return [line for line in self.recorded if isinstance(line, Decided)]


def test_the_fastest_of_the_heat_are_decided_and_only_those_shown_faster_are_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """a is the luckiest of the heat and no faster; c is faster than the heat showed; d comes fourth."""
    judge = Judge(monkeypatch, best=(20, 20), a=(15, 20), b=(18, 18), c=(19, 17), d=(19.5, 10))
    ranking = judge.race(D, C, B, A)
    assert (ranking.ahead, ranking.notes) == ((C, B), ())
    assert [round(ranking.ratios[c.id].value, 2) for c in (C, B)] == [1.18, 1.11]
    assert [decided.after for decided in judge.decisions] == [A.id, B.id, C.id]
    assert {decided.before for decided in judge.decisions} == {BEST.id}
    assert isinstance(judge.recorded[0], Timing)


@pytest.mark.parametrize("rivals", [(A,), (A, B), (A, B, C), (A, B, C, D)])
def test_all_decisions_of_a_race_share_the_chance_of_a_false_alarm(
    monkeypatch: pytest.MonkeyPatch, rivals: tuple[Contender, ...]
) -> None:
    judge = Judge(monkeypatch, best=(20, 20), a=(15, 15), b=(15, 15), c=(15, 15), d=(15, 15))
    assert len(judge.race(*rivals).ahead) == min(len(rivals), 3)
    assert sum(rules.false_alarm for rules in judge.rules) == pytest.approx(0.01)
    for rules in judge.rules:  # no look that could not show anything
        assert 2.0 ** (1 - rules.looks[0]) <= rules.level


def test_what_the_heat_shows_far_behind_is_not_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Judge(monkeypatch, best=(20, 20), a=(20.3, 19), b=(21, 10))
    assert judge.race(A, B).ahead == (A,)
    assert len(judge.decisions) == 1


@pytest.mark.parametrize("error", [NotTimed("hides time"), WorkerTimeout("took longer than 720 s")])
def test_a_side_that_cannot_be_timed_is_out_with_the_reason_on_record(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    judge = Judge(monkeypatch, best=(20, 20), a=(15, error), b=(18, 18), c=(0, 10))
    ranking = judge.race(A, B, C)
    assert ranking.ahead == (B,)
    assert ranking.notes == (
        f"{C.id} could not be timed: raised",
        f"{A.id} could not be timed: {error}",
    )
    assert [(d.after, d.speed is None, d.problem) for d in judge.decisions] == [
        (A.id, True, str(error)),
        (B.id, False, ""),
    ]


def test_what_a_set_up_lacks_is_no_candidates_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Judge(monkeypatch, best=(20, 20), a=(15, SetupError("no GPU")))
    with pytest.raises(SetupError):
        judge.race(A)


def test_a_time_that_the_gpu_cannot_reach_is_an_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    floor = Floor(
        *(Figure(value, "", Evidence.ESTIMATED) for value in (1e6, 2e9, 1.0, 10.0, 10.0)), 1, 1, ONE
    )
    known = cast(Inspection, SimpleNamespace(floor=floor, estimate=None))
    judge = Judge(monkeypatch, best=(20, 20), a=(2, 2), b=(15, 15))
    ranking = judge.race(dataclasses.replace(A, inspection=known), B)
    assert ranking.ahead == (B,)
    (note,) = ranking.notes
    assert "too-fast: 2 µs, where the reference's 2 GFLOP take 10 µs" in note


def test_a_best_that_cannot_be_timed_is_ahead_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code as given that answers wrongly, say: whatever is correct replaces it."""
    judge = Judge(monkeypatch, best=(0, 20), a=(16, 16), b=(15, 15))
    ranking = judge.race(A, B)
    assert ranking == Ranking((B, A), (f"{BEST.id} could not be timed: raised",))
    assert not judge.decisions


@pytest.mark.parametrize("times, shown", [((20.0, 10.0), True), ((20.0, 20.0), False), ((10.0, 20.0), False)])
def test_a_gain_is_shown_where_the_verdict_says_faster(
    monkeypatch: pytest.MonkeyPatch, times: tuple[float, float], shown: bool
) -> None:
    judge = Judge(monkeypatch, best=(20, times[0]), a=(20, times[1]))
    gain = measure_gain(judge.track, BEST, A)
    assert gain is not None and gain.shown is shown
    assert gain.ratio.value == pytest.approx(times[0] / times[1])
    assert (gain.before.value, gain.after.value) == times
    assert gain.ratio.evidence is Evidence.MEASURED and gain.ratio.gpu == H100.name
    assert "device time, cold L2" in gain.basis and "below 1 %" in gain.basis
    assert [decided.purpose for decided in judge.decisions] == ["gain"]


def test_a_gain_on_another_gpu_says_so_and_the_reference_is_a_side(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Judge(monkeypatch, a=(10, 10))
    judge.times[REFERENCE] = (20, 20)
    track = dataclasses.replace(judge.track, gpu=find("l4"))
    gain = measure_gain(track, Contender(None, None), A)
    assert gain is not None and gain.ratio.evidence is Evidence.MEASURED_ON
    assert judge.decisions[0].before == REFERENCE


def test_no_gain_is_known_of_what_cannot_be_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Judge(monkeypatch, best=(20, NotTimed("raised")), a=(10, 10))
    assert measure_gain(judge.track, BEST, A) is None
    assert judge.decisions[0].problem == "raised"


def test_a_file_for_several_places_is_kept_unless_it_is_clearly_behind() -> None:
    def ranking(**ratios: float) -> Ranking:
        named = {"a": A, "b": B, "c": C}
        figures = {named[name].id: Figure(ratio, "x", Evidence.MEASURED) for name, ratio in ratios.items()}
        return Ranking(tuple(named[name] for name in ratios), (), figures)

    assert first(ranking(a=1.50, b=1.49, c=1.2), [B]) == B
    assert first(ranking(a=1.50, b=1.49, c=1.2), [C]) == A
    assert first(ranking(a=1.50, b=1.49), ()) == A
    assert first(Ranking((A, B)), [B]) == B, "nothing is known of how far apart they are"


def test_nothing_is_timed_where_there_is_nothing_to_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Judge(monkeypatch)
    assert judge.race(BEST) == Ranking()
    judge.track = dataclasses.replace(judge.track, plugged=None)
    assert judge.race(A) == Ranking()
    assert not judge.recorded
