"""A candidate: one ModelNew file as text, and where it came from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Apart:
    """In what a candidate differs from another: in launches of these kernels, and in nothing else.

    Args:
        base: the other's id.
        kernels: at least one.
    """

    base: str
    kernels: tuple[str, ...]


@dataclass(frozen=True)
class Candidate:
    """Never edited, always derived.

    Args:
        source: the whole file.
        stage, proposer: who made it; "given" for the user's own code.
        why: one sentence, for the report.
        parent: id of the candidate it was derived from; None for the user's own code.
        settings: what the proposer chose ("BLOCK_M": "64"), so that a report can show it.
        apart: in what it differs from another candidate or from its parent, where that is a kernel or a few.
    """

    source: str
    stage: str = "given"
    proposer: str = "user"
    why: str = "the code as given"
    parent: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    apart: Apart | None = None

    @property
    def id(self) -> str:
        """The first 12 hexadecimal digits of the source's SHA-256."""
        return hashlib.sha256(self.source.encode()).hexdigest()[:12]
