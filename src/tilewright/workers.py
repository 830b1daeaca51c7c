"""Runs one task in a process of its own, within a time and a memory limit.

Whatever executes a user's code (a problem file, a candidate) runs here. The parent writes the job
as JSON into a fresh folder, starts `tilewright.worker` with it, and reads the result file that the task
left. What the process prints is kept for messages and proves nothing.

A task is named "package.module:function". The function takes the job's payload (plain JSON values)
and returns a dataclass or a JSON value; see `tilewright.worker`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tilewright import errors
from tilewright.processes.start import Process, start

POLL_SECONDS = 0.05
FAKE_TENSORS = ("torch._dynamo",)  # what PyTorch's import as the first one is made; it takes a second

_stopping = threading.Event()
_running: set[Process] = set()


@dataclass(frozen=True)
class Limits:
    """What a worker may use.

    Args:
        seconds: wall-clock time, its start included.
        memory_bytes: resident memory of the process and its children, what they share counted for each.
    """

    seconds: float = 120.0
    memory_bytes: int = 12 * 2**30


def call(
    task: str,
    payload: Mapping[str, Any],
    limits: Limits | None = None,
    environment: Mapping[str, str] | None = None,
    under: Sequence[str] = (),
    loads: tuple[str, ...] = (),
) -> Any:
    """Run a task in a worker process and return its result as plain JSON values.

    Args:
        task: "package.module:function".
        payload: JSON values handed to the function.
        limits: time and memory; the whole process group is killed past either.
        environment: variables set for the worker on top of this process's own.
        under: a tool and its options that starts the worker and watches it: a profiler.
        loads: modules that the task, and others after it, take long to import; see `processes.start.start`.

    Raises:
        TilewrightError: an error of this family raised by the task, raised again here.
        Interrupted: `stop_all` was called before the task was done.
        WorkerTimeout, WorkerOutOfMemory, WorkerCrashed: no result came back.
    """
    limits = limits or Limits()
    if stopping():
        raise errors.Interrupted("interrupted")
    with tempfile.TemporaryDirectory(prefix="tilewright-") as scratch:
        folder = Path(scratch)
        (folder / "job.json").write_text(json.dumps({"task": task, "payload": payload, "under": bool(under)}))
        with (folder / "output.txt").open("wb") as output:
            deadline = time.monotonic() + limits.seconds
            process = start(
                "tilewright.worker",
                [scratch],
                output=output.fileno(),
                environment={**os.environ, "TRITON_DEFAULT_FP_FUSION": "1", **(environment or {})},
                leads=True,
                under=under,
                loads=loads,
            )
            _running.add(process)
            try:
                _wait(process, limits, deadline)
            finally:
                _kill(process)
                _running.discard(process)
            code = process.wait()
        if stopping():
            raise errors.Interrupted("interrupted")
        return _result(folder, code)


def stop_all() -> None:
    """Kill every worker, and start none until `allow_workers`: what waits for one raises Interrupted."""
    _stopping.set()
    for process in list(_running):
        _kill(process)


def stopping() -> bool:
    """Whether `stop_all` was called."""
    return _stopping.is_set()


def allow_workers() -> None:
    """Let workers start, whatever `stop_all` said before."""
    _stopping.clear()


def _wait(process: Process, limits: Limits, deadline: float) -> None:
    """Wait for the process to end, watching the clock and its memory."""
    while not stopping():  # it may have started a moment after `stop_all`
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(POLL_SECONDS)
            return
        if time.monotonic() > deadline:
            raise errors.WorkerTimeout(
                f"did not finish within {limits.seconds:g} s", mend="allow more time or use smaller sizes"
            )
        try:
            leader = psutil.Process(process.pid)
            resident = sum(p.memory_info().rss for p in [leader, *leader.children(recursive=True)])
        except psutil.Error:  # it ended between two polls
            continue
        if resident > limits.memory_bytes:
            raise errors.WorkerOutOfMemory(
                f"used more than {limits.memory_bytes / 2**30:.1f} GiB of memory", mend="use smaller sizes"
            )


def _kill(process: Process) -> None:
    """Kill the worker and whatever it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()  # a moment after its start it does not lead its group yet


def _result(folder: Path, returncode: int) -> Any:
    result = folder / "result.json"
    if not result.exists():
        said = (folder / "output.txt").read_text(errors="replace").strip().splitlines()
        last = said[-1][:300] if said else "it printed nothing"
        how = f"killed by {signal.Signals(-returncode).name}" if returncode < 0 else f"exit code {returncode}"
        raise errors.WorkerCrashed(f"the worker died ({how}): {last}")
    answer = json.loads(result.read_text())
    if "error" in answer:
        raise _revive(answer["error"])
    return answer["value"]


def _revive(described: Mapping[str, Any]) -> errors.TilewrightError:
    """Rebuild an error of our family that a worker raised."""
    error_class = getattr(errors, described["class"], errors.TilewrightError)
    where = errors.Where(*described["where"]) if described["where"] else None
    error: errors.TilewrightError = error_class(described["what"], where=where, mend=described["mend"])
    return error
