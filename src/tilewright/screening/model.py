"""The values that screening produces, and the notes that its worker leaves while it runs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tilewright.judge.speed.statistics import median


@dataclass(frozen=True)
class Screened:
    """One candidate.

    Args:
        device_us: its samples, one forward each on a cold L2 cache, over all rounds; microseconds. Where
            kernels were timed alone: their launches, and the rest of the base's forward.
        problem: why it is out: it failed, answered wrongly, hung, or took the process with it.
    """

    label: str
    device_us: tuple[float, ...] = ()
    problem: str = ""

    @property
    def time_us(self) -> float:
        """The median of its samples, microseconds; infinite without any, or with a problem."""
        return median(self.device_us) if self.device_us and not self.problem else float("inf")


@dataclass(frozen=True)
class Screening:
    """What became of all candidates.

    Args:
        candidates: the fastest first; those with a problem, or without a sample, last.
        device: what they ran on.
        seconds: spent, restarts and compilation included.
        rounds: gone through by those that stayed in.
        restarts: of the process, after a candidate took it down.
    """

    candidates: tuple[Screened, ...]
    device: str
    seconds: float
    rounds: int
    restarts: int


@dataclass(frozen=True)
class Visit:
    """One line of the worker's notes: a candidate's turn begun, done, or ended by a failure.

    Without a label it is about what a base does beside kernels that are timed alone.

    Args:
        round: counted from 0.
        device_us: of the samples taken; empty where the turn only began.
        problem: why the candidate is out.
    """

    label: str
    round: int
    device_us: tuple[float, ...] = ()
    problem: str = ""

    @property
    def began(self) -> bool:
        """Whether this is the line before a turn."""
        return not self.device_us and not self.problem


class Notes:
    """The worker's notes, a line for each visit, kept in a file so that a death loses nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, visit: Visit) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(visit.__dict__) + "\n")

    def read(self) -> list[Visit]:
        """All complete lines."""
        if not self.path.exists():
            return []
        lines = self.path.read_text().split("\n")[:-1]  # the last may have been cut short
        return [
            Visit(**{**fields, "device_us": tuple(fields["device_us"])}) for fields in map(json.loads, lines)
        ]

    def running(self) -> Visit | None:
        """The visit that was under way when the notes end; None where none was."""
        visits = self.read()
        return visits[-1] if visits and visits[-1].began else None


def gathered(labels: Iterable[str], visits: Iterable[Visit]) -> dict[str, Screened]:
    """What the notes say of each candidate."""
    found = {label: Screened(label) for label in labels}
    for visit in (visit for visit in visits if visit.label):
        known = found[visit.label]
        found[visit.label] = Screened(
            known.label, (*known.device_us, *visit.device_us), known.problem or visit.problem
        )
    return found
