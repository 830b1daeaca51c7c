"""Takes the blocks that a speed verdict rests on: three cells, the first side twice. Judge's side.

What can favour a side and is not its code is drawn anew in every block: instances, the memory they lie in,
inputs, which of the first side's two cells stands for it, and the order of all of that. What lasts as long
as a process (where its kernels and its context lie, what it autotuned) cannot be, so all three cells are
replaced every few blocks. As starting cells takes seconds, those that the next look takes are started at
once where the machine has room; they idle until their turn comes.
"""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from threading import Thread
from typing import Any

from tilewright.judge.failures import CandidateFailure
from tilewright.judge.speed.audit import clock_fault
from tilewright.judge.speed.decision import decide
from tilewright.judge.speed.lane import Lane
from tilewright.judge.speed.model import CONDITIONS, Block, Rules, SpeedVerdict
from tilewright.judge.speed.timing import WARM_UPS, Track, again, close_all, forget_readings
from tilewright.judge.verdict import Outcome

SAMPLES = 5  # of a side in a block
MEASURED = 2  # blocks by which the time of one is known, before any that counts
COMPARED = 8  # one block in so many has outputs compared, on average
# Then all cells are replaced. Starting them takes seconds, so not after every block. Simulated, 8 keep the
# rate of false alarms as long as processes differ by no more than twice what blocks do; 4 far beyond that.
BLOCKS_OF_A_PROCESS = 8
MOST_THREES = 4  # of cells started at once: what the first look takes
CELL_BYTES = 2**30  # of the device that a cell may take before its turn; 0.5 GiB on an H200
ROOM = 0.25  # the share of the device's free memory that cells which wait for their turn may fill


class Blocks:
    """A `model.Sampler` over cells. To be closed.

    Args:
        sides: label and text of the first side and of the second; None for the reference.
        condition: one of CONDITIONS.
        rules: say after how many blocks the samples are looked at.
    """

    def __init__(
        self, track: Track, sides: Sequence[tuple[str, str | None]], condition: str, rules: Rules
    ) -> None:
        first, second = sides
        self.track = track
        self.sides = (first, first, second)
        self.clock, self.cold = CONDITIONS[condition]
        self.lanes: list[Lane] = []
        self.left = 0  # blocks until the cells are replaced
        self.taken = 0
        self.looks = [MEASURED + rules.noise_blocks + look for look in rules.looks]
        self.waiting: list[list[Lane]] = []  # threes of cells whose turn will come
        self.at_once = _threes(track.free_bytes(), os.cpu_count() or 1)

    def close(self) -> None:
        """End all cells."""
        close_all([lane for lanes in (self.lanes, *self.waiting) for lane in lanes])
        self.waiting = []

    def start(self) -> None:
        """Start the threes of cells that the blocks up to the next look take, as far as there is room."""
        blocks = min((look - self.taken for look in self.looks if look > self.taken), default=1)
        threes = min(self.at_once, math.ceil(blocks / BLOCKS_OF_A_PROCESS))
        started = self.track.start(self.sides * threes)
        size = len(self.sides)
        self.waiting = [started[first : first + size] for first in range(0, len(started), size)]

    def replace(self) -> None:
        """Go on with other cells, warmed up. Readings so far are kept.

        Raises:
            CandidateFailure: a side cannot be imported, or raised.
        """
        kept = [(lane.cold, lane.warm) for lane in self.lanes] or [([], []) for _ in self.sides]
        close_all(self.lanes)
        if not self.waiting:
            self.start()
        self.lanes = self.waiting.pop()
        self.warm_up()
        for lane, (cold, warm) in zip(self.lanes, kept, strict=True):
            lane.cold, lane.warm = cold, warm
        self.left = BLOCKS_OF_A_PROCESS

    def warm_up(self) -> None:
        """Compile, autotune, and bring the GPU back to its clocks."""
        seed = secrets.randbits(31)
        for lane in self.lanes:
            with _named(lane):
                if lane.failure:
                    raise lane.failure
                lane.build(seed)
        for _ in range(WARM_UPS):
            inputs, call_seed = self.track.inputs()
            for lane in self.lanes:
                with _named(lane):
                    lane.call(inputs, call_seed, cold=self.cold, ahead=False)

    def pair_block(self) -> Block:
        """The first side against the second."""
        return self.block(pair=True, compare=self._compare())

    def same_block(self) -> Block:
        """The first side against itself."""
        return self.block(pair=False, compare=self._compare())

    def block(self, *, pair: bool, compare: bool) -> Block:
        """The first side against the second, or against itself where it is no pair.

        Args:
            compare: whether the outputs of one call are compared with the reference's.

        Raises:
            CandidateFailure: a side raised, or gave wrong outputs.
        """
        if not self.left:
            self.replace()
        self.left -= 1
        self.taken += 1
        order = self.track.order
        *firsts, second = self.lanes
        one, other = order.sample(firsts, 2)
        other = second if pair else other
        seed = secrets.randbits(31)
        for lane in order.sample((one, other), 2):
            with _named(lane):
                lane.build(seed)
        chosen = order.randrange(SAMPLES + 1) if compare else -1
        times: dict[str, list[float]] = {"one": [], "other": []}
        for number in range(SAMPLES + 1):  # the first call of an instance warms it up
            inputs, call_seed = self.track.inputs()
            truth = self.track.truth(one, inputs, call_seed) if number == chosen else None
            ahead = self.clock == "device" and number > 0
            for name, lane in order.sample([("one", one), ("other", other)], 2):
                with _named(lane):
                    reading = lane.call(
                        inputs, call_seed, cold=self.cold, ahead=ahead, truth=truth, fresh=number == 0
                    )
                if number:
                    times[name].append(reading.wall if self.clock == "wall" else reading.device)
        return Block(tuple(times["one"]), tuple(times["other"]))

    def audit(self) -> None:
        """Look at every reading of every cell for time that a side's own clock left out.

        Raises:
            CandidateFailure: a side's clock does not tell the truth.
        """
        self.close()
        for lane in self.lanes:
            with _named(lane):
                if fault := clock_fault(lane, self.lanes, partial(again, self.track)):
                    raise CandidateFailure(Outcome.NOT_ALLOWED, fault)

    def _compare(self) -> bool:
        return self.track.order.randrange(COMPARED) == 0


def compare_speed(payload: Mapping[str, Any], rules: Rules, device: str = "cuda") -> SpeedVerdict:
    """Decide whether the second side is faster; see `judge.api.compare_speed`.

    Raises:
        CandidateFailure: a side raised, gave wrong outputs, or its clock does not tell the truth.
        ProblemError: the problem itself does not run.
        AmbiguousParameters: parameters cannot be matched.
        Undecidable: the reference gives nothing to compare with.
    """
    Thread(target=import_module, args=("scipy.stats",)).start()  # for `decide`, while cells start
    track = Track(payload, device)
    sides = [(label, source) for label, source in payload["sides"]]
    with contextlib.closing(Blocks(track, sides, payload["condition"], rules)) as blocks:
        starting = _seconds(blocks.start) / len(blocks.waiting)
        blocks.replace()
        starting += _seconds(blocks.warm_up)  # once more: what the first time compiled is found from now on
        comparing = _seconds(lambda: blocks.block(pair=True, compare=True))
        plain = _seconds(lambda: blocks.block(pair=True, compare=False))
        each = plain + comparing / COMPARED + starting / BLOCKS_OF_A_PROCESS
        within = _within(rules, float(payload["seconds"]) / each)
        forget_readings(blocks.lanes)
        verdict = decide(blocks, within, payload["condition"])
        blocks.audit()
    return verdict


def _threes(free_bytes: int, processors: int) -> int:
    """How many threes of cells may be started at once, with a processor for each.

    Args:
        free_bytes: of the device.
    """
    return int(max(1, min(MOST_THREES, ROOM * free_bytes // (3 * CELL_BYTES), processors // 3)))


def _within(rules: Rules, blocks: float) -> Rules:
    """The same rules without the looks that would take too long; the first one always stays.

    Cut before the first sample is taken: which looks there are must not depend on what is seen at one.
    """
    looks = [look for look in rules.looks if look + rules.noise_blocks <= blocks]
    return replace(rules, looks=tuple(looks or rules.looks[:1]))


def _seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


@contextlib.contextmanager
def _named(lane: Lane) -> Iterator[None]:
    """What a side does wrong inside the block is said of it."""
    try:
        yield
    except CandidateFailure as failure:
        raise CandidateFailure(
            failure.outcome, f"{lane.label}: {failure.outcome}: {failure.reason}"
        ) from failure
