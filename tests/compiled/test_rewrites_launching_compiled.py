"""What rewrites of programs, grids and launches change on an H100 that is not there."""

from __future__ import annotations

from functools import cache

import pytest
from launching import LINEAR, LOOP, ONE_AXIS, ROWS, TWO_AXES
from rewriting import rewritten

from tilewright.gpu.catalogue import find
from tilewright.inspect.api import inspect_many
from tilewright.inspect.model import Inspection, LaunchTime
from tilewright.problem import Problem
from tilewright.proposers.rewrite.accumulators import Accumulators
from tilewright.proposers.rewrite.grouped import Grouped
from tilewright.proposers.rewrite.hoisted_launches import HoistedLaunches
from tilewright.proposers.rewrite.input_precision import InputPrecision
from tilewright.proposers.rewrite.registers import RowsInRegisters
from tilewright.proposers.rewrite.split_k import SplitK

pytest.importorskip("triton")
pytestmark = pytest.mark.compiled

PROBLEM = """
import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, a, b):
        return a @ b


def get_inputs():
    return [torch.randn(64, 4096), torch.randn(4096, 64)]


def get_init_inputs():
    return []
"""
MODEL = """

class ModelNew(nn.Module):
    def forward(self, a, b):
        return {call}
"""
PRECISE = TWO_AXES.replace("tl.dot(a, b, acc)", 'tl.dot(a, b, acc, input_precision="ieee")')
SIZES = {"m": 64, "n": 64, "k": 4096}
SOURCES = {
    "product": (TWO_AXES, "matmul(a, b)"),
    "flat": (ONE_AXIS, "matmul(a, b)"),
    "grouped": (rewritten(Grouped(), TWO_AXES, "4", grid=(64, 64, 1), **SIZES), "matmul(a, b)"),
    "grouped, one axis": (rewritten(Grouped(), ONE_AXIS, "4", grid=(4096, 1, 1), **SIZES), "matmul(a, b)"),
    "split": (rewritten(SplitK(), TWO_AXES, "8", grid=(4, 4, 1), **SIZES), "matmul(a, b)"),
    "linear": (LINEAR, "linear(a, b, b[0])"),
    "linear, split": (rewritten(SplitK(), LINEAR, "8", grid=(16, 1, 1), **SIZES), "linear(a, b, b[0])"),
    "two accumulators": (rewritten(Accumulators(), TWO_AXES, grid=(4, 4, 1), **SIZES), "matmul(a, b)"),
    "precise": (PRECISE, "matmul(a, b)"),
    "three products": (rewritten(InputPrecision(), PRECISE, "tf32x3", **SIZES), "matmul(a, b)"),
    "passes": (ROWS, "rows(a)"),
    "registers": (rewritten(RowsInRegisters(), ROWS, n=4096), "rows(a)"),
    "loop": (LOOP, "run(a[:8], a[0])"),
    "hoisted": (rewritten(HoistedLaunches(), LOOP, n=4096), "run(a[:8], a[0])"),
}


@cache
def inspections() -> dict[str, Inspection]:
    texts = [source + MODEL.format(call=call) for source, call in SOURCES.values()]
    found = inspect_many(Problem.from_source(PROBLEM), texts, find("h100"))
    return dict(zip(SOURCES, found, strict=True))


def time(name: str) -> LaunchTime:
    """Of the first launch, as modelled."""
    estimate = inspections()[name].estimate
    assert estimate is not None
    found = estimate.launch_times[0]
    assert found is not None
    return found


@pytest.mark.parametrize("name", SOURCES)
def test_it_compiles_for_the_target_and_spills_nothing(name: str) -> None:
    inspection = inspections()[name]
    assert inspection.runs, inspection.reason
    assert all(one.spills.in_loop == 0 for one in inspection.resources)


@pytest.mark.parametrize(
    "before, after",
    [("product", "grouped"), ("flat", "grouped, one axis"), ("product", "two accumulators")],
)
def test_the_same_grid_runs_other_machine_code(before: str, after: str) -> None:
    (old,), (new,) = inspections()[before].resources, inspections()[after].resources
    assert old.grid_size == new.grid_size == 16
    assert old.binary != new.binary


def test_shares_of_the_inner_dimension_run_side_by_side() -> None:
    (before,) = inspections()["product"].resources
    share, add = inspections()["split"].resources
    assert (share.grid_size, add.kernel) == (before.grid_size * 8, "add_parts")
    assert time("split").latency < time("product").latency / 4


def test_what_is_behind_a_shared_sum_is_done_once_on_the_grid_of_before() -> None:
    (before,) = inspections()["linear"].resources
    share, finish = inspections()["linear, split"].resources
    assert (share.grid_size, finish.grid_size) == (before.grid_size * 8, before.grid_size)
    assert finish.kernel == "linear_kernel_finish"
    assert time("linear, split").latency < time("linear").latency / 4


def test_three_products_on_tensor_cores_take_the_place_of_one_on_the_ordinary_cores() -> None:
    assert (time("precise").rate, time("three products").rate) == ("fp32", "tf32")


def test_a_row_is_read_once_and_written_once() -> None:  # before: read three times
    assert time("registers").l2 == pytest.approx(time("passes").l2 / 2, rel=0.05)


def test_a_hoisted_kernel_is_launched_once() -> None:
    counts = {name: [one.count for one in inspections()[name].resources] for name in ("loop", "hoisted")}
    assert counts == {"loop": [8, 8], "hoisted": [1, 8]}
