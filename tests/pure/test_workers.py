"""Worker processes: results come back, and each way of not coming back is told apart."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from tilewright import errors, workers

TASKS = """
import os, sys, time
from dataclasses import dataclass
from tilewright.errors import ProblemError, Where

@dataclass
class Answer:
    doubled: int
    nan: float

def double(payload):
    print("noise on stdout", file=sys.stderr)
    return Answer(2 * payload["value"], float("nan"))

def refuse(payload):
    raise ProblemError("is wrong", where=Where("p.py", 7), mend="mend it")

def hang(payload):
    time.sleep(600)

def leave(payload):
    sys.exit(0)

def abort(payload):
    os.abort()

def grow(payload):
    held = []
    while True:
        held.append(bytearray(50_000_000))
        time.sleep(0.01)

def fail(payload):
    raise ValueError("a bug")

def tell_at_the_end(payload):
    import atexit
    atexit.register(lambda: open(payload["path"], "w").write(os.environ.get("WATCHED", "alone")))

def orphan(payload):
    import subprocess
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    return child.pid
"""


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "tasks_for_test.py").write_text(TASKS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "tasks_for_test"


def test_a_result_comes_back_as_plain_values(tasks: str) -> None:
    assert workers.call(f"{tasks}:double", {"value": 21}) == {"doubled": 42, "nan": "nan"}


def test_an_error_of_ours_comes_back_as_itself(tasks: str) -> None:
    with pytest.raises(errors.ProblemError, match=r"^p\.py:7: is wrong; mend it$"):
        workers.call(f"{tasks}:refuse", {})


def test_a_worker_runs_under_a_tool_whose_exit_handlers_have_their_say(tasks: str, tmp_path: Path) -> None:
    payload = {"path": str(tmp_path / "told")}
    workers.call(f"{tasks}:tell_at_the_end", payload)
    assert not (tmp_path / "told").exists()
    workers.call(f"{tasks}:tell_at_the_end", payload, under=("env", "WATCHED=by a tool"))
    assert (tmp_path / "told").read_text() == "by a tool"


def test_a_worker_past_its_time_is_killed(tasks: str) -> None:
    started = time.monotonic()
    with pytest.raises(errors.WorkerTimeout, match="did not finish within 1 s"):
        workers.call(f"{tasks}:hang", {}, workers.Limits(seconds=1))
    assert time.monotonic() - started < 20


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
def test_a_worker_past_its_memory_is_killed(tasks: str) -> None:
    with pytest.raises(errors.WorkerOutOfMemory, match=r"more than 0\.3 GiB"):
        workers.call(f"{tasks}:grow", {}, workers.Limits(seconds=60, memory_bytes=300_000_000))


@pytest.mark.parametrize(
    ("task", "says"), [("leave", "exit code 0"), ("abort", "SIGABRT"), ("fail", "ValueError: a bug")]
)
def test_a_worker_that_dies_without_a_result_is_a_crash(tasks: str, task: str, says: str) -> None:
    with pytest.raises(errors.WorkerCrashed, match=says):
        workers.call(f"{tasks}:{task}", {})


def test_processes_a_worker_leaves_behind_are_killed_with_it(tasks: str) -> None:
    import psutil

    pid = workers.call(f"{tasks}:orphan", {})
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.05)
    pytest.fail("the orphan is still running")
