"""The server: `python -m tilewright.processes.server REQUESTS MODULE…`; REQUESTS is the number of a socket.

It imports what most processes need, and these modules, once, and forks a child for each request. A request
carries files and whether the child is to lead; what it is for, the child reads itself, so a server knows
nothing of any job. A child that leads has a session of its own, and before it reads its job it forks a server
in turn, from which the processes that it starts will come: they count among its children and end with it.

A server has one thread and never touches a GPU, so that a child can. It ends when nobody is left who could
ask it, and its children with it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tilewright.processes.child import Order, interpreting, run, settled
from tilewright.processes.messages import CODE, LEADS, MOST_FILES

# What takes long and every process needs.
IMPORTED = ("torch", "tilewright.worker", "tilewright.judge.cell.inside", "tilewright.judge.cell.protocol")
# And all of a cell, with Triton. That makes its own library for the interpreter or for the compiler while it
# is imported, as TRITON_INTERPRET says then; where there is a GPU, next to nobody wants the interpreter.
IMPORTED_BESIDE_A_GPU = ("tilewright.judge.cell.subject",)


class _Children:
    """The children of a server that have not ended, each by its pidfd."""

    def __init__(self) -> None:
        self.running: dict[int, tuple[int, socket.socket]] = {}

    def add(self, pid: int, control: socket.socket) -> int:
        """Hand a new child's pidfd to whoever asked for it; returns this process's own."""
        handle = os.pidfd_open(pid)
        self.running[handle] = pid, control
        with contextlib.suppress(OSError):  # who asked may be gone
            socket.send_fds(control, [CODE.pack(pid)], [handle])
        return handle

    def reap(self, handle: int) -> None:
        """Kill what an ended child left of a group that it led, and tell who asked for it how it ended."""
        pid, control = self.running.pop(handle)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)  # nobody else's, as the number is not free before the next line
        _, status = os.waitpid(pid, 0)
        os.close(handle)
        with control, contextlib.suppress(OSError):
            control.send(CODE.pack(os.waitstatus_to_exitcode(status)))

    def close(self) -> None:
        """Let go of all of them, as a new one must."""
        for handle, (_, control) in self.running.items():
            os.close(handle)
            control.close()


def serve(requests: socket.socket) -> Order:
    """Fork a child for each request. Returns in the children alone."""
    server, children, poller = os.getpid(), _Children(), select.poll()
    poller.register(requests, select.POLLIN)
    while True:
        for descriptor, _ in poller.poll():
            if descriptor != requests.fileno():
                poller.unregister(descriptor)
                children.reap(descriptor)
                continue
            asked, files, _, _ = socket.recv_fds(requests, len(LEADS), MOST_FILES)
            if not asked:
                os._exit(0)
            order = Order(socket.socket(fileno=files[0]), files[1:], server)
            try:
                pid = os.fork()
            except OSError as error:
                order.control.send(CODE.pack(-error.errno if error.errno else -1))
                order.close()
                continue
            if not pid:
                requests.close()
                children.close()
                return _leading(order) if asked == LEADS else order
            order.close(but_control=True)
            poller.register(children.add(pid, order.control), select.POLLIN)


def _leading(order: Order) -> Order:
    """Lead a session, with a server of its own in it. Returns in that server's children too."""
    os.setsid()
    asking, asked = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork():
        asked.close()
        return replace(order, requests=asking.detach())
    asking.close()
    order.close()
    return serve(asked)


def main(requests: int, modules: Sequence[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever asks
    beside_a_gpu = not interpreting(os.environ) and any(Path("/dev").glob("nvidia[0-9]*"))
    for name in (*IMPORTED, *(IMPORTED_BESIDE_A_GPU if beside_a_gpu else ()), *modules):
        with contextlib.suppress(ImportError):  # whoever cannot do without it says so better
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # children need not walk what they share
    run(settled(serve(socket.socket(fileno=requests))))  # nothing of the server is left on a child's stack


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
