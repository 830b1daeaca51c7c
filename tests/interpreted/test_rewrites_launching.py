"""Rewrites of programs, grids and launches: the same results, at sizes that divide and at others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from rewriting import HEAD, rewritten

from tilewright.proposers.rewrite.accumulators import Accumulators
from tilewright.proposers.rewrite.grouped import Grouped
from tilewright.proposers.rewrite.hoisted_launches import HoistedLaunches
from tilewright.proposers.rewrite.registers import RowsInRegisters
from tilewright.proposers.rewrite.split_k import SplitK

pytestmark = pytest.mark.interpreted
RUNNER = Path(__file__).parents[1] / "data" / "rewriting" / "interpret_pairs.py"

MATMUL = (
    HEAD
    + """\
def kernel(
    a_ptr, b_ptr, out_ptr, m, n, k, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr
):
{ids}
    rows = {row} * BM + tl.arange(0, BM)
    cols = {col} * BN + tl.arange(0, BN)
    inner = tl.arange(0, BK)
    a_ptrs = a_ptr + rows[:, None] * k + inner[None, :]
    b_ptrs = b_ptr + inner[:, None] * n + cols[None, :]
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for tile in range(0, tl.cdiv(k, BK)):
        left = k - tile * BK
        a = tl.load(a_ptrs, mask=(rows[:, None] < m) & (inner[None, :] < left), other=0.0)
        b = tl.load(b_ptrs, mask=(inner[:, None] < left) & (cols[None, :] < n), other=0.0)
        acc = tl.dot(a, b, acc)
        a_ptrs += BK
        b_ptrs += BK * n
    tl.store(out_ptr + rows[:, None] * n + cols[None, :], acc.to(out_ptr.dtype.element_ty),
             mask=(rows[:, None] < m) & (cols[None, :] < n))


def matmul(a, b):
    (m, k), n = a.shape, b.shape[1]
    out = torch.empty((m, n), device=a.device, dtype=a.dtype)
    kernel[{grid}](a, b, out, m, n, k, BM=16, BN=16, BK=16)
    return out
"""
)
TWO_AXES = MATMUL.format(
    ids="", row="tl.program_id(0)", col="tl.program_id(1)",
    grid="(triton.cdiv(m, 16), triton.cdiv(n, 16))",
)  # fmt: skip
ONE_AXIS = MATMUL.format(
    ids="    pid = tl.program_id(0)\n    across = tl.cdiv(n, BN)",
    row="(pid // across)",
    col="(pid % across)",
    grid="(triton.cdiv(m, 16) * triton.cdiv(n, 16),)",
)  # fmt: skip
PRODUCTS = ["matmul(ints(161, 33), ints(33, 50))", "matmul(ints(16, 16), ints(16, 176))"]
LONG_PRODUCTS = [
    "matmul(ints(32, 128), ints(128, 16))",
    "matmul(ints(33, 135), ints(135, 7))",
    "matmul(ints(5, 33), ints(33, 20))",  # three turns: one of four shares is empty
]
SIZES = {"m": 1024, "n": 1024, "k": 1024}

GROUPED_2D = rewritten(Grouped(), TWO_AXES, "4", grid=(64, 64, 1), **SIZES)
GROUPED_1D = rewritten(Grouped(), ONE_AXIS, "4", grid=(4096, 1, 1), **SIZES)
SPLIT = {
    axes: rewritten(SplitK(), source, "4", grid=(16, 1, 1), **SIZES)
    for axes, source in (("two axes", TWO_AXES), ("one axis", ONE_AXIS))
}
TWO_CHAINS = rewritten(Accumulators(), TWO_AXES, grid=(16, 1, 1), **SIZES)
LOOP = (
    HEAD
    + """\
def pack(w_ptr, packed_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(packed_ptr + at, tl.load(w_ptr + at, mask=at < n) * 2.0, mask=at < n)


@triton.jit
def add(x_ptr, packed_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    total = tl.load(x_ptr + at, mask=at < n) + tl.load(packed_ptr + at, mask=at < n)
    tl.store(out_ptr + at, total, mask=at < n)


def run(x, w):
    n = w.numel()
    results = [w]
    for step in x:
        packed = torch.empty_like(w)
        pack[(triton.cdiv(n, 64),)](w, packed, n, BLOCK=64)
        out = torch.empty_like(step)
        add[(triton.cdiv(n, 64),)](step, packed, out, n, BLOCK=64)
        results.append(out)
    return torch.stack(results)
"""
)
LOOP_CALLS = ["run(ints(3, 100), ints(100))", "run(ints(0, 64), ints(64))"]
ROWS = (
    HEAD
    + """\
def kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    x_ptr += tl.program_id(0) * n
    largest = -float("inf")
    for start in range(0, n, BLOCK):
        at = start + tl.arange(0, BLOCK)
        largest = tl.maximum(largest, tl.max(tl.load(x_ptr + at, mask=at < n, other=-float("inf")), axis=0))
    totals = tl.zeros((BLOCK,), dtype=tl.float32)
    for start in range(0, n, BLOCK):
        at = start + tl.arange(0, BLOCK)
        totals += tl.load(x_ptr + at, mask=at < n, other=0.0)
    total = tl.sum(totals, axis=0)
    for start in range(0, n, BLOCK):
        at = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + at, mask=at < n)
        tl.store(out_ptr + tl.program_id(0) * n + at, x * largest + total, mask=at < n)


def rows(x):
    out = torch.empty_like(x)
    n = x.shape[1]
    kernel[(x.shape[0],)](x, out, n, BLOCK=64)
    return out
"""
)
ROW_CALLS = [f"rows(ints(3, {n}))" for n in (1, 63, 64, 65, 128, 192, 256, 1000, 8192, 8193)]

CASES = {
    "rows in registers": (ROWS, rewritten(RowsInRegisters(), ROWS, n=4096), ROW_CALLS),
    "hoisted": (LOOP, rewritten(HoistedLaunches(), LOOP, n=100), LOOP_CALLS),
    "grouped, two axes": (TWO_AXES, GROUPED_2D, PRODUCTS),
    "grouped, one axis": (ONE_AXIS, GROUPED_1D, PRODUCTS),
    "two accumulators": (TWO_AXES, TWO_CHAINS, LONG_PRODUCTS),
    "split, two axes": (TWO_AXES, SPLIT["two axes"], LONG_PRODUCTS),
    "split, one axis": (ONE_AXIS, SPLIT["one axis"], LONG_PRODUCTS),
}


def test_results_are_equal_in_every_bit() -> None:
    cases = [dict(zip(("before", "after", "calls"), case, strict=True)) for case in CASES.values()]
    assert all(case["before"] != case["after"] for case in cases)
    done = subprocess.run(
        [sys.executable, RUNNER], input=json.dumps(cases), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    names = list(CASES)
    assert [(names[number], call) for number, call in json.loads(done.stdout)] == []
