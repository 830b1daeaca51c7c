"""Starts a module in a process of its own: a child of a server that has imported torch.

Each process that starts others has one server, begun with the first, and another for those that need modules
which it takes long to import; see `server`. Where Linux is older than 5.3, on other systems, where a server
does not come up, and under a tool that watches, a Python is started from nothing instead, which takes two
seconds longer. What Python and libraries read as they are loaded (LD_LIBRARY_PATH, OMP_NUM_THREADS) is in a
child what it was when its server began; PYTHONPATH is as asked.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from tilewright.processes.messages import CODE, FOLLOWS, LEADS, Job

# The compiler without a device, whose driver survives no fork. Servers that load more are begun so too:
# modules may import Triton, or look for a GPU, which a server must not touch.
COMPILING = {"TRITON_INTERPRET": "0", "CUDA_VISIBLE_DEVICES": ""}
# Threads that share an operator's work spin while they wait for one another, unless told not to. Where two
# checks share two processors, each a judge and a cell of two threads, one of 2 s took 60 now and then.
WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}
START_SECONDS = 120.0  # until a server has imported torch, from a cold disk, and answers


class Process(Protocol):
    """A started process, as `subprocess.Popen` has it; one thread waits for it at a time."""

    pid: int

    def poll(self) -> int | None:
        """Its exit code, minus the number of the signal that killed it, or None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """The same once it has ended. Raises subprocess.TimeoutExpired after so many seconds."""

    def kill(self) -> None:
        """Send it SIGKILL, if it still runs."""


def start(
    module: str,
    arguments: Sequence[str],
    *,
    output: int,
    environment: Mapping[str, str],
    folder: Path | None = None,
    passed: Sequence[int] = (),
    leads: bool = False,
    under: Sequence[str] = (),
    loads: tuple[str, ...] = (),
) -> Process:
    """Run a module's `main(arguments)`.

    Args:
        output: the file that standard output and error go to; standard input is empty.
        environment: all its variables.
        folder: where it runs; where this process does, if None.
        passed: files that it finds under the same numbers; no others are open in it.
        leads: in a session, and so a process group, of its own. What is left of that is killed when the
            process ends.
        under: a program and its options that run it.
        loads: modules that it and others take long to import: those that name the same share a server. Such
            processes see no GPU.

    Raises:
        OSError: the system has no room for another process.
    """
    folder = folder or Path.cwd()
    if not under and _can_serve():
        job = Job(module, list(arguments), dict(environment), str(folder.absolute()), list(passed))
        for _ in range(2):  # the server may have been killed since
            server = _current_server(loads)
            try:
                return server.start(job, output, leads=leads)
            except (ConnectionError, TimeoutError):
                _drop(server)
    return subprocess.Popen(
        [*under, sys.executable, "-m", module, *arguments],
        pass_fds=passed,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env=environment,
        start_new_session=leads,
    )


class _Child:
    """The handle on a child of a server, as `Process` says."""

    def __init__(self, pid: int, handle: int, control: int) -> None:
        self.pid = pid
        self._handle = handle  # a pidfd: its number cannot become another process's
        self._control = control  # the server tells here how it ended
        self._code: int | None = None

    def __del__(self) -> None:
        os.close(self._handle)
        os.close(self._control)

    def poll(self) -> int | None:
        return self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        return code

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def _look(self, seconds: float | None) -> int | None:
        if self._code is None and _readable(self._control, seconds):
            told = os.read(self._control, CODE.size)
            if told:
                (self._code,) = CODE.unpack(told)
            else:  # the server was killed, and its children with it
                self.kill()
                _readable(self._handle, None)
                self._code = -signal.SIGKILL
        return self._code


class _Server:
    """A running server.

    Args:
        requests: the socket on which it is asked.
        process: None where it was forked from this process.
    """

    def __init__(self, requests: socket.socket, process: subprocess.Popen[bytes] | None) -> None:
        self.requests = requests
        self.process = process

    @staticmethod
    def begun(loads: Sequence[str]) -> _Server:
        asking, asked = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with asked:
            process = subprocess.Popen(
                [sys.executable, "-m", "tilewright.processes.server", str(asked.fileno()), *loads],
                pass_fds=[asked.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**WAITING, **os.environ, **(COMPILING if loads else {})},
            )
        return _Server(asking, process)

    def start(self, job: Job, output: int, *, leads: bool) -> _Child:
        """Raises ConnectionError or TimeoutError where the server does not do it, OSError where it cannot."""
        control, other = socket.socketpair()
        with control:
            control.settimeout(START_SECONDS)
            with other:
                files = [other.fileno(), output, *job.descriptors]
                socket.send_fds(self.requests, [LEADS if leads else FOLLOWS], files)
            control.sendall(json.dumps(asdict(job)).encode())
            control.shutdown(socket.SHUT_WR)
            told, handles, _, _ = socket.recv_fds(control, CODE.size, 1)
            if not told:
                raise ConnectionError("the server ended")
            (pid,) = CODE.unpack(told)
            if pid < 0:
                raise OSError(-pid, os.strerror(-pid))
            control.settimeout(None)
            return _Child(pid, handles[0], control.detach())

    def end(self) -> None:
        """End it, and all its children with it."""
        self.requests.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()


_servers: dict[tuple[str, ...], _Server] = {}  # by the modules that they were asked to load
_lock = threading.Lock()


def adopt(requests: socket.socket) -> None:
    """From here on ask the server at the other end, which was forked from this process."""
    _servers[()] = _Server(requests, None)


def _current_server(loads: tuple[str, ...]) -> _Server:
    with _lock:
        if loads not in _servers:
            _servers[loads] = _Server.begun(loads)
        return _servers[loads]


def _drop(server: _Server) -> None:
    """Have the next start begin another one."""
    with _lock:
        for loads, known in list(_servers.items()):
            if known is server:
                del _servers[loads]
    server.end()


@functools.cache
def _can_serve() -> bool:
    if sys.platform != "linux":
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


def _readable(descriptor: int, seconds: float | None) -> bool:
    """Whether there is something to read, or the end of it, within so many seconds; None waits for it."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(None if seconds is None else 1000 * seconds))


def _end() -> None:
    for server in list(_servers.values()):
        _drop(server)


def _after_fork() -> None:
    """A forked process leaves its parent's server to the parent."""
    global _lock
    _lock = threading.Lock()
    for server in _servers.values():
        server.requests.close()
        if server.process is not None:
            server.process.returncode = 0  # not for this process to wait for
    _servers.clear()


atexit.register(_end)
if sys.platform != "win32":
    os.register_at_fork(after_in_child=_after_fork)
