"""What inspection says of a kernel is what the driver loads."""

import importlib.util
from pathlib import Path

import pytest
import torch

from tilewright.gpu.plugged import plugged_in
from tilewright.inspect.api import inspect, inspect_many
from tilewright.problem import Problem

pytestmark = pytest.mark.gpu

KERNELS = Path(__file__).parents[1] / "data" / "kernels_inspect"


def test_registers_and_shared_memory_are_those_of_the_loaded_kernel():
    inspection = inspect(
        Problem.from_file(KERNELS / "matmul_problem.py"), (KERNELS / "matmul.py").read_text(), plugged_in()
    )
    (found,) = inspection.resources

    spec = importlib.util.spec_from_file_location("matmul_on_gpu", KERNELS / "matmul.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    x, w, out = (torch.empty(shape, device="cuda") for shape in ((1024, 512), (768, 512), (1024, 768)))
    loaded = module.matmul_kernel[(16, 12)](
        x, w, out, 1024, 768, 512, 512, 1, 512, 1, 768, 1,
        BLOCK_M=64, BLOCK_N=64, BLOCK_K=32, num_warps=4, num_stages=3,
    )  # fmt: skip
    assert found.registers_per_thread == loaded.n_regs
    assert found.shared_dynamic_bytes == loaded.metadata.shared
    assert (found.stack_bytes > 0) == (loaded.n_spills > 0)


def test_several_are_inspected_side_by_side_beside_a_device():
    problem, source = Problem.from_file(KERNELS / "matmul_problem.py"), (KERNELS / "matmul.py").read_text()
    several = inspect_many(problem, [source, f"{source}\n"], plugged_in())
    assert [one.problem for one in several] == ["", ""]
    assert all(one.resources == several[0].resources for one in several)
