"""How a figure is known.

Every figure and every verdict carries one of these kinds, and a weaker kind never prints as a
stronger one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Evidence(StrEnum):
    """Kinds of evidence, strongest first."""

    MEASURED = "measured"  # on the target GPU
    MEASURED_ON = "measured-on"  # on another GPU, which is then named
    INTERPRETED = "interpreted"  # run on the CPU by Triton's interpreter
    COMPILED = "compiled"  # read off the binary built for the target
    ESTIMATED = "estimated"  # a model

    @property
    def rank(self) -> int:
        """0 for the strongest kind, counting up."""
        return list(Evidence).index(self)


def weakest(*kinds: Evidence) -> Evidence:
    """The kind that a figure computed from several others may claim."""
    return max(kinds, key=lambda kind: kind.rank)


@dataclass(frozen=True)
class Figure:
    """A number, its unit, and how it is known.

    `gpu` names the GPU it was read on when the evidence is `measured` or `measured-on`.
    """

    value: float
    unit: str
    evidence: Evidence
    gpu: str | None = None

    def __str__(self) -> str:
        on = f" {self.gpu}" if self.evidence is Evidence.MEASURED_ON and self.gpu else ""
        return f"{self.value:.4g} {self.unit} ({self.evidence}{on})"
