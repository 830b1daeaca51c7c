"""The profile command without a GPU, and with stand-ins for one, for Nsight Compute and for its package."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

import torch
import triton
import triton.language as tl
from triton.runtime.jit import JITFunction

from tilewright import workers
from tilewright.cli import main
from tilewright.errors import KernelFileError, SetupError
from tilewright.gpu.catalogue import find
from tilewright.launches.fake import replaced
from tilewright.profile import forward
from tilewright.profile.forward import Window
from tilewright.request import compose, parse, read_profile_file, render
from tilewright.stages.catalogue import stages

pytestmark = pytest.mark.compiled

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
RNN = ROOT / "examples" / "vanilla_rnn"
SM = "sm__throughput.avg.pct_of_peak_sustained_elapsed"
PLUGGED_IN = ("tilewright.gpu.plugged.plugged_in", "tilewright.profile.api.plugged_in")
VECTOR = ["--problem", str(DATA / "kernels_inspect" / "vector_problem.py"), "--gpu", "h200"]
VECTOR_CODE = str(DATA / "kernels_inspect" / "elementwise.py")


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in PLUGGED_IN:
        monkeypatch.setattr(place, lambda: None)


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_the_compiled_diagnosis_stands_and_what_is_missing_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    problem = ["--problem", str(RNN / "problem.py")]
    assert main(["profile", str(RNN / "current.py"), *problem, "--gpu", "h100", "--json"]) == 0
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert "no counters: no GPU is plugged in" in said.err
    assert document["profile"] is None
    assert "run this on the machine that has the H100 SXM" in document["missing"]
    step, linear = document["kernels"]
    assert (step["kernel"], step["launches"], linear["kernel"]) == ("step_kernel", 256, "linear_kernel")
    assert [reason["cause"] for reason in step["reasons"]] == [
        "launches",
        "too few programs",
        "latency chain",
    ]
    assert step["stages"] == ["algorithm"]
    known = {sign["known_by"] for reason in step["reasons"] for sign in reason["signs"]}
    assert known == {"compiled", "estimated"}


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_and_a_name_or_for_a_file_of_counters_it_is_a_set_up_that_lacks_something(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["profile", VECTOR_CODE, *VECTOR[:2]]) == 2
    assert "name the target" in capsys.readouterr().err
    assert main(["profile", VECTOR_CODE, *VECTOR, "-o", str(tmp_path / "profile.txt")]) == 2
    said = capsys.readouterr()
    assert "error: no counters: no GPU is plugged in" in said.err
    assert "relu_kernel" in said.out
    assert not (tmp_path / "profile.txt").exists()


def test_bad_input_is_told_before_anything_runs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["profile", VECTOR_CODE, *VECTOR, "--stage", "tiles"]) == 2
    assert "no stage is called 'tiles'" in capsys.readouterr().err
    (tmp_path / "there").write_text("")
    assert main(["profile", VECTOR_CODE, *VECTOR, "-o", str(tmp_path / "there")]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = str(DATA / "profile" / "package")
    report = [
        [
            "relu_kernel",
            {"launch__grid_size": [1024, ""], SM: [12.5, "%"], "gpu__time_duration.sum": [5000, "ns"]},
        ]
    ]
    for place in PLUGGED_IN:
        monkeypatch.setattr(place, lambda: find("h200"))
    monkeypatch.setenv("PATH", f"{DATA / 'profile'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([package, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(package)
    monkeypatch.setenv("FAKE_NCU", "reads")
    monkeypatch.setenv("FAKE_REPORT", json.dumps(report))
    monkeypatch.setenv("FAKE_LAUNCHED", "[]")
    monkeypatch.setenv("FAKE_SEEN", str(tmp_path / "seen.json"))


@pytest.mark.usefixtures("fakes")
def test_what_is_read_is_shown_with_its_meaning_and_written_as_requests_carry_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    block = tmp_path / "profile.txt"
    assert main(["profile", VECTOR_CODE, *VECTOR, "-o", str(block)]) == 0
    shown = capsys.readouterr().out
    assert "relu_kernel: 1 of 1 launches read" in shown
    assert "time from the kernel's start to its end" in shown
    assert block.read_text() in shown
    assert f"latency chain: {SM} 12.5 % (measured)" in " ".join(shown.split())
    figures = {"launch__grid_size": 1024.0, SM: 12.5, "gpu__time_duration.sum": 5000.0}
    profile = read_profile_file(block)
    assert profile.figures == {"relu_kernel": figures}
    request = compose(find("h200"), stages("single")[0], "import torch\n", profile.figures, profile.note)
    again = parse(render(request))
    assert again.profile == {"relu_kernel": figures}
    assert again.profile_note == profile.note
    assert block.read_text().rstrip() in render(request)


@pytest.mark.usefixtures("fakes")
def test_counters_that_the_gpu_here_refuses_are_an_error_after_the_diagnosis(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_NCU", "no permission")
    assert main(["profile", VECTOR_CODE, *VECTOR]) == 2
    said = capsys.readouterr()
    assert "error: no counters: the driver lets only administrators read" in said.err
    assert "relu_kernel, 1 launch" in said.out


TALKING = """
import torch

class ModelNew(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, x):
        torch.log_of_test.append(float(x[0]))
        x *= self.scale / torch.divisor_of_test
        return x
"""


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Has `forward.run` work on the CPU, and notes when the profiler is on."""
    found: list[Any] = []
    monkeypatch.setattr(forward, "DEVICE", torch.device("cpu"))
    monkeypatch.setattr(forward.signal, "alarm", lambda seconds: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda.profiler, "start", lambda: found.append("on"))
    monkeypatch.setattr(torch.cuda.profiler, "stop", lambda: found.append("off"))
    monkeypatch.setattr(torch, "log_of_test", found, raising=False)
    monkeypatch.setattr(torch, "divisor_of_test", 2.0, raising=False)
    return found


def job(source: str) -> dict[str, Any]:
    problem = DATA / "kernels_inspect" / "vector_problem.py"
    asked = {"problem": problem.read_text(), "problem_path": str(problem), "source": source}
    return {**asked, "path": "code.py", "launches": 3, "seconds": 60}


def test_the_profiler_is_on_for_the_second_forward_which_has_the_same_inputs(log: list[Any]) -> None:
    assert forward.run(job(TALKING)) == []
    warm_up, on, again, off = log
    assert (on, off) == ("on", "off")
    assert warm_up == again, "what the first forward wrote into its inputs is not what the second one gets"


def test_a_forward_that_raises_is_the_candidates_fault(
    log: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "divisor_of_test", "two")
    with pytest.raises(KernelFileError, match=r"TypeError.*code\.py:11.*tilewright check"):
        forward.run(job(TALKING))
    with pytest.raises(KernelFileError, match="no ModelNew"):
        forward.run(job("import torch"))
    assert "on" not in log


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_forward_without_a_gpu_is_a_set_up_that_lacks_one() -> None:
    with pytest.raises(SetupError, match="PyTorch sees no GPU here"):
        workers.call("tilewright.profile.forward:run", job(TALKING))


@triton.jit
def first(x, n, BLOCK: tl.constexpr):
    pass


@triton.jit
def second(x, n, BLOCK: tl.constexpr):
    pass


def test_the_profiler_sees_the_first_launches_of_each_kernel_on_each_grid() -> None:
    """`launch` stands for Triton's own: it asks for the grid just before it launches."""
    log: list[Any] = []

    def launch(kernel: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> None:
        size = grid({"n": args[1]}) if callable(grid) else grid
        log.append((kernel.__name__, size, warmup))

    window = Window(2, lambda: log.append("on"), lambda: log.append("off"))
    with replaced(JITFunction, "run", launch):
        with window.watching():
            for _ in range(3):
                first[(4, 2)](None, 8, BLOCK=1)
            first[lambda meta: (meta["n"],)](None, 16, BLOCK=1)
            second[(8,)](None, 8, BLOCK=1, num_ctas=2)
            first.run(None, 8, BLOCK=1, grid=(1,), warmup=True)
        first[(4, 2)](None, 8, BLOCK=1)
    assert log == [
        ("first", (4, 2), False),
        ("first", (4, 2), False),
        "off",
        ("first", (4, 2), False),
        "on",
        ("first", (16,), False),
        ("second", (8,), False),
        ("first", (1,), True),
        ("first", (4, 2), False),
    ]
    assert dict(window.counts) == {("first", 8): 3, ("first", 16): 1, ("second", 16): 1}


def test_the_profiler_is_back_on_after_a_launch_that_fails() -> None:
    log: list[str] = []

    def launch(kernel: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> None:
        grid({})
        raise ValueError("out of resources")

    window = Window(0, lambda: log.append("on"), lambda: log.append("off"))
    with replaced(JITFunction, "run", launch), window.watching(), pytest.raises(ValueError, match="out of"):
        first[(1,)](None, 8, BLOCK=1)
    assert log == ["off", "on"]
