"""What real Nsight Compute reads agrees with what is compiled, and its report is read as it is."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from tilewright.errors import SetupError
from tilewright.evidence import Evidence
from tilewright.gpu.plugged import plugged_in
from tilewright.inspect.api import inspect
from tilewright.problem import Problem
from tilewright.profile.api import profile
from tilewright.profile.metrics import SM_THROUGHPUT, metrics
from tilewright.profile.model import Profile
from tilewright.stages.bottleneck import Counters, diagnose

pytestmark = pytest.mark.gpu

KERNELS = Path(__file__).parents[1] / "data" / "kernels_inspect"


def source(name: str) -> str:
    return (KERNELS / f"{name}.py").read_text()


@cache
def read(name: str, problem: str) -> Profile | str:
    """The profile of a file, or why there is none."""
    gpu = plugged_in()
    assert gpu is not None
    try:
        return profile(Problem.from_file(KERNELS / f"{problem}.py"), source(name), gpu)
    except SetupError as error:
        return str(error)


def profiled(name: str, problem: str) -> Profile:
    found = read(name, problem)
    if isinstance(found, str):
        pytest.skip(f"no counters: {found}")
    return found


def test_every_launch_attribute_is_what_is_compiled() -> None:
    found = profiled("matmul", "matmul_problem")
    gpu = plugged_in()
    (resources,) = inspect(Problem.from_file(KERNELS / "matmul_problem.py"), source("matmul"), gpu).resources
    figures = found.figures["matmul_kernel"]
    assert resources.occupancy is not None
    assert figures["launch__grid_size"] == resources.grid_size
    assert figures["launch__block_size"] == resources.block_size
    assert figures["launch__registers_per_thread"] == resources.registers_per_thread
    assert figures["launch__occupancy_limit_registers"] == resources.occupancy.limit_registers
    assert figures["launch__occupancy_limit_shared_mem"] == resources.occupancy.limit_shared_mem
    assert figures["launch__waves_per_multiprocessor"] == pytest.approx(resources.waves_per_sm, abs=0.01)


def test_every_metric_is_read_in_the_unit_that_is_reckoned_with() -> None:
    (kernel,) = profiled("matmul", "matmul_problem").kernels
    units = {reading.metric: reading.unit for reading in kernel.readings}
    assert set(metrics()) <= set(units)
    for name, metric in metrics().items():
        if metric.unit in ("%", "ns"):
            assert units[name] == metric.unit


def test_the_busiest_unit_is_the_sm_throughput() -> None:
    figures = profiled("matmul", "matmul_problem").figures["matmul_kernel"]
    units = [name for name in figures if name not in metrics()]
    assert len(units) == 1
    assert figures[units[0]] == pytest.approx(figures[SM_THROUGHPUT], rel=0.05)


def test_every_kernel_of_the_forward_is_there_with_its_launches() -> None:
    """Four launches of one kernel, three of them looked at; the forward that warms up is not seen."""
    found = profiled("two_kernels", "vector_problem")
    counts = {kernel.kernel: (kernel.launches, kernel.read) for kernel in found.kernels}
    assert counts["scale_kernel"] == (4, 3)
    assert all(kernel.readings for kernel in found.kernels)


def test_a_diagnosis_rests_on_what_was_measured() -> None:
    found = profiled("elementwise", "vector_problem")
    gpu = plugged_in()
    assert gpu is not None
    (diagnosis,) = diagnose(None, Counters(found.figures, Evidence.MEASURED), gpu)
    assert diagnosis.time is not None and diagnosis.time.value > 0.5
    assert diagnosis.reasons
    assert {sign.known_by for reason in diagnosis.reasons for sign in reason.signs} == {Evidence.MEASURED}
