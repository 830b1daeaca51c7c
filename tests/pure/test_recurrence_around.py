"""The rows that a worker beside a loop computes at a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilewright.proposers.recurrence.stationary.around import FIRST_STEPS, LEAST_ROWS, rows_of_tile
from tilewright.proposers.recurrence.stationary.plan import TILE


@pytest.mark.parametrize(
    ("batch_rows", "warps", "rows"),
    [
        (8, 8, 16),
        (16, 4, 16),
        (24, 8, 16),
        (32, 8, 32),
        (40, 4, 32),
        (64, 4, 64),
        (72, 8, 64),
        (256, 4, 64),
        (256, 2, 32),  # a warp has registers for 16 rows
        (256, 1, 16),
    ],
)
def test_a_tile_has_no_more_rows_than_a_step_or_its_warps_hold(
    batch_rows: int, warps: int, rows: int
) -> None:
    assert rows_of_tile(batch_rows, warps) == rows


@given(programs=st.integers(1, 64), warps=st.sampled_from([1, 2, 4, 8]), doublings=st.integers(0, 20))
def test_an_epoch_begins_where_a_tile_does(programs: int, warps: int, doublings: int) -> None:
    """Otherwise the loop would read rows of a tile that is counted with the epoch before."""
    rows = rows_of_tile(programs * TILE, warps)
    assert rows <= max(programs * TILE, LEAST_ROWS)
    assert (FIRST_STEPS << doublings) * programs * TILE % rows == 0
