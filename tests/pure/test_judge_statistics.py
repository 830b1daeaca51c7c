"""Medians, spread and ratios of samples."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilewright.judge.statistics import median, ratio_of_medians, spread

times = st.lists(st.floats(1.0, 1e6), min_size=1, max_size=60)


def test_one_stalled_sample_moves_nothing() -> None:
    calm = [100.0, 101.0, 99.0, 100.5, 99.5, 100.2, 99.8, 100.1, 99.9, 100.3, 99.7]
    stalled = [*calm[:-1], 1e6]
    assert median(stalled) == pytest.approx(median(calm), rel=0.01)
    assert spread(stalled) == pytest.approx(spread(calm), rel=0.5)


def test_a_ratio_above_one_means_after_is_faster() -> None:
    draws = random.Random(5)
    before = [draws.gauss(200.0, 4.0) for _ in range(50)]
    after = [draws.gauss(100.0, 2.0) for _ in range(50)]
    ratio = ratio_of_medians(before, after)
    assert 1.9 < ratio.low < ratio.value < ratio.high < 2.1


def test_two_runs_of_one_thing_are_not_told_apart() -> None:
    draws = random.Random(7)
    first, second = ([draws.gauss(50.0, 3.0) for _ in range(40)] for _ in range(2))
    ratio = ratio_of_medians(first, second)
    assert ratio.low <= 1.0 <= ratio.high


@given(times, times)
def test_the_interval_is_ordered_and_repeatable(before: list[float], after: list[float]) -> None:
    ratio = ratio_of_medians(before, after)
    assert ratio.low <= ratio.high
    assert ratio == ratio_of_medians(before, after)
    assert min(before) / max(after) <= ratio.low
    assert ratio.high <= max(before) / min(after)


@pytest.mark.parametrize("function", [median, spread])
def test_no_samples_is_an_error(function: object) -> None:
    with pytest.raises(ValueError, match="no samples"):
        function([])  # type: ignore[operator]
