"""Rewrites of programs, grids and launches: the same results, at sizes that divide and at others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from launching import COLUMNS, LINEAR, LOOP, ONE_AXIS, ROWS, TWO_AXES
from rewriting import rewritten

from tilewright.proposers.rewrite.accumulators import Accumulators
from tilewright.proposers.rewrite.grouped import Grouped
from tilewright.proposers.rewrite.hoisted_launches import HoistedLaunches
from tilewright.proposers.rewrite.registers import RowsInRegisters
from tilewright.proposers.rewrite.split_k import SplitK, SplitSum

pytestmark = pytest.mark.interpreted
RUNNER = Path(__file__).parents[1] / "data" / "rewriting" / "interpret_pairs.py"

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
WITH_EPILOGUE = rewritten(SplitK(), LINEAR, "4", grid=(16, 1, 1), **SIZES)
LINEAR_CALLS = [
    call.replace("matmul", "linear").replace("))", f"), ints({n}))")
    for call, n in zip(LONG_PRODUCTS, (16, 7, 20), strict=True)
]
TWO_CHAINS = rewritten(Accumulators(), TWO_AXES, grid=(16, 1, 1), **SIZES)
SHARED_SUM = rewritten(SplitSum(), COLUMNS, "4", grid=(16, 1, 1), rows=1024, columns=256)
SUM_CALLS = ["column_sum(ints(64, 32))", "column_sum(ints(37, 21))", "column_sum(ints(3, 5))"]
LOOP_CALLS = ["run(ints(3, 100), ints(100))", "run(ints(0, 64), ints(64))"]
ROW_CALLS = [f"rows(ints(3, {n}))" for n in (1, 63, 64, 65, 128, 192, 256, 1000, 8192, 8193)]

CASES = {
    "rows in registers": (ROWS, rewritten(RowsInRegisters(), ROWS, n=4096), ROW_CALLS),
    "hoisted": (LOOP, rewritten(HoistedLaunches(), LOOP, n=100), LOOP_CALLS),
    "grouped, two axes": (TWO_AXES, GROUPED_2D, PRODUCTS),
    "grouped, one axis": (ONE_AXIS, GROUPED_1D, PRODUCTS),
    "two accumulators": (TWO_AXES, TWO_CHAINS, LONG_PRODUCTS),
    "split, two axes": (TWO_AXES, SPLIT["two axes"], LONG_PRODUCTS),
    "split, one axis": (ONE_AXIS, SPLIT["one axis"], LONG_PRODUCTS),
    "sum, shared": (COLUMNS, SHARED_SUM, SUM_CALLS),
    "split, an activation behind the sum": (LINEAR, WITH_EPILOGUE, LINEAR_CALLS),
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
