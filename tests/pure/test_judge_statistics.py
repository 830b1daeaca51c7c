"""Medians and spread of samples."""

from __future__ import annotations

import pytest

from tilewright.judge.speed.statistics import median, spread


def test_one_stalled_sample_moves_nothing() -> None:
    calm = [100.0, 101.0, 99.0, 100.5, 99.5, 100.2, 99.8, 100.1, 99.9, 100.3, 99.7]
    stalled = [*calm[:-1], 1e6]
    assert median(stalled) == pytest.approx(median(calm), rel=0.01)
    assert spread(stalled) == pytest.approx(spread(calm), rel=0.5)


@pytest.mark.parametrize("function", [median, spread])
def test_no_samples_is_an_error(function: object) -> None:
    with pytest.raises(ValueError, match="no samples"):
        function([])  # type: ignore[operator]
