"""The inner dimension of a product shared among programs: the text, and what is left alone."""

from __future__ import annotations

import pytest
from launching import COLUMNS, LINEAR
from rewriting import HEAD, changes, rewritten, view

from tilewright.proposers.rewrite.base import Declined, Inapplicable
from tilewright.proposers.rewrite.even_masks import EvenMasks
from tilewright.proposers.rewrite.split_k import SplitK, SplitSum

KERNEL = (
    HEAD
    + """\
def kernel(a_ptr, b_ptr, out_ptr, m, n, k, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    cols = tl.program_id(1) * BN + tl.arange(0, BN)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for start in range(0, k, BK):
        inner = start + tl.arange(0, BK)
        a = tl.load(a_ptr + rows[:, None] * k + inner[None, :], mask=inner[None, :] < k, other=0.0)
        b = tl.load(b_ptr + inner[:, None] * n + cols[None, :], mask=inner[:, None] < k, other=0.0)
        acc += tl.dot(a, b)
    out = acc.to(tl.float16)
    tl.store(out_ptr + rows[:, None] * n + cols[None, :], out)


def matmul(a, b):
    out = torch.empty((a.shape[0], b.shape[1]), device=a.device, dtype=torch.float16)
    grid = (triton.cdiv(a.shape[0], 64), triton.cdiv(b.shape[1], 64))
    kernel[grid](a, b, out, *a.shape, b.shape[1], BM=64, BN=64, BK=32)
    return out
"""
)
GRID, SIZES = (4, 4, 1), {"m": 256, "n": 256, "k": 4096, "BM": 64, "BN": 64, "BK": 32}


def declines(source: str, old: str, new: str, why: str, grid: tuple[int, int, int]) -> None:
    assert old in source
    seen = view(source.replace(old, new), grid, **SIZES)
    with pytest.raises(Declined, match=why):
        SplitK().choices(seen, seen.file.kernels[0])


def test_a_share_of_the_loop_goes_to_a_workspace_and_a_second_kernel_adds() -> None:
    text = rewritten(SplitK(), KERNEL, "4", grid=GRID, **SIZES)
    assert changes(KERNEL, text[: text.index("def add_parts")]) == [
        "def kernel(a_ptr, b_ptr, out_ptr, m, n, k, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, "
        "part_elements, SPLIT: tl.constexpr):",
        "split = tl.program_id(2)",
        "out_ptr += split.to(tl.int64) * part_elements",
        "share = tl.cdiv(tl.cdiv(k, BK), SPLIT)",
        "first_turn = split * share",
        "for start in range(first_turn * BK, tl.minimum((first_turn + share) * BK, k), BK):",
        "tl.store(out_ptr + rows[:, None] * n + cols[None, :], acc)",
    ]
    assert "out = acc" not in text
    assert "total.to(tl.float16)" in text[text.index("def add_parts") :]
    assert changes(KERNEL, text[text.index("def matmul") :]) == [
        "parts = torch.empty((4, *out.shape), device=out.device, dtype=torch.float32)",
        "kernel[(*grid, 4)](a, b, parts, *a.shape, b.shape[1], BM=64, BN=64, BK=32, "
        "part_elements=out.numel(), SPLIT=4)",
        "add_parts[(triton.cdiv(out.numel(), 1024),)](parts, out, out.numel(), SPLIT=4, BLOCK=1024)",
    ]


def test_what_happens_to_the_sum_is_done_by_the_second_kernel() -> None:
    text = rewritten(SplitK(), LINEAR, "4", grid=(16, 1, 1), **SIZES)
    share = text[: text.index("def linear_kernel_finish")]
    assert "bias = tl.load" not in share and "activated(acc" not in share
    assert "    tl.store(out_at, acc, mask=inside)\n" in share
    finish = text[text.index("def linear_kernel_finish") : text.index("def activated")]
    assert finish.splitlines()[1:12] == [
        "    parts_ptr,", "    bias_ptr,", "    out_ptr,", "    m,", "    n,", "    slope,",
        "    BM: tl.constexpr,", "    BN: tl.constexpr,", "    BK: tl.constexpr,",
        "    part_elements,", "    SPLIT: tl.constexpr,",
    ]  # fmt: skip
    lines = [line.strip() for line in finish.splitlines()]
    first = lines.index("acc = tl.zeros((BM, BN), dtype=tl.float32)")
    last = lines.index("acc += bias[None, :]")
    assert lines[first + 1 : last] == [
        "parts_at = parts_ptr + rows[:, None] * n + cols[None, :]",
        "for _ in tl.static_range(SPLIT):",
        "acc += tl.load(parts_at, mask=inside, other=0.0)",
        "parts_at += part_elements",
    ]
    assert "result = activated(acc, slope)" in lines[last:]
    assert "inner" not in finish and "a_ptr" not in finish
    assert changes(LINEAR, text[text.index("def linear(") :]) == [
        "parts = torch.empty((4, *out.shape), device=out.device, dtype=torch.float32)",
        "linear_kernel[lambda meta: (*grid(meta), 4)](a, b, bias, parts, m, n, k, 0.5, BM=16, BN=16, BK=16, "
        "num_warps=2, part_elements=out.numel(), SPLIT=4)",
        "linear_kernel_finish[grid](parts, bias, out, m, n, 0.5, 16, 16, 16, part_elements=out.numel(), "
        "SPLIT=4, num_warps=2)",
    ]


@pytest.mark.parametrize(
    "old, new, why",
    [
        ("    result = act", "    if m > 5:\n        acc += 1.0\n    result = act", "the way taken"),
        ("mask=inside)", "mask=inside & (acc > 0))", "where the sum is stored depends on it"),
        ("    inside = (", "    tl.debug_barrier()\n    inside = (", "not all that the rest is about"),
        ("    result = act", "    bias = rows\n    result = act", "bias stands for something else before"),
        ("0.5, BM=16,", "**{'slope': 0.5}, BM=16,", "does not say what slope is"),
        ("activated(acc, slope)", "tl.trans(activated(acc, slope))", "trans moves what is computed"),
        ("tl.where(x > 0, x, x * slope)", "tl.flip(x)", "flip moves what is computed"),
        ("(a, b, bias, out, m", "(a, b, bias.float(), out, m", r"bias.float\(\) would be computed twice"),
    ],
)  # fmt: skip
def test_an_epilogue_left_alone(old: str, new: str, why: str) -> None:
    declines(LINEAR, old, new, why, (16, 1, 1))


def test_a_name_of_the_epilogue_may_be_bound_twice() -> None:
    twice = LINEAR.replace("    out_at = out_ptr", "    out_at = rows[:, None] * 1\n    out_at = out_ptr")
    assert twice != LINEAR
    seen = view(twice, (16, 1, 1), **SIZES)
    assert SplitK().choices(seen, seen.file.kernels[0])


def test_pointers_that_advance_every_turn_start_at_their_share() -> None:
    source = KERNEL.replace("acc += tl.dot(a, b)\n", "acc += tl.dot(a, b)\n        b_ptr += BK * n\n")
    source = source.replace("range(0, k, BK)", "range(tl.cdiv(k, BK))")
    text = rewritten(SplitK(), source, "2", grid=GRID, **SIZES)
    assert changes(source, text)[3:7] == [
        "share = tl.cdiv(tl.cdiv(k, BK), SPLIT)",
        "first_turn = split * share",
        "b_ptr += first_turn.to(tl.int64) * (BK * n)",
        "for start in range(first_turn, tl.minimum(first_turn + share, tl.cdiv(k, BK))):",
    ]


def test_as_many_shares_as_sms_and_turns_allow() -> None:
    for grid, k, choices in (((4, 4, 1), 4096, ("8", "4", "2")), ((1, 1, 1), 512, ("8", "4", "2"))):
        seen = view(KERNEL, grid, **{**SIZES, "k": k})
        assert SplitK().choices(seen, seen.file.kernels[0]) == choices


@pytest.mark.parametrize(
    "old, new, why",
    [
        ("out = acc.to(tl.float16)", "out = acc * 2.0", "the call does not say what n is"),
        ("out = acc.to(tl.float16)", "acc += 1.0\n    out = acc", "the call does not say what n is"),
        ("acc += tl.dot(a, b)", "acc += tl.dot(a, b)\n        norm = norm + tl.sum(a)", "carried"),
        ("acc += tl.dot(a, b)", "acc += tl.dot(a, b)\n        b_ptr += start", "advance by the same"),
        ("dtype=tl.float32", "dtype=tl.float16", "not tl.zeros of float32"),
        ("acc += tl.dot(a, b)", "acc = acc * 0.5 + tl.dot(a, b)", "not added to an accumulator"),
        ("tl.store(out_ptr", "out_ptr += inner[:, None]\n    tl.store(out_ptr", "used after the loop"),
        ("tl.dot(a, b)", "tl.dot(a.to(out_ptr.dtype.element_ty), b)", "line 16: asks for the output's type"),
        ("= torch.empty(", "= torch.zeros(", "without values"),
        ("    kernel[grid]", "    out.zero_()\n    kernel[grid]", "used between"),
        ("    kernel[grid]", "    for _ in range(2):\n        kernel[grid]", "right before the launch"),
        ("grid = (", "grid = grids(", "not written out"),
        ("64), triton", "64), 2, triton", "no free axis"),
    ],
)  # fmt: skip
def test_left_alone(old: str, new: str, why: str) -> None:
    declines(KERNEL, old, new, why, GRID)


@pytest.mark.parametrize("grid, k, why", [((9, 9, 1), 4096, "busy"), ((4, 4, 1), 96, "too few to share")])
def test_not_worth_it(grid: tuple[int, int, int], k: int, why: str) -> None:
    seen = view(KERNEL, grid, **{**SIZES, "k": k})
    with pytest.raises(Declined, match=why):
        SplitK().choices(seen, seen.file.kernels[0])


def test_masks_of_a_shared_loop_still_drop_where_sizes_divide() -> None:
    split = rewritten(SplitK(), KERNEL, "4", grid=GRID, **SIZES)
    text = rewritten(EvenMasks(), split, grid=(4, 4, 4), **SIZES)
    assert text.count("(k % BK == 0)") == 2


def test_a_cast_that_something_else_reads_stays() -> None:
    source = KERNEL.replace("    tl.store(", "    tl.static_assert(out.dtype == tl.float16)\n    tl.store(")
    text = rewritten(SplitK(), source, "4", grid=GRID, **SIZES)
    assert "    out = acc.to(tl.float16)\n" in text
    assert "cols[None, :], acc)" in text


def test_a_kernel_that_another_one_calls_is_left_alone() -> None:
    caller = "@triton.jit\ndef caller(a_ptr):\n    kernel(a_ptr, a_ptr, a_ptr, 1, 1, 1, 16, 16)\n\n\n"
    source = (KERNEL).replace("def matmul(", caller + "def matmul(")
    seen = view(source, GRID, **SIZES)
    with pytest.raises(Declined, match="another kernel calls it"):
        SplitK().choices(seen, seen.file.kernels[0])


SUMS = {"rows": 1024, "columns": 256, "BR": 4, "BC": 16}


def test_the_turns_of_a_sum_are_shared_and_its_sum_along_an_axis_is_a_part_of_the_whole() -> None:
    text = rewritten(SplitSum(), COLUMNS, "8", grid=(16, 1, 1), **SUMS)
    assert changes(COLUMNS, text[: text.index("def add_parts")]) == [
        "def column_sum_kernel(x_ptr, out_ptr, rows, columns, BR: tl.constexpr, BC: tl.constexpr, "
        "part_elements, SPLIT: tl.constexpr):",
        "split = tl.program_id(1)",
        "out_ptr += split.to(tl.int64) * part_elements",
        "share = tl.cdiv(tl.cdiv(rows, BR), SPLIT)",
        "first_turn = split * share",
        "for start in range(first_turn * BR, tl.minimum((first_turn + share) * BR, rows), BR):",
        "tl.store(out_ptr + at, total, mask=at < columns)",
    ]
    assert "total.to(out_ptr.dtype.element_ty)" in text[text.index("def add_parts") :]
    assert changes(COLUMNS, text[text.index("def column_sum(") :]) == [
        "parts = torch.empty((8, *out.shape), device=out.device, dtype=torch.float32)",
        "column_sum_kernel[(triton.cdiv(x.shape[1], 16), 8)](x, parts, *x.shape, BR=4, BC=16, "
        "part_elements=out.numel(), SPLIT=8)",
        "add_parts[(triton.cdiv(out.numel(), 1024),)](parts, out, out.numel(), SPLIT=8, BLOCK=1024)",
    ]


def test_several_programs_an_sm_may_share_a_sum() -> None:
    for programs, choices in ((16, ("32", "16", "8", "4", "2")), (128, ("4", "2"))):
        seen = view(COLUMNS, (programs, 1, 1), **SUMS)
        assert SplitSum().choices(seen, seen.file.kernels[0]) == choices


@pytest.mark.parametrize(
    "old, new, why",
    [
        ("total = tl.sum(acc, axis=0)", "total = tl.sqrt(tl.sum(acc, axis=0))", "more than a cast"),
        ("total = tl.sum(acc, axis=0)", "total = tl.max(acc, axis=0)", "more than a cast"),
        ("total = tl.sum(acc, axis=0)", "acc += 1.0\n    total = tl.sum(acc, axis=0)", "more than a cast"),
        ("acc += tl.load", "acc = acc * 0.5 + tl.load", "no one loop that adds"),
        ("acc += tl.load", "acc += acc * tl.load", "no one loop that adds"),
        ("acc += tl.load", "tl.device_print('', acc)\n        acc += tl.load", "reads acc besides"),
        ("(BR, BC), dtype=tl.float32", "(BR, BC), dtype=tl.float16", "no one loop that adds"),
        ("range(0, rows, BR)", "range(BR, rows, BR)", "does not start at 0"),
    ],
)  # fmt: skip
def test_a_sum_left_alone(old: str, new: str, why: str) -> None:
    assert old in COLUMNS
    seen = view(COLUMNS.replace(old, new), (16, 1, 1), **SUMS)
    with pytest.raises(Declined, match=why):
        SplitSum().choices(seen, seen.file.kernels[0])


def test_products_and_sums_are_shared_by_one_rewrite_each() -> None:
    for rewrite, source in ((SplitSum(), KERNEL), (SplitK(), COLUMNS)):
        seen = view(source, GRID, **SIZES, **SUMS)
        with pytest.raises(Inapplicable):
            rewrite.choices(seen, seen.file.kernels[0])
