"""Medians, spread and ratios of timing samples. Never a mean: one stalled sample would move it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tilewright.judge.speed_model import Ratio

RESAMPLES = 2000
CONFIDENCE = 0.95


def median(samples: Sequence[float]) -> float:
    """The middle sample; raises ValueError without any."""
    if not samples:
        raise ValueError("no samples")
    return float(np.median(samples))


def spread(samples: Sequence[float]) -> float:
    """The interquartile range: the width of the middle half of the samples."""
    if not samples:
        raise ValueError("no samples")
    low, high = np.percentile(samples, [25.0, 75.0])
    return float(high - low)


def ratio_of_medians(before: Sequence[float], after: Sequence[float], *, seed: int = 0) -> Ratio:
    """median(before) / median(after): above 1 where `after` is faster.

    The 95 % interval is the percentile bootstrap's: both sides are drawn again with replacement
    (2 000 times, from a fixed seed, so that the same samples give the same interval).
    """
    if not before or not after:
        raise ValueError("no samples")
    generator = np.random.default_rng(seed)

    def resampled(samples: Sequence[float]) -> np.ndarray:
        values = np.asarray(samples, dtype=np.float64)
        drawn = generator.integers(0, len(values), size=(RESAMPLES, len(values)))
        return np.asarray(np.median(values[drawn], axis=1))

    ratios = resampled(before) / resampled(after)
    tail = 50.0 * (1.0 - CONFIDENCE)
    low, high = np.percentile(ratios, [tail, 100.0 - tail])
    return Ratio(median(before) / median(after), float(low), float(high))
