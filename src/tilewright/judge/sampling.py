"""Takes the blocks that a speed verdict rests on: three cells, the first side twice. Judge's side."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from tilewright.judge.failures import CandidateFailure
from tilewright.judge.findings import Kind
from tilewright.judge.lane import Lane, hidden_time, unwaited_time
from tilewright.judge.speed import decide
from tilewright.judge.speed_model import Block, Rules, SpeedVerdict
from tilewright.judge.timing import Track
from tilewright.judge.verdict import Outcome

SAMPLES = 5  # of a side in a block
COMPARED = 8  # one block in so many has outputs compared, on average
CONDITIONS = {
    f"{clock} time, {cache} L2": (clock, cache == "cold")
    for clock in ("device", "wall")
    for cache in ("cold", "warm")
}


class Blocks:
    """A `speed_model.Sampler` over cells.

    The first side has two cells, and each block draws which of them stands for it; which lies where in
    memory is thus drawn anew too. Instances, inputs and order are new in every block.

    Args:
        before, before_again, after: opened lanes, the first two of one source.
        condition: one of CONDITIONS.
    """

    def __init__(self, track: Track, before: Lane, before_again: Lane, after: Lane, condition: str) -> None:
        self.track = track
        self.firsts = (before, before_again)
        self.after = after
        self.clock, self.cold = CONDITIONS[condition]

    def pair_block(self) -> Block:
        """The first side against the second."""
        return self._block(self.track.order.choice(self.firsts), self.after)

    def same_block(self) -> Block:
        """The first side against itself."""
        one, other = self.track.order.sample(self.firsts, 2)
        return self._block(one, other)

    def _block(self, one: Lane, other: Lane) -> Block:
        order = self.track.order
        seed = secrets.randbits(31)
        for lane in order.sample((one, other), 2):
            lane.build(seed)
        compare = order.randrange(COMPARED) == 0
        chosen = order.randrange(SAMPLES + 1) if compare else -1
        times: dict[str, list[float]] = {"one": [], "other": []}
        for number in range(SAMPLES + 1):  # the first call of an instance warms it up
            inputs, call_seed = self.track.inputs()
            truth = self.track.truth(one, inputs, call_seed) if number == chosen else None
            for name, lane in order.sample([("one", one), ("other", other)], 2):
                reading = lane.call(inputs, call_seed, cold=self.cold, truth=truth)
                if number:
                    times[name].append(reading.wall if self.clock == "wall" else reading.device)
        return Block(tuple(times["one"]), tuple(times["other"]))


def compare_speed(payload: Mapping[str, Any], rules: Rules, device: str = "cuda") -> SpeedVerdict:
    """Decide whether the second side is faster; see `judge.api.compare_speed`.

    Raises:
        CandidateFailure: a side raised, gave wrong outputs, or its clock does not tell the truth.
        ProblemError: the problem itself does not run.
        AmbiguousParameters: parameters cannot be matched.
        Undecidable: the reference gives nothing to compare with.
    """
    track = Track(payload, device)
    (before_label, before), (after_label, after) = payload["sides"]
    sides = [(before_label, before), (before_label, before), (after_label, after)]
    with _opened(track, sides) as lanes:
        before_lane, before_again, after_lane = lanes
        blocks = Blocks(track, before_lane, before_again, after_lane, payload["condition"])
        blocks.same_block()  # compiles, autotunes, and is not counted
        blocks.pair_block()
        began = time.perf_counter()
        blocks.pair_block()
        for lane in lanes:
            lane.cold.clear()
            lane.warm.clear()
        affordable = float(payload["seconds"]) / (time.perf_counter() - began)
        verdict = decide(blocks, _within(rules, affordable), payload["condition"])
        for lane in lanes:
            hidden, unwaited = hidden_time(lane, lanes), unwaited_time(lane)
            if hidden:
                raise CandidateFailure(Outcome.NOT_ALLOWED, f"{lane.label}: {Kind.HIDDEN_TIME}: {hidden}")
            if unwaited:
                raise CandidateFailure(Outcome.NOT_ALLOWED, f"{lane.label}: {Kind.STREAM}: {unwaited}")
    return verdict


def _within(rules: Rules, blocks: float) -> Rules:
    """The same rules without the looks that would take too long; the first one always stays."""
    looks = [look for look in rules.looks if look + rules.noise_blocks <= blocks]
    return replace(rules, looks=tuple(looks or rules.looks[:1]))


@contextlib.contextmanager
def _opened(track: Track, sides: list[tuple[str, str | None]]) -> Iterator[list[Lane]]:
    with track.lanes(sides) as lanes:
        for lane in lanes:
            if lane.problem:
                raise CandidateFailure(Outcome.ERROR, f"{lane.label}: {lane.problem}")
        yield lanes
