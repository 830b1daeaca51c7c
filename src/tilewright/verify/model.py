"""What checking a run folder says, line by line."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tilewright.machine import Machine


class Standing(StrEnum):
    """How what was recorded and what is found here stand to one another."""

    AGREES = "agrees"
    DIFFERS = "differs"
    NOT_CHECKED = "not checked here"


@dataclass(frozen=True)
class Line:
    """One thing that was looked at.

    Args:
        what: its name.
        recorded, found: the two values, where there are any to show.
        why: the reason for what is not checked, or what is wrong with what differs.
    """

    what: str
    standing: Standing
    recorded: str = ""
    found: str = ""
    why: str = ""


@dataclass(frozen=True)
class Verification:
    """A run folder, checked.

    Args:
        digest: of its manifest, to compare with a quoted one; None where there is none.
        machines: what the run was made on, by its own account.
        here: this machine.
    """

    folder: str
    digest: str | None
    machines: tuple[Machine, ...]
    here: Machine
    lines: tuple[Line, ...]

    @property
    def agrees(self) -> bool:
        """Whether nothing differs. What was not checked says neither yes nor no."""
        return all(line.standing is not Standing.DIFFERS for line in self.lines)


def agrees(what: str, recorded: str = "", found: str = "", why: str = "") -> Line:
    return Line(what, Standing.AGREES, recorded, found, why)


def differs(what: str, why: str, recorded: str = "", found: str = "") -> Line:
    return Line(what, Standing.DIFFERS, recorded, found, why)


def not_checked(what: str, why: str, recorded: str = "", found: str = "") -> Line:
    return Line(what, Standing.NOT_CHECKED, recorded, found, why)
