"""Nsight Compute's command line and messages, and a whole profile with stand-ins for it and its package."""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tilewright.errors import InputError, KernelFileError, SetupError
from tilewright.gpu.catalogue import find
from tilewright.problem import Problem
from tilewright.profile import ncu
from tilewright.profile.api import profile
from tilewright.profile.metrics import SM_THROUGHPUT
from tilewright.profile.model import Reading

DATA = Path(__file__).parents[1] / "data"
GPU = find("h200")
PROBLEM = Problem.from_file(DATA / "judge" / "scale_problem.py")
TENSOR = "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_elapsed"
FMA = "sm__pipe_fma_cycles_active.avg.pct_of_peak_sustained_elapsed"


def launch(kernel: str, grid: int, ns: float) -> list[Any]:
    """One launch in a report, without a request to L1, so that its hit rate is no number."""
    figures = {
        "launch__grid_size": [grid, ""],
        "gpu__time_duration.sum": [ns, "ns"],
        "l1tex__t_sector_hit_rate.pct": [math.nan, "%"],
        SM_THROUGHPUT: [40.0, "%"],
        f"breakdown:{SM_THROUGHPUT}": [f"{FMA},{TENSOR},sm__not_on_this_chip", "%"],
        FMA: [12.0, "%"],
        TENSOR: [40.0, "%"],
        "dram__throughput.avg.pct_of_peak_sustained_elapsed": [None, "%"],
    }
    return [kernel, figures]


REPORT = [
    launch("gemm", 64, 9000.0),
    launch("vectorized_elementwise_kernel", 8, 2000.0),
    launch("gemm", 64, 7000.0),
    launch("gemm", 64, 8000.0),
    launch("gemm", 128, 15000.0),
]
LAUNCHED = [
    {"kernel": "gemm", "grid_size": 64, "count": 12},
    {"kernel": "gemm", "grid_size": 128, "count": 1},
]


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A GPU, an `ncu` on PATH and an `ncu_report` to import, none of them real; what ncu was told."""
    package = str(DATA / "profile" / "package")
    monkeypatch.setattr("tilewright.profile.api.plugged_in", lambda: GPU)
    monkeypatch.setenv("PATH", f"{DATA / 'profile'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([package, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(package)
    monkeypatch.setenv("FAKE_NCU", "reads")
    monkeypatch.setenv("FAKE_REPORT", json.dumps(REPORT))
    monkeypatch.setenv("FAKE_LAUNCHED", json.dumps(LAUNCHED))
    monkeypatch.setenv("FAKE_SEEN", str(tmp_path / "seen.json"))
    return tmp_path / "seen.json"


def test_the_command_reads_one_range_and_leaves_clocks_alone() -> None:
    command = ncu.command("/opt/ncu", ["a.sum", "b.pct"], Path("r.ncu-rep"), Path("log"))
    pairs = dict(zip(command[1::2], command[2::2], strict=False))
    assert command[0] == "/opt/ncu"
    assert pairs["--profile-from-start"] == "off"
    assert pairs["--clock-control"] == "none"
    assert pairs["--metrics"] == "a.sum,b.pct"
    assert pairs["--log-file"] == "log"
    assert command[-3:] == ("--force-overwrite", "--export", "r.ncu-rep")


@pytest.mark.usefixtures("fakes")
def test_each_kernel_on_each_grid_has_the_medians_of_its_launches() -> None:
    read = profile(PROBLEM, "source", GPU)
    assert [(k.name, k.launches, k.read) for k in read.kernels] == [
        ("gemm (grid 64)", 12, 3),
        ("vectorized_elementwise_kernel", 1, 1),
        ("gemm (grid 128)", 1, 1),
    ]
    gemm = read.kernels[0]
    assert (gemm.kernel, gemm.grid_size) == ("gemm", 64)
    assert Reading("gpu__time_duration.sum", 8000.0, "ns") in gemm.readings
    assert read.gpu == "H200"
    assert read.figures["gemm (grid 128)"]["gpu__time_duration.sum"] == 15000.0


@pytest.mark.usefixtures("fakes")
def test_the_busiest_unit_is_read_under_its_own_name_and_what_was_not_read_is_left_out() -> None:
    figures = profile(PROBLEM, "source", GPU).figures["gemm (grid 64)"]
    assert figures[TENSOR] == figures[SM_THROUGHPUT] == 40.0
    assert FMA not in figures
    assert "dram__throughput.avg.pct_of_peak_sustained_elapsed" not in figures
    assert "l1tex__t_sector_hit_rate.pct" not in figures
    assert "launch__registers_per_thread" not in figures


def test_the_worker_runs_under_the_profiler_with_the_metrics_of_the_stage(fakes: Path) -> None:
    profile(PROBLEM, "source", GPU, stage="algorithm", launches=5)
    seen = json.loads(fakes.read_text())
    assert seen["rest"][:3] == [sys.executable, "-m", "tilewright.worker"]
    assert seen["job"]["task"] == "tilewright.profile.forward:run"
    assert seen["job"]["under"] is True
    assert seen["job"]["payload"]["launches"] == 5
    assert "gpu__time_duration.sum" in seen["options"]["--metrics"].split(",")
    assert "lts__t_sector_hit_rate.pct" not in seen["options"]["--metrics"].split(",")


@pytest.mark.usefixtures("fakes")
def test_the_report_is_kept_where_asked(tmp_path: Path) -> None:
    profile(PROBLEM, "source", GPU, keep=tmp_path / "kept.ncu-rep")
    assert (tmp_path / "kept.ncu-rep").read_text() == json.dumps(REPORT)
    with pytest.raises(InputError, match="cannot be written"):
        profile(PROBLEM, "source", GPU, keep=tmp_path / "no" / "kept.ncu-rep")


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("no permission", "only administrators .*ERR_NVGPUCTRPERM.*NVreg_RestrictProfilingToAdminUsers=0"),
        ("nothing read", "read no kernel: No kernels were profiled"),
        ("refuses its options", "read no kernel: unrecognised option '--nonsense'"),
    ],
)
def test_why_there_are_no_counters_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, what: str, said: str
) -> None:
    monkeypatch.setenv("FAKE_NCU", what)
    with pytest.raises(SetupError, match=said):
        profile(PROBLEM, "source", GPU)


@pytest.mark.usefixtures("fakes")
def test_a_report_without_a_launch_is_no_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_REPORT", "[]")
    with pytest.raises(SetupError, match="read no kernel, and says nothing about it"):
        profile(PROBLEM, "source", GPU)


@pytest.mark.usefixtures("fakes")
def test_an_error_of_the_candidate_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_NCU", "candidate fails")
    with pytest.raises(KernelFileError, match="division by zero"):
        profile(PROBLEM, "source", GPU)


@pytest.mark.usefixtures("fakes")
def test_a_forward_of_very_many_kernels_says_that_it_was_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ncu, "MOST_RESULTS", len(REPORT))
    assert profile(PROBLEM, "source", GPU).notes == ("only the first 5 launches were looked at",)


@pytest.mark.usefixtures("fakes")
def test_without_nsight_compute_its_package_or_the_gpu_the_way_to_get_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("tilewright.profile.report.PACKAGE", "no_such_package")
        with pytest.raises(SetupError, match=r"pip install 'tilewright\[profile\]'"):
            profile(PROBLEM, "source", GPU)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "")
        patch.setattr(ncu, "USUAL_PLACES", ())
        with pytest.raises(SetupError, match=r"no ncu on PATH.*install"):
            profile(PROBLEM, "source", GPU)
    with pytest.raises(SetupError, match=r"the GPU here is H200; .* has the RTX 4090"):
        profile(PROBLEM, "source", find("rtx4090"))
    monkeypatch.setattr("tilewright.profile.api.plugged_in", lambda: None)
    with pytest.raises(SetupError, match="no GPU is plugged in"):
        profile(PROBLEM, "source", GPU)


def test_the_newest_installation_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for version in ("2024.3.2", "2025.1.0"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "ncu").write_text("")
        (tmp_path / version / "ncu").chmod(0o755)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(ncu, "USUAL_PLACES", (f"{tmp_path}/*",))
    assert ncu.find() == str(tmp_path / "2025.1.0" / "ncu")


def test_the_stand_in_has_the_interface_of_the_package() -> None:
    real: Any = pytest.importorskip("ncu_report", reason="NVIDIA's package ncu-report is not installed")
    assert callable(real.load_report)
    for name in ("name", "metric_by_name"):
        assert callable(getattr(real.IAction, name))
    for name in ("has_value", "as_double", "as_string", "unit"):
        assert callable(getattr(real.IMetric, name))
