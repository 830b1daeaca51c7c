# ruff: noqa: E402 the modules under test import Triton, which may be missing
"""What a recorded forward notes about memory and about the questions that wrappers ask."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")
pytestmark = pytest.mark.compiled

from hypothesis import example, given
from hypothesis import strategies as st

from tilewright.errors import KernelFileError
from tilewright.gpu.catalogue import find
from tilewright.launches.driver import pretended_driver
from tilewright.launches.fake import pretend
from tilewright.launches.forward import record_candidate, record_reference
from tilewright.launches.recorder import Recorder, View
from tilewright.problem import import_problem

KERNELS = Path(__file__).parents[1] / "data" / "kernels_inspect"


def record(model: str, name: str = "elementwise", gpu: str = "h100") -> Recorder:
    """Record a ModelNew whose class body stands in for the one in a file."""
    kernel = (KERNELS / f"{name}.py").read_text().split("class ModelNew")[0]
    target = find(gpu)
    with pretend(target), pretended_driver(target):
        problem = import_problem((KERNELS / "vector_problem.py").read_text(), "problem.py")
        return record_candidate(problem, "problem.py", kernel + model, "candidate.py")


def model(body: str, setup: str = "pass") -> str:
    return f"""class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(1))
        {setup}

    def forward(self, x):
{body}
"""


def test_a_slice_shows_its_own_alignment():
    recorder = record(
        model("        return scaled_relu(x[4:], self.scale) + scaled_relu(x[1:-3], self.scale)")
    )
    first, second = (launch.arguments[0] for launch in recorder.recording().launches)
    assert (first.offset_bytes, first.divisible_by_16) == (16, True)
    assert (second.offset_bytes, second.divisible_by_16) == (4, False)
    assert first.tensor == second.tensor


def test_a_wrapper_sees_the_target():
    body = """        assert torch.cuda.is_available() and x.is_cuda and x.device.type == "cuda"
        assert torch.cuda.get_device_capability() == (8, 9)
        assert torch.cuda.get_device_properties(x.device).multi_processor_count == 128
        assert triton.runtime.driver.active.utils.get_device_properties(0)["multiprocessor_count"] == 128
        with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.device(x.device):
            with torch.cuda._DeviceGuard(0):
                torch.cuda.synchronize()
        noise = torch.randn(x.shape, device="cuda").uniform_()
        return scaled_relu((x + noise).to("cuda").contiguous(), self.scale.cuda())"""
    recording = record(model(body), gpu="rtx4090").recording()
    assert [launch.kernel for launch in recording.launches] == ["relu_kernel"]
    assert {"aten.randn", "aten.add"} <= {operation.name for operation in recording.operations}


@pytest.mark.parametrize("layer", ["RNN", "LSTM", "GRU"])
def test_recurrent_layers_ask_no_device(layer: str) -> None:
    """A build of PyTorch with cuDNN asked the device that is not there (seen with torch 2.11 for CUDA 13)."""
    text = f"""import torch
import torch.nn as nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.{layer}(8, 16, 2, bidirectional=True)

    def forward(self, x):
        return self.rnn(x)[0]


def get_inputs():
    return [torch.randn(5, 3, 8)]


def get_init_inputs():
    return []
"""
    before = torch.backends.cudnn.enabled
    target = find("h100")
    with pretend(target), pretended_driver(target):
        _, outputs = record_reference(import_problem(text, "problem.py"), "problem.py")
        assert [tuple(output.shape) for output in outputs] == [(5, 3, 32)]
    assert torch.backends.cudnn.enabled == before


@pytest.mark.parametrize(
    ("decorator", "kernel"),
    [
        ('torch.library.custom_op("recorded::own", mutates_args=())', "relu_kernel"),
        (
            'torch.library.triton_op("recorded::own", mutates_args={})',
            "torch.library.wrap_triton(relu_kernel)",
        ),
        ("", "torch.library.wrap_triton(relu_kernel)"),
    ],
)
def test_launches_inside_operators_of_the_files_own_are_seen(decorator: str, kernel: str):
    operator = f"""
{"@" * bool(decorator)}{decorator}
def own(x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    {kernel}[(4,)](x, scale, out, x.numel(), BLOCK=128)
    return out + 1


"""
    recording = record(operator + model("        return own(x, self.scale)")).recording()
    assert [(launch.kernel, launch.line) for launch in recording.launches] == [("relu_kernel", 24)]
    assert [operation.name for operation in recording.operations] == ["aten.add"]


def test_modules_and_shared_parameters_stay_shared():
    setup = "self.a = nn.Linear(4, 4); self.b = nn.Linear(4, 4); self.b.weight = self.a.weight"
    body = "        assert self.a.weight is self.b.weight\n        return scaled_relu(x, self.b.weight)"
    assert record(model(body, setup)).recording().sequence == (0,)


@pytest.mark.parametrize(
    "conversion", ["half()", "to(torch.float16)", "cuda().half()", 'to("cuda", torch.half)']
)
def test_a_constructor_may_convert_its_modules(conversion: str):
    setup = f"""self.a = nn.Sequential(nn.LSTM(4, 4), nn.BatchNorm1d(4)).{conversion}
        self.b = nn.ParameterList([self.a[1].weight]).{conversion}"""
    body = """        assert self.b[0] is not None and self.a[1].running_mean.dtype == torch.float16
        assert {w.dtype for w in self.a[0]._flat_weights} == {torch.float16}
        return scaled_relu(x, self.a[1].weight.float())"""
    assert record(model(body, setup)).recording().sequence == (0,)


def test_a_tensor_left_on_the_cpu_is_an_error_with_its_line():
    with pytest.raises(
        KernelFileError, match=r"candidate\.py:\d+: argument scale_ptr .* is a tensor on the cpu"
    ):
        record(model("        return scaled_relu(x, self.other)", "self.other = torch.rand(1)"))


def test_a_constant_given_by_launch_and_configs_is_named():
    tuned = """
own = triton.autotune([triton.Config({"BLOCK": 128}), triton.Config({"BLOCK": 256})], key=["n"])(relu_kernel)


"""
    body = """        out = torch.empty_like(x)
        own[(4,)](x, self.scale, out, x.numel(), BLOCK=128)
        return out"""
    with pytest.raises(
        KernelFileError, match=r"candidate\.py:\d+: relu_kernel is passed BLOCK, which its configs"
    ):
        record(tuned + model(body))


def test_a_failing_forward_names_its_line():
    with pytest.raises(KernelFileError, match=r"candidate\.py:\d+: ModelNew raises ValueError: no"):
        record(model("        raise ValueError('no')"))


layouts = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 6), st.integers(1, 20))


@given(layout=layouts, offset=st.integers(0, 60), other=st.integers(0, 60))
@example(layout=(4, 1, 4, 1), offset=0, other=3)  # the stride of an axis of one element means nothing
@example(layout=(2, 4, 1, 4), offset=0, other=7)  # one row and three columns, not two rows less one column
def test_views_of_one_layout_overlap_exactly_when_they_share_an_element(layout, offset, other):
    rows, columns, stride, row_stride = layout
    shape, strides = (rows, columns), (row_stride, stride)

    def elements(start: int) -> set[int]:
        return {start + r * row_stride + c * stride for r in range(rows) for c in range(columns)}

    one, two = View(0, offset, shape, strides, 4), View(0, other, shape, strides, 4)
    share = bool(elements(offset) & elements(other))
    assert one.overlaps(two) or not share
    nested = row_stride > (columns - 1) * stride and stride >= 1
    if nested and columns > 1 and rows > 1:
        assert one.overlaps(two) == share
