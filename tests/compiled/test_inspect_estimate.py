"""The estimate ranks launches in the order in which an H200 ran them."""

import importlib.util
import json
import math
import re
import sys
from functools import cache
from pathlib import Path

import pytest

pytest.importorskip("triton")
pytestmark = pytest.mark.compiled

DATA = Path(__file__).parents[1] / "data"
KERNELS = Path(__file__).parents[2] / "benchmarks" / "kernels"
READINGS = json.loads((DATA / "ncu_h200.json").read_text())["launches"]


@cache
def modelled(dtype: str, rows: int) -> list[tuple[float, float]]:
    """Measured and estimated microseconds of the recorded matrix products."""
    import torch
    import triton

    from tilewright.gpu.catalogue import find
    from tilewright.inspect.compiling import compile_launch
    from tilewright.inspect.estimate import launch_time, total
    from tilewright.inspect.program import count
    from tilewright.inspect.ttir import parse
    from tilewright.launches.driver import pretended_driver
    from tilewright.launches.fake import DEVICE, pretend
    from tilewright.launches.recorder import Recorder

    spec = importlib.util.spec_from_file_location("matmul", DATA / "kernels_inspect" / "matmul.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["matmul"] = module
    spec.loader.exec_module(module)
    gpu, pairs = find("h200"), []
    with pretend(gpu), pretended_driver(gpu):
        for reading in READINGS:
            if reading.get("dtype") != dtype or reading["sizes"][0] != rows:
                continue
            m, k, n = reading["sizes"]
            block_m, block_n, block_k, warps, stages = reading["tile"]
            x, w, out = (
                torch.empty(shape, device=DEVICE, dtype=getattr(torch, dtype))
                for shape in ((m, k), (n, k), (m, n))
            )
            recorder = Recorder("matmul.py")
            with recorder.listening():
                module.matmul_kernel[(triton.cdiv(m, block_m), triton.cdiv(n, block_n))](
                    x, w, out, m, n, k, k, 1, k, 1, n, 1,
                    BLOCK_M=block_m, BLOCK_N=block_n, BLOCK_K=block_k, num_warps=warps, num_stages=stages,
                )  # fmt: skip
            (launch,), (bound,) = recorder.launches, recorder.bound
            compiled = compile_launch(0, launch, bound, gpu, count=1, path="matmul.py", source="")
            if compiled.resources.problem:
                continue
            time = launch_time(launch, compiled, count(parse(compiled.ir), launch), gpu)
            pairs.append((reading["microseconds"], total(time)))
    return pairs


@pytest.mark.parametrize(("dtype", "rows"), [("float16", 2048), ("float32", 256)])
def test_the_tile_picked_is_near_the_best(dtype, rows):
    pairs = modelled(dtype, rows)
    assert len(pairs) >= 8
    picked = min(pairs, key=lambda pair: pair[1])[0]
    assert picked <= 1.15 * min(measured for measured, _ in pairs)


@pytest.mark.parametrize(("dtype", "rows"), [("float16", 2048), ("float32", 256)])
def test_times_are_about_right(dtype, rows):
    ratios = [estimated / measured for measured, estimated in modelled(dtype, rows)]
    assert math.exp(sum(abs(math.log(ratio)) for ratio in ratios) / len(ratios)) < 1.5
    assert all(0.4 < ratio < 2.5 for ratio in ratios)


def test_what_is_spilled_outside_of_loops_costs_memory_bandwidth():
    from tilewright.gpu.catalogue import find
    from tilewright.inspect.api import inspect_many
    from tilewright.problem import Problem

    read = json.loads((DATA / "softmax_h200.json").read_text())
    text = (KERNELS / "softmax" / "current.py").read_text()
    posed = (KERNELS / "softmax" / "problem.py").read_text()
    posed = re.sub(r"(?m)^ROWS = \d+$", f"ROWS = {read['rows']}", posed)
    assert f"COLS = {read['columns']}" in posed
    times = read["microseconds_by_warps"]
    sources = [text.replace("num_warps=num_warps", f"num_warps={warps}") for warps in times]
    found = inspect_many(Problem.from_source(posed), sources, find("h200"))
    assert found[0].resources[0].spills.outside > 64 and not found[1].resources[0].spills.total
    for measured, inspection in zip(times.values(), found, strict=True):
        assert 0.8 < inspection.estimate.total_us.value / measured < 1.25
