"""What a tensor holds as one number: alike for the same bits in the same places, and for nothing else."""

from __future__ import annotations

import pytest
import torch

from tilewright.judge.cell import prints
from tilewright.judge.cell.prints import print_of

DTYPES = (
    torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64, torch.complex128,
    torch.int64, torch.int8, torch.bool,
)  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_it_depends_on_bits_places_and_key_alone(dtype: torch.dtype) -> None:
    values = (torch.arange(35.0).reshape(5, 7) % 2).to(dtype)
    seen = print_of(values, 1)
    assert print_of(values.t().contiguous().t(), 1) == seen
    assert print_of(values, 2) != seen
    assert print_of(values.roll(1), 1) != seen
    assert print_of(values.reshape(7, 5), 1) != seen
    for place in (0, 17, 34):
        changed = values.clone()
        changed.view(-1)[place] = values.view(-1)[place] == 0
        assert print_of(changed, 1) != seen


def test_changes_of_several_elements_do_not_cancel_out() -> None:
    values = torch.randn(1000, dtype=torch.float64)
    sums = {print_of(values, 1)["sum"]}
    for place in range(999):
        changed = values.clone()
        changed[place : place + 2] *= -1.0
        sums.add(print_of(changed, 1)["sum"])
    assert len(sums) == 1000


def test_nan_is_equal_to_itself_and_nothing_is_something() -> None:
    assert print_of(torch.full((3,), float("nan")), 1) == print_of(torch.full((3,), float("nan")), 1)
    assert print_of(torch.zeros(0), 1) != print_of(torch.zeros(1), 1)


def test_the_place_of_a_piece_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prints, "PIECE", 64)
    values = torch.randn(1000)
    assert print_of(values.roll(64), 1) != print_of(values, 1)
