"""A second accumulator: the text, and what is left alone."""

from __future__ import annotations

import pytest
from rewriting import HEAD, changes, rewritten, view

from tilewright.proposers.rewrite.accumulators import Accumulators
from tilewright.proposers.rewrite.base import Declined

KERNEL = (
    HEAD
    + """\
def kernel(a_ptr, b_ptr, out_ptr, k, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    rows, cols = tl.arange(0, BM), tl.arange(0, BN)
    acc = tl.zeros((BM, BN), dtype=tl.float32)  # the sum
    for start in range(0, k, BK):
        inner = start + tl.arange(0, BK)
        a = tl.load(a_ptr + rows[:, None] * k + inner[None, :])
        b = tl.load(b_ptr + inner[:, None] * BN + cols[None, :])
        acc += tl.dot(a, b)
    tl.store(out_ptr + rows[:, None] * BN + cols[None, :], acc)


def matmul(a, b, out):
    kernel[(8,)](a, b, out, a.shape[1], BM=64, BN=64, BK=32)
"""
)
SIZES = {"k": 4096}


def test_two_accumulators_take_turns() -> None:
    text = rewritten(Accumulators(), KERNEL, grid=(8, 1, 1), **SIZES)
    assert changes(KERNEL, text) == [
        "acc_2 = tl.zeros((BM, BN), dtype=tl.float32)",
        "for start in tl.range(0, k, BK, loop_unroll_factor=2):",
        "acc, acc_2 = acc_2, acc",
        "acc += acc_2",
    ]
    lines = [line.strip() for line in text.splitlines()]
    assert lines.index("acc += tl.dot(a, b)") + 1 == lines.index("acc, acc_2 = acc_2, acc")
    with pytest.raises(Declined):
        rewritten(Accumulators(), text, grid=(8, 1, 1), **SIZES)


@pytest.mark.parametrize(
    "old, new, why",
    [
        ("acc += tl.dot(a, b)", "acc = acc * 0.5 + tl.dot(a, b)", "not added to an accumulator"),
        ("acc += tl.dot(a, b)", "acc += tl.dot(a, b)\n        a_ptr += tl.sum(acc)", "reads acc"),
        ("acc += tl.dot(a, b)", "acc += tl.dot(a, b)\n        acc += tl.dot(a, b)", "2 tl.dot"),
        ("    for start", "    acc += 1.0\n    for start", "not tl.zeros"),
        ("in range", "in tl.static_range", "does not count in a range"),
        ("BM=64", "BM=256", "takes 128 registers"),
    ],
)
def test_left_alone(old: str, new: str, why: str) -> None:
    seen = view(KERNEL.replace(old, new), (8, 1, 1), **SIZES)
    with pytest.raises(Declined, match=why):
        Accumulators().choices(seen, seen.file.kernels[0])


@pytest.mark.parametrize("grid, k, why", [((500, 1, 1), 4096, "hide each other"), ((8, 1, 1), 64, "too few")])
def test_not_worth_it(grid: tuple[int, int, int], k: int, why: str) -> None:
    seen = view(KERNEL, grid, k=k)
    with pytest.raises(Declined, match=why):
        Accumulators().choices(seen, seen.file.kernels[0])
