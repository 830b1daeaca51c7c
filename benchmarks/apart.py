"""Tasks in processes of their own, each of which takes task after task.

One that dies, hangs or raises costs the task it had, and another takes its place. Standard library only.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar

Task = TypeVar("Task")
Answer = TypeVar("Answer")

SPAWN = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
END_SECONDS = 10.0  # for a process that closed its end of the pipe to be gone


@dataclass(frozen=True)
class Lost:
    """A task without an answer, and why, one line."""

    why: str


@dataclass
class _Helper:
    """A process, this side's end of the pipe to it, and the task it has, to be done by `deadline`."""

    process: SpawnProcess
    pipe: Connection
    task: Any = None
    deadline: float = 0.0

    @classmethod
    def start(cls, function: Callable[[Any], Any]) -> _Helper:
        here, there = SPAWN.Pipe()
        process = SPAWN.Process(target=_serve, args=(there, function), daemon=True)
        process.start()
        there.close()  # the process has its own: when it dies, reading here ends
        return cls(process, here)

    def answer(self) -> Any:
        """What came back, now that there is something to read or nothing will come any more."""
        try:
            return self.pipe.recv()
        except EOFError:
            self.process.join(END_SECONDS)
            return Lost(f"its process died, exit code {self.process.exitcode}")

    def kill(self) -> None:
        self.process.kill()
        self.process.join(END_SECONDS)
        self.pipe.close()


def each(
    function: Callable[[Task], Answer],
    tasks: Sequence[Task],
    *,
    processes: int,
    seconds: float,
    until: float,
) -> Iterator[tuple[Task, Answer | Lost]]:
    """Tasks and answers as they come.

    Args:
        function: what a process makes of a task; both, and the answer, can be pickled.
        seconds: what one task may take, the start of its process included.
        until: at this time on the monotonic clock it ends, whatever is still to come.
    """
    waiting, idle, busy = deque(tasks), list[_Helper](), list[_Helper]()
    try:
        while (waiting or busy) and time.monotonic() < until:
            while waiting and len(busy) < processes:
                helper = idle.pop() if idle else _Helper.start(function)
                helper.task, helper.deadline = waiting.popleft(), time.monotonic() + seconds
                helper.pipe.send(helper.task)
                busy.append(helper)
            first = min(until, *(helper.deadline for helper in busy))
            ready = wait([helper.pipe for helper in busy], max(0.0, first - time.monotonic()))
            for helper in list(busy):
                if helper.pipe in ready:
                    answer = helper.answer()
                elif time.monotonic() >= helper.deadline:
                    answer = Lost(f"not done in {seconds:g} s")
                else:
                    continue
                busy.remove(helper)
                if isinstance(answer, Lost):
                    helper.kill()
                else:
                    idle.append(helper)
                yield helper.task, answer
    finally:
        for helper in (*idle, *busy):
            helper.kill()


def _serve(pipe: Connection, function: Callable[[Any], Any]) -> None:
    """A process's own side: answers until nobody asks; an exception is its last answer."""
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        try:
            answer = function(task)
        except Exception as error:  # noqa: BLE001 - a task may fail in any way, and its answer says how
            said = " ".join(str(error).split())[:200].rstrip(".")
            pipe.send(Lost(f"{type(error).__name__}: {said}"))
            return  # after an error on the GPU nothing else runs in this process
        pipe.send(answer)
