"""One side while it is timed: its cell, its instance, and every reading. Judge's side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

from tilewright.errors import ProblemError, Where
from tilewright.judge.cell.outside import Answer
from tilewright.judge.failures import CandidateFailure
from tilewright.judge.means.findings import Kind
from tilewright.judge.speed.samples import Samples, Side
from tilewright.judge.trial import Case, Instance, Truth, build, compared

REFERENCE = "Model"
SHARE = 0.05  # of its own time, or of that of the transfers, that a side could hide and not be found out
LEAST_US = 50.0  # hidden time that the noise of two clocks in two processes cannot tell from none


@dataclass(frozen=True)
class Reading:
    """One timed call. Microseconds.

    Args:
        wall, device, drained: as the cell read them; see `cell.subject.Subject.call`.
        command: the whole command on the judge's clock, transfers included.
        ahead: whether the stream was held up first, as `stopwatch` says: its device time counts then, and its
            wall time holds that as well. Else its wall time counts.
    """

    wall: float
    device: float
    drained: float
    command: float
    ahead: bool = False

    @property
    def beside(self) -> float:
        """What the command took beside the forward: transfers, and whatever is hidden among them."""
        return self.command - self.wall


@dataclass
class Lane:
    """A side being timed.

    Args:
        source: None for the reference itself.
        problem: why it is out; empty while it runs.
    """

    label: str
    source: str | None
    case: Case
    instance: Instance | None = None
    problem: str = ""
    cold: list[Reading] = field(default_factory=list)
    warm: list[Reading] = field(default_factory=list)

    def open(self) -> None:
        """Import the file, in its cell."""
        text, name = (self.case.source, REFERENCE) if self.source is None else (self.source, "ModelNew")
        path = self.case.problem_path if self.source is None else self.label
        self._serve("open", source=text, path=path, name=name)

    def build(self, seed: int) -> None:
        """A fresh instance in fresh memory.

        Raises:
            ProblemError: the problem itself does not run.
            CandidateFailure: the candidate raised.
            AmbiguousParameters: its parameters cannot be matched.
        """
        self.instance = build(self.case, seed)

    def call(
        self,
        inputs: list[Any],
        seed: int,
        *,
        cold: bool,
        ahead: bool,
        truth: Truth | None = None,
        fresh: bool = False,
    ) -> Reading:
        """One timed call.

        Args:
            ahead: for device time; without, for wall time.
            truth: what its outputs are compared with, where they are.
            fresh: inputs at new addresses.

        Raises:
            CandidateFailure: it raised, or its outputs are wrong.
        """
        self._serve("prepare")
        answer = self._serve("call", inputs=inputs, seed=seed, fresh=fresh, cold=cold, ahead=ahead)
        if truth is not None:
            comparison = compared(self.case, truth, inputs, answer).comparison
            if comparison.reason:
                raise CandidateFailure(
                    comparison.outcome, f"a timed call gave wrong outputs: {comparison.reason}"
                )
        values = answer.values
        reading = Reading(
            float(values["wall_us"]),
            float(values["device_us"]),
            float(values["drained_us"]),
            answer.seconds * 1e6,
            ahead,
        )
        (self.cold if cold else self.warm).append(reading)
        return reading

    def drop(self, failure: CandidateFailure) -> None:
        """Take the side out."""
        self.problem = f"{failure.outcome}: {failure.reason}"

    def side(self) -> Side:
        return Side(self.label, _samples(self.warm), _samples(self.cold), self.problem)

    def _serve(self, command: str, /, **arguments: Any) -> Answer:
        try:
            return self.case.command(command, **arguments)
        except CandidateFailure as failure:
            if self.source is None:
                raise ProblemError(
                    f"Model does not run: {failure.reason}",
                    where=Where(self.case.problem_path),
                    mend="make the reference run on its own inputs",
                ) from failure
            raise


def clock_fault(lane: Lane, others: Sequence[Lane]) -> str:
    """What a side's own clock does not show, as a finding in words; empty where it tells the truth."""
    if hidden := hidden_time(lane, others):
        return f"{Kind.HIDDEN_TIME}: {hidden}"
    if unwaited := unwaited_time(lane):
        return f"{Kind.STREAM}: {unwaited}"
    return ""


def hidden_time(lane: Lane, others: Sequence[Lane]) -> str:
    """What a side's own clock left out, if anything: "37 µs beside the 120 µs that its own clock shows".

    Every side is sent the same bytes by the same code, so what a command takes beside its forward is
    the same for all, and a side cannot make that of another process larger. More than the least of them
    is work done outside the clock: before it, after it, or by a clock that was tampered with. Shortest
    times are compared, which other processes on the machine move least, and medians, in case a side is
    honest now and then; both as far as they stand out from their own spread.
    """
    own = median(reading.wall for reading in lane.cold + lane.warm)
    mine, theirs = _beside(lane), [_beside(other) for other in [lane, *others]]
    low, middle, high = quantiles(mine, n=4)
    least = min(theirs, key=min)
    allowed = max(LEAST_US, SHARE * own, SHARE * min(least))
    for hidden, spread in ((min(mine) - min(least), low - min(mine)), (middle - median(least), high - low)):
        if hidden > allowed + 3.0 * spread:
            return f"{hidden:.0f} µs beside the {own:.0f} µs that its own clock shows"
    return ""


def unwaited_time(lane: Lane) -> str:
    """Device work that goes on after the caller's stream is done, if any: "300 µs after 20"."""
    readings = lane.cold + lane.warm
    device = median(reading.device for reading in readings)
    after = median(reading.drained - reading.device for reading in readings)
    if after <= max(LEAST_US, SHARE * device) * 2:
        return ""
    return f"{after:.0f} µs on other streams after the {device:.0f} µs of the caller's"


def _beside(lane: Lane) -> list[float]:
    return [reading.beside for reading in lane.cold + lane.warm]


def _samples(readings: Sequence[Reading]) -> Samples:
    return Samples(
        tuple(reading.wall for reading in readings if not reading.ahead),
        tuple(reading.device for reading in readings if reading.ahead),
        tuple(reading.command for reading in readings),
    )
