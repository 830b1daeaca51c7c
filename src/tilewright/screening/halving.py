"""Which candidates go on to the next round: successive halving with an allowance for noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tilewright.screening.model import Screened


@dataclass(frozen=True)
class Round:
    """One round.

    Args:
        samples: of each candidate still in.
        within: how many times the fastest one's time a candidate may take to stay in.
        share: of the candidates, the most that stay in; never fewer than the few that are wanted.
    """

    samples: int
    within: float
    share: float


# Two samples tell a factor of two; where a binary lies in memory alone moved a time by 2 %, so the last
# round still lets 5 % pass.
ROUNDS = (Round(2, 2.0, 0.6), Round(4, 1.3, 0.5), Round(8, 1.15, 0.5), Round(16, 1.05, 0.5))


def survivors(candidates: Mapping[str, Screened], rule: Round, keep: int) -> list[str]:
    """Labels of those that go on, the fastest first.

    Args:
        candidates: those that were in this round, with all their samples so far.
        keep: how many are wanted in the end; so many stay in whatever their times.
    """
    ranked = ranking(candidates)
    if not ranked:
        return []
    limit = rule.within * candidates[ranked[0]].time_us
    close = [label for label in ranked if candidates[label].time_us <= limit]
    most = max(keep, round(rule.share * len(ranked)))
    return ranked[: max(keep, min(most, len(close)))]


def ranking(candidates: Mapping[str, Screened]) -> list[str]:
    """Labels of those that were timed, the fastest first."""
    timed = [one for one in candidates.values() if one.device_us and not one.problem]
    return [one.label for one in sorted(timed, key=lambda one: one.time_us)]
