"""Medians and spread of timing samples. Never a mean: one stalled sample would move it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


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
