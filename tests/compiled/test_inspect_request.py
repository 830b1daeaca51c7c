"""The specialist request's own code, compiled for cc 90, equals what Nsight Compute read on an H100."""

import re
from pathlib import Path

import pytest

from tilewright.gpu.catalogue import find
from tilewright.inspect.api import inspect
from tilewright.problem import Problem

pytest.importorskip("triton")
pytestmark = pytest.mark.compiled

ROOT = Path(__file__).parents[2]
REQUEST = ROOT.parent / "shared" / "requests" / "vanilla_rnn_block_tiling.txt"


@pytest.mark.skipif(not REQUEST.exists(), reason="the sample requests are not beside this checkout")
def test_the_request_equals_the_profiler():
    source = re.search(r"```python\n(.*?)```", REQUEST.read_text(), re.DOTALL)[1]
    problem = Problem.from_file(ROOT / "examples" / "vanilla_rnn" / "problem.py")
    inspection = inspect(problem, source, find("h100"))

    step, out = inspection.resources
    assert (step.kernel, out.kernel) == ("fused_i2h_tanh_kernel", "fused_h2o_kernel")
    assert (step.registers_per_thread, out.registers_per_thread) == (144, 80)
    assert (step.spills.total, out.spills.total) == (0, 0)
    assert (step.grid_size, out.grid_size) == (4, 2)
    assert (step.count, out.count) == (256, 256)
    limits = [
        (o.limit_registers, o.limit_shared_mem, o.limit_warps, o.limit_blocks)
        for o in (step.occupancy, out.occupancy)
    ]
    assert limits == [(3, 3, 16, 32), (6, 4, 16, 32)]

    assert inspection.floor.launches == 512
    assert inspection.floor.chain == 257  # 256 steps and the output of the last
    assert inspection.estimate.bound == "launches"
    measured = (15.9, 5.8)  # microseconds on an H100
    for microseconds, modelled in zip(measured, inspection.estimate.per_launch_us, strict=True):
        assert microseconds / 2 < modelled < microseconds * 2
