"""Small candidates, recorded and compiled for an H100 that is not there."""

import math
from functools import cache
from pathlib import Path

import pytest

from tilewright.errors import KernelFileError, ProblemError
from tilewright.evidence import Evidence
from tilewright.gpu.catalogue import find
from tilewright.inspect import api
from tilewright.inspect.api import inspect, inspect_many
from tilewright.inspect.model import Inspection
from tilewright.problem import Problem
from tilewright.serial import structure
from tilewright.worker import plain

pytest.importorskip("triton")
pytestmark = pytest.mark.compiled

KERNELS = Path(__file__).parents[1] / "data" / "kernels_inspect"
VECTOR = (
    "elementwise",
    "helper",
    "heuristics",
    "two_kernels",
    "gluon_kernel",
    "broken",
    "reads_item",
    "crashing",
)
MATMUL = ("matmul", "autotuned", "greedy_shared", "spilling")


def problem(name: str) -> Problem:
    return Problem.from_file(KERNELS / f"{name}_problem.py")


def text(name: str) -> str:
    return (KERNELS / f"{name}.py").read_text()


@cache
def vector() -> dict[str, Inspection]:
    found = inspect_many(problem("vector"), [text(name) for name in VECTOR], find("h100"))
    return dict(zip(VECTOR, found, strict=True))


@cache
def matmul() -> dict[str, Inspection]:
    found = inspect_many(problem("matmul"), [text(name) for name in MATMUL], find("h100"))
    return dict(zip(MATMUL, found, strict=True))


def line_of(name: str, fragment: str) -> int:
    return next(i for i, line in enumerate(text(name).splitlines(), 1) if fragment in line)


@pytest.mark.parametrize("name", ["elementwise", "helper", "heuristics", "gluon_kernel"])
def test_a_kernel_is_recorded_and_compiled(name):
    inspection = vector()[name]
    assert inspection.runs
    (launch,) = inspection.recording.launches
    assert launch.kernel == "relu_kernel"
    assert launch.line == line_of(name, "relu_kernel[")
    assert launch.programs * int(launch.constants["BLOCK"]) == 1 << 20
    x, scale, out = (a for a in launch.arguments if a.kind == "tensor")
    assert (x.type, x.shape, x.divisible_by_16) == ("*fp32", (1 << 20,), True)
    assert len({x.tensor, scale.tensor, out.tensor}) == 3
    (found,) = inspection.resources
    assert 16 <= found.registers_per_thread <= 64
    assert found.block_size == 32 * launch.num_warps


def test_heuristics_decide_a_constant():
    assert vector()["heuristics"].recording.launches[0].constants["EVEN"] == "True"


def test_a_kernel_compiled_beforehand_says_its_registers_and_is_launched():
    tests = Path(__file__).parents[1]
    posed = (tests / "problems" / "softmax.py").read_text().replace("ROWS = 12", "ROWS = 100000")
    code = (tests / "honest" / "compiled_beforehand.py").read_text()
    gpu = find("h100")
    found = inspect(Problem.from_source(posed), code, gpu)
    (launch,), (resources,) = found.recording.launches, found.resources
    at_once = gpu.registers_per_sm // (resources.registers_per_thread * 128)
    assert launch.kernel == "softmax_kernel" and launch.num_warps == 4
    assert launch.grid == (gpu.sms * at_once, 1, 1)


def test_equal_launches_are_recorded_once_and_depend_through_memory():
    inspection = vector()["two_kernels"]
    recording = inspection.recording
    assert [launch.kernel for launch in recording.launches] == ["scale_kernel", "relu_kernel"]
    assert recording.sequence == (0, 0, 0, 0, 1)
    assert inspection.floor.chain == 2  # four independent parts, then one kernel that reads them all
    assert [r.count for r in inspection.resources] == [4, 1]


def test_the_floor_counts_inputs_parameters_and_outputs_once():
    assert vector()["elementwise"].floor.bytes.value == 2 * 4 * (1 << 20) + 4
    floor = matmul()["matmul"].floor
    assert floor.bytes.value == 4 * (1024 * 512 + 512 * 768 + 1024 * 768)
    assert floor.flops.value == 2 * 1024 * 512 * 768
    assert floor.floor_us.evidence is Evidence.ESTIMATED


def test_a_kernel_that_does_not_compile_names_its_line():
    inspection = vector()["broken"]
    assert not inspection.runs
    (found,) = inspection.resources
    assert found.problem.startswith(
        f"candidate.py:{line_of('broken', 'tl.tanh')}: relu_kernel does not compile"
    )
    assert "at `tl.store(out_ptr + i, tl.tanh(x), mask=i < n)`" in found.problem
    assert inspection.estimate is None


def test_a_value_read_on_the_host_names_its_line():
    problem_text = vector()["reads_item"].problem
    assert problem_text.startswith(f"candidate.py:{line_of('reads_item', '.item()')}: ")
    assert "reads a tensor's value on the host" in problem_text


def test_a_candidate_that_crashes_costs_only_itself():
    assert "crashed (SIGABRT)" in vector()["crashing"].problem
    assert vector()["elementwise"].runs


def test_too_much_shared_memory_is_said_with_both_figures():
    inspection = matmul()["greedy_shared"]
    assert not inspection.runs
    assert inspection.resources[0].problem == (
        "wants 393216 bytes of shared memory, a block of H100 SXM has 232448"
    )


def test_spills_in_the_loop_are_told_from_those_outside():
    spilling, clean = matmul()["spilling"].resources[0], matmul()["matmul"].resources[0]
    assert spilling.registers_per_thread == 255
    assert spilling.spills.in_loop > 100
    assert spilling.spills.outside > 100
    assert spilling.stack_bytes > 0
    assert clean.spills.total == 0


def test_every_autotune_config_is_compiled_and_the_first_stands_in_the_sequence():
    inspection = matmul()["autotuned"]
    recording = inspection.recording
    assert [launch.config for launch in recording.launches] == [0, 1, 2]
    assert recording.sequence == (0,)
    assert recording.alternatives == ((0, 1, 2),) * 3
    assert "wants" in inspection.resources[2].problem
    assert inspection.runs  # the autotuner passes over the config that does not fit
    assert inspection.estimate.total_us.value == min(inspection.estimate.per_launch_us)
    assert inspection.estimate.launch_times[2] is None


def test_a_launch_has_a_time_that_it_cannot_beat():
    """The matrix product's bytes and operations over the H100's 3350 GB/s and 495 TFLOP/s of TF32."""
    inspection = matmul()["matmul"]
    ((time, us),) = zip(inspection.estimate.launch_times, inspection.estimate.per_launch_us, strict=True)
    (launch,) = inspection.recording.launches
    sizes = {a.name: a.shape for a in launch.arguments if a.kind == "tensor"}
    moved = 4 * sum(math.prod(shape) for shape in sizes.values())
    (m, k), (n, _), _ = sizes.values()
    gpu = find("h100")
    floor = max(moved / gpu.memory_bandwidth_gbs / 1e3, 2 * m * n * k / gpu.tflops[time.rate] / 1e6)
    assert time.rate == "tf32"
    assert time.floor == pytest.approx(floor)
    assert time.floor < time.work < us


def test_an_inspection_survives_json():
    inspection = matmul()["autotuned"]
    assert structure(plain(inspection), Inspection) == inspection


def test_a_file_without_a_launch_or_a_model_is_an_error():
    no_launch = (
        "import torch\nclass ModelNew(torch.nn.Module):\n    def forward(self, x):\n        return x\n"
    )
    with pytest.raises(KernelFileError, match="launches no Triton kernel"):
        inspect(problem("vector"), no_launch, find("h100"))
    with pytest.raises(KernelFileError, match="no ModelNew"):
        inspect(problem("vector"), "import torch\n", find("h100"))


def test_a_reference_that_fails_is_an_error_of_the_problem():
    broken = Problem.from_source(problem("vector").source.replace("torch.relu(", "torch.no_such("), "p.py")
    with pytest.raises(ProblemError, match=r"p\.py:\d+: Model raises AttributeError"):
        inspect_many(broken, [text("elementwise")], find("h100"))


def test_where_time_runs_out_the_first_few_are_inspected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "FIRST", 1)
    again = [f"{text('elementwise')}{end}" for end in ("\n", "\n\n", "\n\n\n")]  # none is on disk
    posed = problem("vector")
    assert len(inspect_many(posed, again, find("h100"), seconds=-1.0)) == 1
    assert len(inspect_many(posed, again, find("h100"))) == 3
    assert len(inspect_many(posed, again, find("h100"), seconds=-1.0)) == 3, "what is on disk takes no time"
