"""Kernels whose programs wait for one another, under Triton's interpreter.

The interpreter runs the programs of a grid one after another, so a program that waits for a later one never
ends. Here each program of such a kernel is a coroutine, a thread that runs only while it holds the baton, and
passes the baton on at every atomic operation, every volatile load and in assembly that waits: the only ways
to wait. Programs run in turn, as if all were resident. Kernels without such operations run as before.
"""

from __future__ import annotations

import inspect
import math
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from triton.runtime import interpreter

IDLE_ROUNDS = 200  # turns of every program without one store: they wait for what nobody writes
STACK_BYTES = 2**20  # of a program's thread
SPIN = "again:"  # the label that assembly which waits goes back to
ATOMICS = ("create_atomic_rmw", "create_atomic_cas", "create_atomic_load", "create_atomic_poll")


class Stuck(Exception):
    """Programs of a grid wait for one another, and none goes on."""


class _Abandoned(BaseException):
    """Ends a program whose launch has failed elsewhere."""


class _Program(threading.Thread):
    """One program of a grid; it runs inside `turn` only."""

    def __init__(self, place: tuple[int, ...], body: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self.place = place
        self.body = body
        self.error: BaseException | None = None
        self.done = False
        self._mine = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        self._abandoned = False

    def run(self) -> None:
        self._mine.acquire()
        try:
            if not self._abandoned:
                self.body()
        except BaseException as error:  # noqa: BLE001  carried over to the thread that launched
            self.error = error
        self.done = True
        self._back.release()

    def turn(self) -> None:
        """Run until the program ends or passes the baton on."""
        interpreter.interpreter_builder.grid_idx = self.place
        self._mine.release()
        self._back.acquire()
        if self.error is not None and not self._abandoned:
            raise self.error

    def pass_on(self) -> None:
        """Called by the program itself."""
        self._back.release()
        self._mine.acquire()
        if self._abandoned:
            raise _Abandoned

    def abandon(self) -> None:
        if not self.done:
            self._abandoned = True
            self._mine.release()
        self.join()


class Baton:
    """What the patched interpreter shares.

    Attributes:
        alone: one program is run to see what it costs. Whatever it waits for is there at once.
        stores: so far, to see whether anything goes on.
    """

    def __init__(self) -> None:
        self.alone = False
        self.stores = 0

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """Inside the block programs run alone and their values mean nothing."""
        self.alone = True
        try:
            yield
        finally:
            self.alone = False


BATON = Baton()


def install() -> None:
    """Teach the interpreter of this process to run such kernels. Once for a process."""
    original = interpreter.GridExecutor.__call__

    def call(executor: Any, *args: Any, **kwargs: Any) -> None:
        if BATON.alone or not waits(executor.fn):
            original(executor, *args, **kwargs)
            return
        body = executor.fn
        programs: list[_Program] = []
        executor.fn = _collector(body, programs)
        try:
            with _stack_size(STACK_BYTES):
                original(executor, *args, **kwargs)
        finally:
            executor.fn = body
            for program in programs:
                program.abandon()

    interpreter.GridExecutor.__call__ = call
    builder = type(interpreter.interpreter_builder)
    for name in ATOMICS:
        if hasattr(builder, name):
            setattr(builder, name, _yielding(getattr(builder, name)))
    builder.create_masked_load = _yielding_load(builder.create_masked_load)
    builder.create_masked_store = _counted(builder.create_masked_store)


def waits(function: Any, seen: frozenset[str] = frozenset()) -> bool:
    """Whether a kernel, or a function it calls, has an atomic operation, a volatile load or a wait."""
    code = function.__code__
    if any(name.startswith("atomic_") for name in code.co_names):
        return True
    if any(isinstance(keywords, tuple) and "volatile" in keywords for keywords in code.co_consts):
        return True
    if any(isinstance(text, str) and SPIN in text for text in code.co_consts):
        return True
    for name in set(code.co_names) - seen:
        called = getattr(function.__globals__.get(name), "fn", None)
        if isinstance(called, types.FunctionType) and waits(called, seen | {name}):
            return True
    return False


def _collector(body: Any, programs: list[_Program]) -> Any:
    """Stands in for the kernel: starts its programs one by one, and with the last one runs all to the end."""

    def start(arguments: dict[str, Any]) -> None:
        builder = interpreter.interpreter_builder
        program = _Program(builder.grid_idx, lambda: body(**arguments))
        program.start()
        programs.append(program)
        if len(programs) == math.prod(builder.grid_dim):
            _run(programs)

    def collect(**arguments: Any) -> None:
        start(arguments)

    # The interpreter reads a kernel's signature, and finds triton.language among its module's globals.
    kernel = types.FunctionType(collect.__code__, body.__globals__, body.__name__, None, collect.__closure__)
    setattr(kernel, "__signature__", inspect.signature(body))  # noqa: B010  mypy knows no such attribute
    return kernel


def _run(programs: list[_Program]) -> None:
    waiting = list(programs)
    idle = 0
    while waiting:
        before = (BATON.stores, len(waiting))
        for program in waiting:
            program.turn()
        waiting = [program for program in waiting if not program.done]
        idle = idle + 1 if before == (BATON.stores, len(waiting)) else 0
        if idle > IDLE_ROUNDS:
            raise Stuck(f"{len(waiting)} programs of a grid wait for one another, and none goes on")


def pass_on() -> None:
    """Let the other programs run; at once where no program is running."""
    program = threading.current_thread()
    if isinstance(program, _Program):
        program.pass_on()


def _yielding(original: Callable[..., Any]) -> Callable[..., Any]:
    def atomic(*args: Any, **kwargs: Any) -> Any:
        pass_on()
        handle = original(*args, **kwargs)
        BATON.stores += any(np.any(getattr(a, "data", 0) != 0) for a in args[3:4])  # adding 0 only reads
        if BATON.alone:
            handle.data = np.full_like(handle.data, _largest(handle.data.dtype))
        return handle

    return atomic


def _yielding_load(original: Callable[..., Any]) -> Callable[..., Any]:
    def load(*args: Any, **kwargs: Any) -> Any:
        volatile = kwargs.get("is_volatile", args[-1])  # the last argument in every version
        if volatile:
            pass_on()
        handle = original(*args, **kwargs)
        if volatile and BATON.alone:
            handle.data = np.zeros_like(handle.data)
        return handle

    return load


def _counted(original: Callable[..., Any]) -> Callable[..., Any]:
    def store(*args: Any, **kwargs: Any) -> Any:
        BATON.stores += 1
        return original(*args, **kwargs)

    return store


def _largest(dtype: np.dtype[Any]) -> Any:
    return np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else np.finfo(dtype).max


@contextmanager
def _stack_size(size: int) -> Iterator[None]:
    before = threading.stack_size(size)
    try:
        yield
    finally:
        threading.stack_size(before)
