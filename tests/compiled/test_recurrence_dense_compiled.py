"""Products of a network without a loop, built for GPUs that are not there."""

from __future__ import annotations

import pytest
from proposing import proposed

from tilewright.gpu.catalogue import find
from tilewright.inspect.api import inspect
from tilewright.problem import Problem
from tilewright.proposers.recurrence.emit import narrow
from tilewright.proposers.recurrence.emit.dense_kernel import choose_tile

pytestmark = pytest.mark.compiled
CELL = """import torch
import torch.nn as nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.inward = nn.Linear(8192, 4096)
        self.outward = nn.Linear(4096, 2048)

    def forward(self, x, h):
        return self.outward(torch.tanh(self.inward(torch.cat((x, h), dim=1))))


def get_inputs():
    return [torch.randn(256, 4096), torch.randn(256, 4096)]


def get_init_inputs():
    return []
"""


@pytest.mark.parametrize(
    ("gpu_name", "kernels"),
    [
        ("H100", {"narrow_kernel_1", "narrow_kernel_2", "narrow_product_kernel"}),
        ("RTX 4090", {"multiply_kernel_1", "multiply_kernel_2"}),
    ],
)
def test_no_loop_spills_and_tiles_fit(gpu_name: str, kernels: set[str]) -> None:
    problem, gpu = Problem.from_source(CELL), find(gpu_name)
    proposals = proposed(problem, gpu)
    found = inspect(problem, proposals.candidates[0].source, gpu)
    assert {kernel.kernel for kernel in found.resources} >= kernels
    for kernel in found.resources:
        assert not kernel.problem
        assert kernel.spills.in_loop == 0
        assert kernel.shared_dynamic_bytes <= gpu.shared_memory_per_block_bytes


def test_all_sms_have_work_and_few_rows_share_a_tile() -> None:
    gpu = find("H100")
    wide = choose_tile(256, 16384, 32768, "tf32", gpu)
    assert 256 // wide.rows * (16384 // wide.columns) * wide.split >= 0.9 * gpu.sms
    other = choose_tile(256, 8192, 16384, "tf32", gpu)
    assert 256 // other.rows * (8192 // other.columns) * other.split >= 0.9 * gpu.sms
    few = choose_tile(8, 16384, 16384, "tf32", gpu)
    assert few.rows == 16


def test_narrow_operands_pay_where_the_product_outweighs_making_them() -> None:
    gpu = find("H200")
    assert narrow.pays(256, 16384, 32768, "tf32", gpu, weight_read_once=True)
    assert narrow.pays(131072, 4096, 1024, "tf32", gpu, weight_read_once=False)
    assert not narrow.pays(131072, 256, 1024, "tf32", gpu, weight_read_once=False)
    assert not narrow.pays(64, 512, 512, "tf32", gpu, weight_read_once=True)
    assert not narrow.pays(131072, 4096, 1024, "float32", gpu, weight_read_once=False)
    assert not narrow.pays(131072, 4096, 1024, "tf32", find("A100"), weight_read_once=False)


@pytest.mark.parametrize(
    ("rows", "columns", "inner"), [(256, 8192, 16384), (256, 16384, 32768), (8, 4096, 4096)]
)
def test_narrow_tiles_keep_all_sms_busy(rows: int, columns: int, inner: int) -> None:
    gpu = find("H200")
    tile = narrow.choose_tile(rows, columns, inner, gpu, shared=True)
    programs = -(-rows // tile.rows) * (columns // narrow.COLUMNS) * tile.split
    assert programs >= 0.9 * gpu.sms
    assert tile.rows == (64 if rows == 8 else 128)
    assert narrow.choose_tile(rows, columns, inner, gpu, shared=False).split == 1
