"""Timing with the clocks of one machine: sides in cells of their own, honest and dishonest.

On the CPU the figures mean nothing to anybody; who waits, who hides time and who lies shows all the same.
"""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from scipy import stats
from timing_sides import PROBLEM, candidate

from tilewright.judge.cell.outside import Cell, started
from tilewright.judge.cell.protocol import Channel
from tilewright.judge.failures import CandidateFailure
from tilewright.judge.speed import sampling
from tilewright.judge.speed.audit import FRESH_PROCESSES
from tilewright.judge.speed.decision import decide
from tilewright.judge.speed.lane import Lane, Reading
from tilewright.judge.speed.model import CONDITIONS, Block, Rules, SpeedOutcome
from tilewright.judge.speed.samples import Side
from tilewright.judge.speed.sampling import BLOCKS_OF_A_PROCESS, Blocks, _threes, _within, compare_speed
from tilewright.judge.speed.timing import FEWEST_ROUNDS, time_all
from tilewright.judge.verdict import Outcome


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


def test_samples_are_taken_in_the_conditions_asked_for() -> None:
    given = payload(candidate(), candidate(), conditions=["device time, cold L2"])
    for side in time_all(given, "cpu").sides:
        assert side.problem == "" and len(side.cold.device_us) >= FEWEST_ROUNDS
        assert not (side.cold.wall_us or side.warm.wall_us or side.warm.device_us)


def test_a_side_that_dies_while_it_is_timed_leaves_the_others_alone() -> None:
    dying = candidate("import os; ModelNew.calls = getattr(ModelNew, 'calls', 0) + 1\n"
                      "        if ModelNew.calls > 9: os._exit(3)")  # fmt: skip
    died, fine = timed(dying, candidate())
    assert "exit code 3" in died.problem
    assert fine.problem == ""


class _Refusing:
    """A channel of a cell whose device does not start."""

    def __init__(self, channel: Channel) -> None:
        self.incoming, self.outgoing = channel.incoming, channel.outgoing

    def receive(self) -> dict[str, Any]:
        return {"unusable": "the driver wants\nmore"}


def test_cells_that_are_started_anew_live_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    start = Cell._start

    def refused(self: Cell, how: str) -> None:
        start(self, how)
        if how == "isolated":
            self.channel = _Refusing(self.channel)  # type: ignore[assignment]

    monkeypatch.setattr(Cell, "_start", refused)
    assert [side.problem for side in timed(None, candidate())] == ["", ""]
    with started("cpu", "") as cell:
        assert cell.isolation == "none: under it the device does not start: the driver wants more"


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


def test_blocks_over_cells_show_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cells are replaced once on the way, and the audit still sees every reading."""
    audited: list[int] = []
    starts: list[None] = []
    replace = Blocks.replace

    def audit(lane: Lane, others: Sequence[Lane], again: object) -> str:
        audited.append(len(lane.warm))
        return ""

    def counted(self: Blocks) -> None:
        starts.append(None)
        replace(self)

    monkeypatch.setattr(sampling, "clock_fault", audit)
    monkeypatch.setattr(Blocks, "replace", counted)
    given = payload(
        candidate("time.sleep(0.002)"),
        candidate("time.sleep(0.01)"),
        condition="wall time, warm L2",
        seconds=2.0,
    )
    verdict = compare_speed(given, Rules(false_alarm=0.05, looks=(6, 40), noise_blocks=6), "cpu")
    assert verdict.outcome is SpeedOutcome.SLOWER
    assert len(verdict.pairs) == 6 and len(verdict.noise_pairs) == 6
    assert verdict.rules.looks == (6,)  # there was no time for the other one
    assert len(starts) == 2  # at the start, and after eight blocks
    assert sum(audited) == 12 * 2 * (sampling.SAMPLES + 1)


@pytest.mark.parametrize(
    ("failing", "why"),
    [
        (candidate("raise ValueError('no')"), "side 1: error: ValueError: no"),
        ("import no_such_module", "side 1: .*No module named 'no_such_module'"),
    ],
)
def test_a_side_that_fails_while_it_is_compared_is_named(failing: str, why: str) -> None:
    given = payload(candidate(), failing, condition="wall time, warm L2")
    with pytest.raises(CandidateFailure, match=why):
        compare_speed(given, Rules(), "cpu")


class Feigned:
    """A track whose lanes start no process: every call takes a microsecond, and 500 more where hidden.

    Args:
        hidden: the label of the lanes that take them.
        luck: whether only the first processes do, and those started later do not.
    """

    def __init__(self, hidden: str = "", *, luck: bool = False) -> None:
        self.order = random.Random(3)
        self.conditions = tuple(CONDITIONS)
        self.hidden = hidden
        self.luck = luck
        self.started: list[list[Any]] = []
        self.running = 0

    def free_bytes(self) -> int:
        return 0

    @contextlib.contextmanager
    def lanes(self, sides: Sequence[tuple[str, str | None]]) -> Iterator[list[Any]]:
        lanes = self.start(sides)
        yield lanes
        for lane in lanes:
            lane.close()

    def start(self, sides: Sequence[tuple[str, str | None]]) -> list[Any]:
        assert not self.running  # the old ones are gone before new ones start
        self.running = len(sides)
        hidden = "" if self.luck and len(self.started) >= 2 else self.hidden
        lanes = [FeignedLane(label, 500.0 * (label == hidden)) for label, _ in sides]
        for lane in lanes:
            lane.cell.callback(self.ended)
        self.started.append(lanes)
        return lanes

    def ended(self) -> None:
        self.running -= 1

    def inputs(self) -> tuple[list[Any], int]:
        return [], 0


class FeignedLane(Lane):
    def __init__(self, label: str, hidden: float) -> None:
        super().__init__(label, None, case=None)  # type: ignore[arg-type]
        self.hidden = hidden
        self.fresh: list[bool] = []
        self.builds = 0

    def build(self, seed: int) -> None:
        self.builds += 1

    def call(self, inputs: list[Any], seed: int, *, cold: bool, fresh: bool = False, **how: Any) -> Reading:
        self.fresh.append(fresh)
        reading = Reading(1.0, 1.0, 1.0, 2.0 + self.hidden)
        (self.cold if cold else self.warm).append(reading)
        return reading


def feigned_blocks(track: Feigned) -> Blocks:
    blocks = Blocks(track, [("one", None), ("two", None)], "device time, cold L2", Rules())  # type: ignore[arg-type]
    blocks._compare = lambda: False  # type: ignore[method-assign]
    return blocks


def test_processes_are_replaced_alike_for_noise_and_pairs() -> None:
    track = Feigned()
    with contextlib.closing(feigned_blocks(track)) as blocks:
        for _ in range(2 * BLOCKS_OF_A_PROCESS):
            blocks.same_block()
        assert len(track.started) == 2
        for _ in range(BLOCKS_OF_A_PROCESS + 1):
            blocks.pair_block()
        assert len(track.started) == 4
        assert all(len(lanes) == 3 and track.running == 3 for lanes in track.started)
    assert track.running == 0


def test_every_block_builds_both_sides_anew_with_inputs_at_new_addresses() -> None:
    track = Feigned()
    blocks = feigned_blocks(track)
    blocks.replace()
    warmed = [(lane.builds, len(lane.fresh)) for lane in track.started[0]]
    blocks.pair_block()
    first, again, second = track.started[0]
    assert second.builds == warmed[2][0] + 1
    assert sorted((first.builds, again.builds)) == [warmed[0][0], warmed[0][0] + 1]
    assert second.fresh[warmed[2][1] :] == [True] + [False] * sampling.SAMPLES


@pytest.mark.parametrize("hidden", ["one", "two"])
def test_hidden_time_shows_in_the_readings_of_all_processes_together(hidden: str) -> None:
    blocks = feigned_blocks(Feigned(hidden))
    for _ in range(2 * BLOCKS_OF_A_PROCESS):
        blocks.pair_block()
    with pytest.raises(CandidateFailure, match=f"{hidden}: not-allowed: hidden-time: 500 µs"):
        blocks.audit()
    assert len(blocks.track.started) == 2 + FRESH_PROCESSES  # type: ignore[attr-defined]


@pytest.mark.parametrize("track", [Feigned(), Feigned("two", luck=True)], ids=["none", "by chance"])
def test_time_that_new_processes_do_not_hide_is_no_accusation(track: Feigned) -> None:
    """A process may be slower at copying than another one of the same file."""
    honest = feigned_blocks(track)
    for _ in range(2 * BLOCKS_OF_A_PROCESS):
        honest.pair_block()
    honest.audit()
    assert len(track.started) == 2 + bool(track.hidden)
    assert track.running == 0


class Dying(Feigned):
    """Its second side dies in every process that is to confirm what was seen."""

    def start(self, sides: Sequence[tuple[str, str | None]]) -> list[Any]:
        lanes = super().start(sides)
        if len(self.started) > 2:
            lanes[0].drop(CandidateFailure(Outcome.CRASH, "killed"))
        return lanes


def test_a_side_cannot_escape_by_dying_when_it_is_looked_at_again() -> None:
    blocks = feigned_blocks(Dying("two"))
    for _ in range(2 * BLOCKS_OF_A_PROCESS):
        blocks.pair_block()
    with pytest.raises(CandidateFailure, match="two: crash: killed"):
        blocks.audit()


def test_threes_of_cells_start_together_where_there_is_room() -> None:
    assert _threes(80 * 2**30, 16) == 4
    assert _threes(24 * 2**30, 16) == 2
    assert _threes(80 * 2**30, 8) == 2
    assert _threes(2**30, 2) == 1
    track = Feigned()
    with contextlib.closing(feigned_blocks(track)) as blocks:
        blocks.at_once = 2
        for _ in range(2 * BLOCKS_OF_A_PROCESS):
            blocks.pair_block()
        (six,) = track.started
        assert len(six) == 6 and all(lane.builds for lane in six)
        assert track.running == 3  # those whose turn is over are gone
        blocks.pair_block()
        assert len(track.started) == 2


def test_no_more_cells_start_than_the_next_look_takes() -> None:
    track = Feigned()
    with contextlib.closing(feigned_blocks(track)) as blocks:
        blocks.at_once = 5
        for _ in range(sampling.MEASURED + Rules().noise_blocks + Rules().looks[0]):
            blocks.pair_block()
        assert [len(lanes) // 3 for lanes in track.started] == [4]
        for _ in range(Rules().looks[1] - Rules().looks[0]):
            blocks.pair_block()
        assert [len(lanes) // 3 for lanes in track.started] == [4, 1]
        for _ in range(Rules().looks[2] - Rules().looks[1]):
            blocks.pair_block()
        assert [len(lanes) // 3 for lanes in track.started] == [4, 1, 3]


@settings(max_examples=100, deadline=None)
@drawn(st.floats(0.0, 500.0))
def test_looks_are_cut_to_the_time_there_is_and_the_first_one_stays(blocks: float) -> None:
    rules = Rules()
    cut = _within(rules, blocks)
    assert cut.looks == rules.looks[: len(cut.looks)] and cut.looks
    assert len(cut.looks) == 1 or cut.looks[-1] + cut.noise_blocks <= blocks
    assert cut.false_alarm == rules.false_alarm


class Processes:
    """Simulated sides of 100 µs whose processes differ, by twice as much as blocks do."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.blocks = 0

    def pair_block(self) -> Block:
        return self._block(2)

    def same_block(self) -> Block:
        return self._block(None)

    def _block(self, second: int | None) -> Block:
        if self.blocks % BLOCKS_OF_A_PROCESS == 0:
            self.offsets = [self.draw.gauss(0.0, 0.006) for _ in range(3)]
        self.blocks += 1
        one, other = self.draw.sample((0, 1), 2)
        other = other if second is None else second
        times = [100.0 * math.exp(self.offsets[n] + self.draw.gauss(0.0, 0.003)) for n in (one, other)]
        return Block((times[0],), (times[1],))


def test_what_lasts_as_long_as_a_process_is_no_difference() -> None:
    found = [decide(Processes(seed), Rules(), "wall time, warm L2").outcome for seed in range(300)]
    alarms = sum(outcome is not SpeedOutcome.NO_DIFFERENCE for outcome in found)
    assert alarms <= stats.binom.ppf(0.999, len(found), Rules().false_alarm)
