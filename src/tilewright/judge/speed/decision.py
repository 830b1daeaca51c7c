"""Is one side faster than the other? A verdict with a known chance of being wrong.

A block gives one number: the logarithm of the ratio of its two medians. Where the sides do not differ,
swapping them changes nothing, so that number is as likely to be x as −x, whatever its distribution.
That is all Wilcoxon's signed-rank test asks for, so its level is exact with heavy tails and few blocks.
Inverted, the test gives the interval of the ratio (Hodges and Lehmann, 1963): order statistics of the
averages of all pairs of blocks, which a few stalled blocks do not move. Blocks should be independent;
where neighbours resemble each other, the interval is widened.

The blocks are looked at a few fixed times. Each look spends an equal share of the false alarms allowed
(Bonferroni), so that all of them together stay below the sum, however the looks depend on one another. A
difference is called where the interval lies wholly beyond 1 and beyond what the first side shows against
itself.

SciPy is imported where it is used: that takes 0.7 s, which `sampling` spends while cells start.

The best of N candidates is the luckiest of N as well. Decide it again, on blocks that took no part in
choosing it: the chance stated is that of one decision.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Sequence
from functools import cache
from statistics import median

import numpy as np

from tilewright.judge.speed.model import Block, Ratio, Rules, Sampler, SpeedOutcome, SpeedVerdict

MOST_CORRELATED = 0.95  # beyond it an estimate from tens of blocks says nothing but "very"


def decide(sampler: Sampler, rules: Rules, condition: str) -> SpeedVerdict:
    """Take blocks until the answer is clear, or the last look.

    Blocks of the first side against itself come first. Then pairs, until a look shows a difference or
    shows that one, if any, is within `rules.resolution` or within the noise.

    Args:
        condition: what the sampler times; only named in the verdict.

    Raises:
        ValueError: a block without samples of a side, or with one that is not a positive time.
    """
    noise_pairs = tuple(sampler.same_block() for _ in range(rules.noise_blocks))
    noise = _interval([_log_ratio(block) for block in noise_pairs], 1.0 - rules.noise_confidence)
    # Which of two equal sides is the first means nothing: the wider end counts for both directions.
    margin = max(abs(noise.low), abs(noise.high))
    pairs: list[Block] = []
    logs: list[float] = []
    for look in rules.looks:
        while len(pairs) < look:
            pairs.append(sampler.pair_block())
            logs.append(_log_ratio(pairs[-1]))
        shown = _interval(logs, rules.level)
        outcome = _outcome(shown, margin)
        within = max(margin, math.log1p(rules.resolution))
        if outcome is not SpeedOutcome.NO_DIFFERENCE or max(-shown.low, shown.high) <= within:
            break
    return SpeedVerdict(
        outcome=outcome,
        ratio=_ratio(shown),
        noise=_ratio(noise),
        condition=condition,
        rules=rules,
        pairs=tuple(pairs),
        noise_pairs=noise_pairs,
    )


def recompute(
    pairs: Sequence[Block], noise_pairs: Sequence[Block], rules: Rules, condition: str
) -> SpeedVerdict:
    """The verdict that recorded blocks give: exactly the one of `decide` when they were taken.

    Raises:
        ValueError: the rules ask for blocks that the record lacks, or leave some of it unused; or a
            block without samples of a side, or with one that is not a positive time.
    """
    record = _Record(iter(pairs), iter(noise_pairs))
    verdict = decide(record, rules, condition)
    unused = len(pairs) + len(noise_pairs) - len(verdict.pairs) - len(verdict.noise_pairs)
    if unused:
        raise ValueError(f"{unused} recorded blocks more than the rules use")
    return verdict


class _Record:
    """Gives recorded blocks as a sampler."""

    def __init__(self, pairs: Iterator[Block], noise_pairs: Iterator[Block]) -> None:
        self._pairs, self._noise_pairs = pairs, noise_pairs

    def pair_block(self) -> Block:
        return self._next(self._pairs)

    def same_block(self) -> Block:
        return self._next(self._noise_pairs)

    def _next(self, blocks: Iterator[Block]) -> Block:
        for block in blocks:
            return block
        raise ValueError("the rules ask for more blocks than were recorded")


def _log_ratio(block: Block) -> float:
    """log(before / after) of the block's medians; a few stalled samples do not move it."""
    for samples in (block.before_us, block.after_us):
        if not samples:
            raise ValueError("a block without samples of a side")
        for sample in samples:
            if not 0.0 < sample < math.inf:
                raise ValueError(f"a sample of {sample} µs is not a positive time")
    return math.log(median(block.before_us)) - math.log(median(block.after_us))


def _interval(logs: Sequence[float], level: float) -> Ratio:
    """The pseudomedian of logs of ratios, and the interval that misses it with a chance of `level`.

    Infinite where there are too few to say anything at that level.
    """
    values = np.asarray(logs, dtype=np.float64)
    rows, columns = np.triu_indices(len(values))
    averages = np.sort((values[rows] + values[columns]) / 2.0)
    centre = float(np.median(averages))
    cut = _cut(len(values), level / 2.0)
    if cut == 0:
        return Ratio(centre, -math.inf, math.inf)
    low, high = float(averages[cut - 1]), float(averages[-cut])
    stretch = _stretch(values)
    return Ratio(centre, centre - (centre - low) * stretch, centre + (high - centre) * stretch)


def _stretch(values: np.ndarray) -> float:
    """How much wider an interval must be because each block resembles the one before it; at least 1.

    With a correlation of r between neighbours, the mean of n values is as uncertain as that of
    n·(1 − r)/(1 + r) independent ones (Bayley and Hammersley, 1946). r is taken of the ranks, which a
    stalled block does not move, and 1/n is added, by which it comes out too low on average.
    """
    from scipy import stats

    ranks = stats.rankdata(values)
    ranks -= ranks.mean()
    square = float(ranks @ ranks)
    if square == 0.0:
        return 1.0
    neighbours = float(ranks[1:] @ ranks[:-1]) / square + 1.0 / len(values)
    neighbours = min(max(neighbours, 0.0), MOST_CORRELATED)
    return math.sqrt((1.0 + neighbours) / (1.0 - neighbours))


@cache
def _cut(blocks: int, tail: float) -> int:
    """Which of the sorted averages of pairs bounds the interval, counted from an end; 0 if none does.

    As many averages lie above a value as the signed-rank statistic has there, so the interval ends at
    the first value of that statistic whose lower tail holds more than `tail`.
    """
    most = blocks * (blocks + 1) // 2
    return bisect.bisect_right(range(most // 2 + 1), tail, key=lambda rank: _lower_tail(blocks, rank))


def _lower_tail(blocks: int, statistic: int) -> float:
    """The chance that the signed-rank statistic is at most `statistic` where the sides do not differ."""
    from scipy import stats

    ranks = np.arange(1.0, blocks + 1.0)
    for rank in range(blocks, 0, -1):  # signs that give this statistic: the largest ranks that fit
        if rank <= statistic:
            statistic -= rank
        else:
            ranks[rank - 1] *= -1.0
    return float(stats.wilcoxon(ranks, alternative="less", method="exact").pvalue)


def _outcome(shown: Ratio, margin: float) -> SpeedOutcome:
    if shown.low > margin:
        return SpeedOutcome.FASTER
    if shown.high < -margin:
        return SpeedOutcome.SLOWER
    return SpeedOutcome.NO_DIFFERENCE


def _ratio(logs: Ratio) -> Ratio:
    return Ratio(math.exp(logs.value), math.exp(logs.low), math.exp(logs.high))
