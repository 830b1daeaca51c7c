"""The main job, end to end, on a machine without a GPU."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import filelock
import psutil
import pytest
import torch

import tilewright
from tilewright import manifest
from tilewright.cli import main
from tilewright.contract import breaches
from tilewright.runs import read_log
from tilewright.serial import structure
from tilewright.stages import session as stages_session
from tilewright.stages.summary import Summary
from tilewright.verify.api import verify as verify_run

DATA = Path(__file__).parents[1] / "data" / "optimize"
SHARED = Path(__file__).parents[2].parent / "shared"
ELEMENTWISE = DATA.parent / "judge"
PROBLEM = DATA / "problem.py"
SHORT = 4.0  # seconds under the interpreter for each candidate, where a user's run takes 12
pytestmark = [
    pytest.mark.compiled,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(torch.cuda.is_available(), reason="what a GPU changes is tested in tests/gpu"),
]


def command(folder: Path) -> list[str]:
    return [
        "optimize", str(PROBLEM), "--current", str(DATA / "current.py"), "--gpu", "h100",
        "--also-gpu", "a10", "--stages", "block_tiling", "--budget", "30m", "-o", str(folder),
    ]  # fmt: skip


def short_command(folder: Path) -> list[str]:
    """A run of an elementwise kernel, done within seconds."""
    return [
        "optimize", str(ELEMENTWISE / "scale_problem.py"), "--current", str(ELEMENTWISE / "scale.py"),
        "--gpu", "h100", "--stages", "block_tiling", "--budget", "30m", "-o", str(folder),
    ]  # fmt: skip


def wait_for_log(log: Path, process: subprocess.Popen[bytes]) -> None:
    """Until the first candidate is on record."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and not (log.exists() and log.read_text().count("\n") >= 1):
        assert process.poll() is None, "the run ended before it could be stopped"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def finished(shared_folder: Path) -> Path:
    """A run to its end; of the processes that run tests one makes it and the others wait."""
    folder = shared_folder / "finished"
    with filelock.FileLock(shared_folder / "finished.lock"), pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(stages_session, "INTERPRETER_SECONDS", SHORT)
        if not (folder / manifest.NAME).exists():
            assert main(command(folder)) == 0
    return folder


def test_the_result_is_a_better_file_with_the_reason_to_believe_it(finished: Path) -> None:
    summary = structure(json.loads((finished / "summary.json").read_text()), Summary)
    assert summary.improved and summary.verdict.correct and summary.given.correct
    assert summary.gain is not None and summary.gain.ratio.value > 1.2
    assert summary.evidence is tilewright.Evidence.ESTIMATED, "nothing was timed here"
    assert summary.verdict.sizes, "sizes cut to run under the interpreter are said"
    kinds = {tried.outcome for tried in read_log(finished)}
    assert "correct" in kinds


def test_the_file_written_keeps_the_contract_with_two_or_three_configs(finished: Path) -> None:
    source = (finished / "best.py").read_text()
    best = tilewright.KernelFile.parse(source, "best.py")
    assert breaches(best, PROBLEM.read_text()) == ()
    assert 2 <= source.count("triton.Config(") <= 3


def test_the_estimated_speedup_is_computed_again_from_the_log(finished: Path) -> None:
    verification = verify_run(finished, rerun=False)
    speedup = next(line for line in verification.lines if line.what == "speedup from the record")
    assert verification.agrees and speedup.recorded == speedup.found and "estimated" in speedup.found


def test_the_file_serves_the_other_gpu_that_was_named(finished: Path) -> None:
    summary = structure(json.loads((finished / "summary.json").read_text()), Summary)
    (there,) = summary.elsewhere
    assert (there.label, there.gpu, there.problem) == ("A10", "A10", "")
    assert there.gain is not None and there.gain.ratio.evidence is tilewright.Evidence.ESTIMATED
    assert there.gain.ratio.value >= 1.0, "the file may choose there what it had before"
    assert any(note.startswith("A10") for report in summary.stages for note in report.notes)


def test_a_finished_run_is_not_overwritten(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (finished / "best.py").read_text()
    assert main(command(finished)) == 2
    assert "--force" in capsys.readouterr().err
    assert (finished / "best.py").read_text() == before


def test_a_request_made_from_the_run_asks_for_its_best_file(finished: Path, tmp_path: Path) -> None:
    path = tmp_path / "next.txt"
    assert (
        main(["request", "render", "--run", str(finished), "--stage", "memory_access", "-o", str(path)]) == 0
    )
    request = tilewright.parse_request(path.read_text())
    assert request.code == (finished / "best.py").read_text()
    assert request.stage == "memory_access"
    assert request.gpu is not None and request.gpu.compute_capability == 90


def test_a_run_killed_with_kill_9_resumes_where_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    log = folder / "log.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "tilewright", *short_command(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for_log(log, process)
    workers = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert psutil.wait_procs(workers, timeout=30)[1] == [], "its workers die with it"
    before = [tried.id for tried in read_log(folder)]
    assert main(short_command(folder)) == 0
    after = [tried.id for tried in read_log(folder)]
    assert after[: len(before)] == before and len(set(after)) == len(after)
    verification = verify_run(folder, rerun=False)
    assert verification.agrees and len(verification.machines) == 2, "the evidence is whole"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_at_once_and_leaves_a_log_to_resume(tmp_path: Path, number: int) -> None:
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "tilewright", *short_command(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    wait_for_log(folder / "log.jsonl", process)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and said.splitlines()[-1] == b"error: interrupted"
    assert {tried.outcome for tried in read_log(folder)} <= {"the code as given", "correct"}
    assert not (folder / "summary.json").exists()


@pytest.mark.skipif(not SHARED.exists(), reason="the requests in ../shared are not part of a clone")
def test_the_reference_request_is_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages_session, "INTERPRETER_SECONDS", SHORT)
    request = SHARED / "requests" / "vanilla_rnn_block_tiling.txt"
    problem = Path(__file__).parents[2] / "examples" / "vanilla_rnn" / "problem.py"
    unhurried = ["--budget", "30m", "-o", str(tmp_path / "run"), "--json"]
    code = main(["optimize", str(problem), "--request", str(request), *unhurried])
    summary = json.loads(capsys.readouterr().out)
    assert code == 0
    assert summary["gpu"] == "RTX 4090" or "4090" in summary["gpu"]
    assert summary["verdict"]["outcome"] == "correct"
    assert [stage["stage"] for stage in summary["stages"]] == ["block_tiling"]
    assert any("512 launches" in stage["outlook"]["why"] for stage in summary["stages"])
    assert any("profile" in finding for finding in summary["findings"])
    assert any("ignored" in note for note in summary["notes"])
    assert verify_run(tmp_path / "run", quoted=summary["manifest"], rerun=False).agrees
