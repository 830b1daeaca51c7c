"""What a process does with itself before it runs what it was started for."""

from __future__ import annotations

import ctypes
import fcntl
import importlib
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tilewright.processes.messages import Job
from tilewright.processes.start import adopt

PR_SET_PDEATHSIG = 1  # linux/prctl.h
M_PERTURB = -6  # malloc.h


@dataclass(frozen=True)
class Order:
    """A child of a server that does not know its job yet.

    Args:
        control: where the job is to be read.
        files: the file of its output, and those that are sent along.
        server: process id of its server, with which it is to end.
        requests: the socket on which it asks a server of its own, where it leads.
    """

    control: socket.socket
    files: Sequence[int]
    server: int
    requests: int | None = None

    def close(self, *, but_control: bool = False) -> None:
        """Leave it to another process."""
        for file in self.files:
            os.close(file)
        if not but_control:
            self.control.close()


def settled(order: Order) -> Job:
    """Read the job, and put this process in the state in which a fresh one would run it."""
    die_with_parent()
    if os.getppid() != order.server:  # it ended before that was asked of Linux
        os._exit(1)
    with order.control, order.control.makefile("rb") as body:
        job = Job(**json.loads(body.read()))
    requests = _take_files(order, job.descriptors)
    if requests is not None:
        adopt(socket.socket(fileno=requests))
    _take_path(job)
    os.chdir(job.folder)
    os.environ.clear()
    os.environ.update(job.environment)
    _forget()
    return job


def interpreting(environment: Mapping[str, str]) -> bool:
    """Whether Triton, imported under these variables, makes its library for the interpreter."""
    return environment.get("TRITON_INTERPRET", "0") == "1"


def run(job: Job) -> None:
    """What `python -m` does; in a Python started from nothing where Triton is loaded for another use."""
    if interpreting(job.environment) and "triton" in sys.modules:
        for number in job.descriptors:
            os.set_inheritable(number, True)
        os.execve(sys.executable, [sys.executable, "-m", job.module, *job.arguments], dict(job.environment))
    module = importlib.import_module(job.module)
    sys.argv[:] = [str(module.__file__), *job.arguments]
    module.main(job.arguments)


def die_with_parent() -> None:
    """Have Linux kill this process when the thread that started it ends, kill -9 included."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _take_files(order: Order, numbers: Sequence[int]) -> int | None:
    """Have the files stand where they are expected, close all others; returns what `requests` now is."""
    free = max([2, *numbers]) + 1
    output, *others = (fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, free) for file in order.files)
    requests = order.requests and fcntl.fcntl(order.requests, fcntl.F_DUPFD_CLOEXEC, free)
    os.dup2(output, 1)
    os.dup2(output, 2)
    for file, number in zip(others, numbers, strict=True):
        os.dup2(file, number, inheritable=False)
    kept = {0, 1, 2, *numbers, requests}
    for number in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208  bare numbers
        if number not in kept:
            os.closerange(number, number + 1)
    return requests


def _take_path(job: Job) -> None:
    """`sys.path` as Python would make it for `-m` from the job's folder and PYTHONPATH."""
    begin = 0 if sys.flags.safe_path else 1  # the server's folder stands first
    before = _entries(os.environ, Path.cwd())
    kept = [entry for entry in sys.path[begin:] if entry not in before]
    sys.path[:] = [*[job.folder][:begin], *_entries(job.environment, Path(job.folder)), *kept]
    importlib.invalidate_caches()


def _entries(environment: Mapping[str, str], folder: Path) -> list[str]:
    named = environment.get("PYTHONPATH", "").split(os.pathsep)
    return [str(folder / entry) for entry in named if entry]


def _forget() -> None:
    """What Python, NumPy and glibc read once, and what must not be alike in all children of a server."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    tempfile.tempdir = None
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    if "numpy.random" in sys.modules:  # Python's own generators see to it themselves; torch's begin alike
        sys.modules["numpy.random"].seed()
    if fill := os.environ.get("MALLOC_PERTURB_"):
        ctypes.CDLL(None).mallopt(M_PERTURB, int(fill))
