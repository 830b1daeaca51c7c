"""Fresh memory: what it holds, and guard zones around it."""

from __future__ import annotations

import ctypes
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tilewright.judge.means.poison import FINITE, Guards, Poisoned, free_blocks, poison_value

pytestmark = pytest.mark.interpreted
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int8, torch.int64, torch.bool]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_two_fills_differ_and_fit_the_dtype(dtype: torch.dtype) -> None:
    filled = []
    for finite in (False, True):
        with Poisoned(finite=finite):
            memory = torch.empty(7, dtype=dtype)
        value = poison_value(dtype, finite=finite)
        assert memory.isnan().all() if value != value else (memory == value).all()
        filled.append(memory)
    assert not torch.equal(*filled)
    assert torch.isfinite(filled[1].double()).all()


def test_memory_is_poisoned_inside_operators_written_in_python_too() -> None:
    @torch.library.custom_op("tilewright_tests::hollow", mutates_args=())
    def hollow(x: torch.Tensor) -> torch.Tensor:
        return torch.empty_like(x)

    with Poisoned():
        assert bool(hollow(torch.ones(9)).isnan().all())


def test_float16_takes_its_lowest_value() -> None:
    assert poison_value(torch.float16, finite=True) == -65504.0
    assert poison_value(torch.float32, finite=True) == FINITE
    assert math.isnan(float(poison_value(torch.float16)))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 5), max_size=4).map(tuple),
    st.sampled_from(DTYPES),
    st.sampled_from([1, 64, 512, 1000]),
)
def test_a_guarded_tensor_has_the_form_of_a_plain_one(
    shape: tuple[int, ...], dtype: torch.dtype, guard: int
) -> None:
    mode = Poisoned(guard_bytes=guard)
    with mode:
        made = [torch.empty(shape, dtype=dtype), torch.empty_like(torch.zeros(3, 4).t())]
    plain = [torch.empty(shape, dtype=dtype), torch.empty_like(torch.zeros(3, 4).t())]
    for one, other in zip(made, plain, strict=True):
        assert (one.shape, one.stride(), one.dtype) == (other.shape, other.stride(), other.dtype)
        one.zero_()
        assert not one.any()
    assert mode.broken_guards() == []


def test_writes_on_either_side_are_found_and_told_once() -> None:
    mode = Poisoned(guard_bytes=512)
    with mode:
        out, other = torch.empty(3, 5), torch.empty(8, dtype=torch.float16)
    ctypes.memset(out.data_ptr() + 60, 0, 12)
    ctypes.memset(other.data_ptr() - 2, 7, 2)
    assert mode.broken_guards() == [
        "12 bytes written after the end of a float32 [3, 5], the nearest 1 bytes off",
        "2 bytes written before the start of a float16 [8], the nearest 1 bytes off",
    ]
    assert mode.broken_guards() == []


def test_writes_inside_break_no_guard() -> None:
    mode = Poisoned(guard_bytes=64)
    with mode:
        out = torch.empty(100)
        sums = torch.randn(4, 4) @ torch.randn(4, 4)
    out.fill_(1)
    assert mode.broken_guards() == []
    assert sums.isfinite().all()


def test_memory_that_is_not_there_is_left_alone() -> None:
    mode = Poisoned(guard_bytes=64)
    with mode:
        assert torch.empty(4, device="meta").device.type == "meta"
        assert torch.empty(0).numel() == 0


def test_alignment_is_that_of_the_allocator() -> None:
    guards = Guards(100)
    assert guards.size_bytes == 512
    room = guards.room_like(torch.empty(10), "x")
    assert room.storage_offset() * room.element_size() == 512
    ctypes.memset(room.data_ptr() + 41, 1, 1)
    assert guards.broken() == ["1 bytes written after the end of x, the nearest 2 bytes off"]


def test_free_blocks_of_a_segment() -> None:
    states = [("active_allocated", 512), ("inactive", 1024), ("active_pending_free", 512), ("inactive", 2048)]
    segment = {"address": 4096, "blocks": [{"state": state, "size": size} for state, size in states]}
    assert free_blocks(segment) == [(4096 + 512, 1024), (4096 + 2048, 2048)]
