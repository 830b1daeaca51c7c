"""One side while it is timed: its cell, its instance, and every reading. Judge's side."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tilewright.errors import ProblemError, Where
from tilewright.judge.cell.outside import Answer
from tilewright.judge.failures import CandidateFailure
from tilewright.judge.sides import moved
from tilewright.judge.speed.samples import Samples, Side
from tilewright.judge.trial import Case, Instance, Truth, build, compared

REFERENCE = "Model"


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
    def own(self) -> float:
        """The forward on the clock that counts here."""
        return self.device if self.ahead else self.wall

    @property
    def beside(self) -> float:
        """What the command took beside the forward: transfers, and whatever is hidden among them."""
        return self.command - self.wall


@dataclass
class Lane:
    """A side being timed.

    Args:
        source: None for the reference itself.
        cell: ends the cell when closed.
        failure: why it is out; None while it runs.
    """

    label: str
    source: str | None
    case: Case
    cell: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    instance: Instance | None = None
    failure: CandidateFailure | None = None
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
            comparison = compared(self.case, truth, moved(inputs, self.case.device), answer).comparison
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

    def beside(self) -> list[float]:
        """Of every reading, what it took beside the forward; microseconds."""
        return [reading.beside for reading in self.cold + self.warm]

    def close(self) -> None:
        """End its cell; readings stay."""
        self.cell.close()

    def drop(self, failure: CandidateFailure) -> None:
        """Take the side out."""
        self.failure = failure

    @property
    def problem(self) -> str:
        """Why it is out, in words; empty while it runs."""
        return str(self.failure or "")

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


def _samples(readings: Sequence[Reading]) -> Samples:
    return Samples(
        tuple(reading.wall for reading in readings if not reading.ahead),
        tuple(reading.device for reading in readings if reading.ahead),
        tuple(reading.command for reading in readings),
    )
