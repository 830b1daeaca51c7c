"""What a run spends, written down as it goes, and what it leaves undone for want of more."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tilewright.stages.summary import Spent


@dataclass
class Ledger:
    """Of one run under way.

    Args:
        seconds: by kind of work; candidates: how many were compiled, timed and judged.
        more: what was left undone, a line each.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    candidates: Counter[str] = field(default_factory=Counter)
    more: list[str] = field(default_factory=list)

    @contextmanager
    def on(self, work: str) -> Iterator[None]:
        """The time of the block goes into this kind of work."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[work] = self.seconds.get(work, 0.0) + time.monotonic() - began

    def spent(self) -> Spent:
        return Spent(self.seconds, dict(self.candidates), tuple(dict.fromkeys(self.more)))
