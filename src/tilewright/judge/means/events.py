"""The interpreter's audit events that a kernel file has no business causing, and what to say of each.

The events are listed at https://docs.python.org/3/library/audit_events.html.
"""

from __future__ import annotations

import _thread
import os
import sys
import threading
import types
from enum import Enum, auto
from typing import Any

from tilewright.judge.means.findings import Kind


class Reach(Enum):
    """When an event counts as the candidate's."""

    CALLED = auto()  # called by it, through Python's own library at most
    ASKED = auto()  # the same, but only through modules made for asking: others have purposes of their own
    CAUSED = auto()  # the same, or through a package that is not busy importing


FRAMES = frozenset({"tb_frame", "gi_frame", "cr_frame", "ag_frame"})
FUNCTION_PARTS = frozenset({"__code__", "__defaults__", "__kwdefaults__", "__closure__"})

EVENTS: dict[str, tuple[Kind, Reach, str]] = {
    "_thread.start_new_thread": (Kind.THREAD, Reach.CALLED, "starts a thread"),
    "_thread.start_joinable_thread": (Kind.THREAD, Reach.CALLED, "starts a thread"),
    **dict.fromkeys(
        (
            "subprocess.Popen",
            "os.exec",
            "os.fork",
            "os.forkpty",
            "os.posix_spawn",
            "os.spawn",
            "os.startfile",
            "os.system",
            "pty.spawn",
        ),
        (Kind.PROCESS, Reach.CAUSED, "starts a process"),
    ),
    "os.kill": (Kind.PROCESS, Reach.CAUSED, "sends a signal"),
    "os.killpg": (Kind.PROCESS, Reach.CAUSED, "sends a signal"),
    "signal.pthread_kill": (Kind.PROCESS, Reach.CALLED, "sends a signal"),
    "resource.setrlimit": (Kind.PROCESS, Reach.CALLED, "changes its limits"),
    "resource.prlimit": (Kind.PROCESS, Reach.CALLED, "changes its limits"),
    **dict.fromkeys(
        ("sys._getframe", "sys._getframemodulename", "sys._current_frames", "sys._current_exceptions"),
        (Kind.PROBE, Reach.ASKED, "reads stack frames"),
    ),
    **dict.fromkeys(
        ("gc.get_objects", "gc.get_referrers", "gc.get_referents"),
        (Kind.PROBE, Reach.CALLED, "walks the garbage collector's objects"),
    ),
    "object.__getattr__": (Kind.PROBE, Reach.ASKED, "reads stack frames"),
    "object.__setattr__": (Kind.PATCH, Reach.ASKED, "rewrites a function in place"),
    "sys.addaudithook": (Kind.PROBE, Reach.CALLED, "listens to the interpreter's events"),
    "sys.setprofile": (Kind.PROBE, Reach.CALLED, "listens to every call"),
    "sys.settrace": (Kind.PROBE, Reach.CALLED, "listens to every line"),
    **dict.fromkeys(
        (
            "glob.glob",
            "os.link",
            "os.listdir",
            "os.mkdir",
            "os.remove",
            "os.rename",
            "os.rmdir",
            "os.scandir",
            "os.symlink",
            "os.truncate",
            "tempfile.mkdtemp",
            "tempfile.mkstemp",
        ),
        (Kind.FILES, Reach.CAUSED, "reads or changes folders"),
    ),
    "mmap.__new__": (Kind.FILES, Reach.CALLED, "maps memory"),
    "open": (Kind.FILES, Reach.CAUSED, "opens"),
    "sqlite3.connect": (Kind.FILES, Reach.CAUSED, "opens"),
}
FAMILIES: dict[str, tuple[Kind, Reach, str]] = {
    "ctypes": (Kind.PROBE, Reach.CALLED, "reaches into memory"),
    "http": (Kind.NETWORK, Reach.CAUSED, "uses the network"),
    "shutil": (Kind.FILES, Reach.CAUSED, "reads or changes folders"),
    "socket": (Kind.NETWORK, Reach.CAUSED, "uses the network"),
    "urllib": (Kind.NETWORK, Reach.CAUSED, "uses the network"),
}


def tell_of_threads() -> None:
    """Raise the event that Python 3.12 and later raise by themselves."""
    original = _thread.start_new_thread

    def start_new_thread(function: Any, args: Any, *kwargs: Any) -> int:
        sys.audit("_thread.start_new_thread", function, args, *(kwargs or ({},)))
        return original(function, args, *kwargs)

    _thread.start_new_thread = _thread.start_new = start_new_thread
    setattr(threading, "_start_new_thread", start_new_thread)  # noqa: B010  the name it was imported under


def thread_target(args: tuple[Any, ...]) -> types.CodeType | None:
    """The code that a new thread is to run, through `threading.Thread` and `functools.partial`."""
    function = args[0]
    thread = getattr(function, "__self__", None)
    if thread is not None and hasattr(thread, "_target"):
        function = thread._target or type(thread).run
    function = getattr(function, "func", function)
    code = getattr(function, "__code__", None)
    return code if isinstance(code, types.CodeType) else None


def describe(event: str, args: tuple[Any, ...], target: types.CodeType | None) -> str | None:
    """What follows the place and the verb; None where the event is nobody's concern."""
    match event:
        case "_thread.start_new_thread" | "_thread.start_joinable_thread":
            return f" ({target.co_name})" if target else ""
        case "object.__getattr__":
            return f": {args[1]}"
        case "object.__setattr__":
            function, part = args[0], args[1]
            if part not in FUNCTION_PARTS or not isinstance(function, types.FunctionType):
                return None
            return f": {function.__module__}.{function.__qualname__}.{part}"
        case "open":
            path, mode, flags = args
            writes = any(letter in "wax+" for letter in mode or "") or bool(
                mode is None and (flags or 0) & (os.O_WRONLY | os.O_RDWR)
            )
            named = f"file descriptor {path}" if isinstance(path, int) else os.fsdecode(path)
            return f" {named} for {'writing' if writes else 'reading'}"
        case "subprocess.Popen" | "os.system":
            command = args[1] if event == "subprocess.Popen" else os.fsdecode(args[0])
            words = command.split() if isinstance(command, str) else " ".join(map(str, command)).split()
            return f": {' '.join(words)}"[:100]
        case _:
            return f": {event}"
