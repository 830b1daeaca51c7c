"""A candidate: one ModelNew file as text, and where it came from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Candidate:
    """Never edited, always derived.

    Args:
        source: the whole file.
        stage, proposer: who made it; "given" for the user's own code.
        why: one sentence, for the report.
        parent: id of the candidate it was derived from; None for the user's own code.
        settings: what the proposer chose ("BLOCK_M": "64"), so that a report can show it.
        alone: kernels whose launches are all that its forward does otherwise than its parent's; empty where
            it may do more.
    """

    source: str
    stage: str = "given"
    proposer: str = "user"
    why: str = "the code as given"
    parent: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    alone: frozenset[str] = frozenset()

    @property
    def id(self) -> str:
        """The first 12 hexadecimal digits of the source's SHA-256."""
        return hashlib.sha256(self.source.encode()).hexdigest()[:12]
