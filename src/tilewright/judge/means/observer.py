"""What a candidate does beside computing, seen from inside its own process.

An audit hook, which nothing in Python can take away again, notes the events that a kernel file has no
business with. An event is the candidate's when its code caused it: a library that reads its own caches,
starts its compiler or looks up who called it is left alone, even where the candidate called the library.

All this runs beside the candidate, which could write over it through raw memory. Nothing that decides
whether an answer is right or fast rests on it.
"""

from __future__ import annotations

import dis
import os
import re
import sys
import sysconfig
import tempfile
import types
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path
from typing import Any

from tilewright.judge.means.events import (
    EVENTS,
    FAMILIES,
    FRAMES,
    Reach,
    describe,
    tell_of_threads,
    thread_target,
)
from tilewright.judge.means.findings import Finding, Kind
from tilewright.judge.means.snapshot import PACKAGE, Snapshot

MOST_FINDINGS = 100  # of a kind are kept; a loop that probes is told by its first


class _Role(Enum):
    """Whose code a stack frame runs."""

    CANDIDATE = auto()
    STANDARD = auto()  # Python's own library: acts for whoever calls it
    LIBRARY = auto()  # another package
    MACHINERY = auto()  # imports, Triton, the judge: act for themselves


ASKING = frozenset({"inspect.py", "traceback.py"})
PROBED_NAMES = re.compile(r"tilewright(_\w+)?(\.\w+)*|TILEWRIGHT_\w+|TRITON_INTERPRET")


class Observer:
    """Watches one candidate in the process it runs in.

    Args:
        candidate_path: the file name that the candidate's code is compiled under.
    """

    def __init__(self, candidate_path: str) -> None:
        self.candidate_path = candidate_path
        self._found: dict[Finding, None] = {}  # in the order seen, each once
        self._roles: dict[str, _Role] = {
            tell_of_threads.__code__.co_filename: _Role.STANDARD,
            candidate_path: _Role.CANDIDATE,
        }
        self._snapshot: Snapshot | None = None
        self._standard = tuple(_folder(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))
        self._packages = _package_folders(self._standard)
        self._left_alone = (*self._packages, *self._standard, *_library_folders())

    def start(self) -> None:
        """From here on the candidate is watched. Once a process: the hook stays until the process ends.

        Call it after torch, Triton and the judge's own modules are loaded, before the candidate is.
        """
        if sys.version_info < (3, 12):
            tell_of_threads()
        self._snapshot = Snapshot()
        sys.addaudithook(self._hook())

    def findings(self) -> tuple[Finding, ...]:
        """What was seen so far, then what has been replaced by now."""
        replaced = self._snapshot.replaced() if self._snapshot else ()
        return (*self._found, *replaced)

    def _hook(self) -> Callable[[str, tuple[Any, ...]], None]:
        note, getframe = self._note, sys._getframe

        def hook(event: str, args: tuple[Any, ...]) -> None:
            if event == "exec":
                note(getframe(0), event, args, None)
                return
            known = EVENTS.get(event) or FAMILIES.get(event.partition(".")[0])
            if known is None:
                return
            if event == "object.__getattr__" and args[1] not in FRAMES:
                return
            if event == "sys._getframe" and args[0].f_code is own_code:
                return  # the hook's own call, two lines below
            note(getframe(0), event, args, known)

        own_code = hook.__code__
        return hook

    def _note(
        self, hook: types.FrameType, event: str, args: tuple[Any, ...], known: tuple[Kind, Reach, str] | None
    ) -> None:
        """Never raises: an exception in an audit hook would surface in the candidate."""
        try:
            if known is None:
                self._read(args[0], hook)
                return
            kind, reach, what = known
            target = thread_target(args) if kind is Kind.THREAD else None
            if event == "open" and isinstance(args[0], int):
                reach = Reach.ASKED  # a descriptor that Python's own library has just made is no file
            frame = self._candidate_frame(hook, reach, args if kind is Kind.FILES else ())
            if frame is None and not (target and self._role(target.co_filename) is _Role.CANDIDATE):
                return
            detail = describe(event, args, target)
            if detail is None:
                return
            self._add(Finding(kind, f"{self._place(frame, target)} {what}{detail}"))
        except Exception:  # noqa: BLE001  see the docstring
            return

    def _candidate_frame(
        self, hook: types.FrameType, reach: Reach, file: tuple[Any, ...]
    ) -> types.FrameType | None:
        """The candidate's frame that the event is laid to, if it is the candidate's doing."""
        frame = hook.f_back
        while frame is not None:
            name = frame.f_code.co_filename
            role = self._role(name)
            if role is _Role.CANDIDATE:
                return frame
            if role is _Role.MACHINERY:
                return None
            if reach is Reach.ASKED and not name.startswith("<") and os.path.basename(name) not in ASKING:  # noqa: PTH119  cheap, per event
                return None
            if role is _Role.LIBRARY and (reach is Reach.CALLED or (file and self._usual(file[0]))):
                return None
            frame = frame.f_back
        return None

    def _role(self, filename: str) -> _Role:
        role = self._roles.get(filename)
        if role is None:
            role = self._roles[filename] = self._judged_by_place(filename)
        return role

    def _judged_by_place(self, filename: str) -> _Role:
        if filename.startswith("<"):
            return _Role.MACHINERY if filename.startswith("<frozen importlib") else _Role.STANDARD
        if filename.startswith(PACKAGE) or f"{os.sep}triton{os.sep}" in filename:
            return _Role.MACHINERY
        if filename.startswith(self._packages):
            return _Role.LIBRARY
        if filename.startswith(self._standard):
            own = ("importlib" + os.sep, "linecache.py", "tokenize.py")
            inside = any(filename.startswith(folder + name) for folder in self._standard for name in own)
            return _Role.MACHINERY if inside else _Role.STANDARD
        return _Role.CANDIDATE  # a file of its own making

    def _usual(self, path: Any) -> bool:
        """Whether a package may open this for itself: its own files, caches, what describes the machine."""
        return isinstance(path, str | bytes) and os.fsdecode(path).startswith(self._left_alone)

    def _read(self, code: Any, hook: types.FrameType) -> None:
        """Look a module of the candidate's over for the names of its judge, just before it is executed."""
        if not isinstance(code, types.CodeType):
            return
        if self._role(code.co_filename) is not _Role.CANDIDATE and (
            not code.co_filename.startswith("<") or self._candidate_frame(hook, Reach.CALLED, ()) is None
        ):
            return
        for line, name in _probed(code):
            place = self._line(code.co_filename, line)
            self._add(Finding(Kind.PROBE, f"{place} names {name}, which tells that it is judged"))

    def _add(self, finding: Finding) -> None:
        if sum(found.kind is finding.kind for found in self._found) < MOST_FINDINGS:
            self._found[finding] = None

    def _place(self, frame: types.FrameType | None, target: types.CodeType | None) -> str:
        if frame is not None:
            return self._line(frame.f_code.co_filename, frame.f_lineno)
        assert target is not None
        return self._line(target.co_filename, target.co_firstlineno)

    def _line(self, filename: str, line: int) -> str:
        return f"line {line}" if filename == self.candidate_path else f"{Path(filename).name}:{line}"


def _probed(code: types.CodeType) -> list[tuple[int, str]]:
    """Lines of a module, and of what it defines, that name the judge or the table of loaded modules."""
    found = []
    line = code.co_firstlineno
    for step in dis.get_instructions(code):
        line = step.positions.lineno if step.positions and step.positions.lineno else line
        name = step.argval
        if isinstance(name, str) and PROBED_NAMES.fullmatch(name):
            found.append((line, name))
        if name == "modules" and step.opname == "LOAD_ATTR" and "sys" in code.co_names:
            found.append((line, "sys.modules"))
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            found += _probed(inner)
    return found


def _folder(path: str | None) -> str:
    return os.path.join(path or os.sep + "nowhere", "")  # noqa: PTH118  keeps the separator at the end


def _package_folders(standard: tuple[str, ...]) -> tuple[str, ...]:
    """Where packages lie: the environment's, what the path names beside it, torch's and numpy's if elsewhere.

    Where the process was started is on the path too, but the candidate may write there.
    """
    folders = {_folder(sysconfig.get_path(name)) for name in ("purelib", "platlib")}
    named = {_folder(str(Path(path).absolute())) for path in sys.path}
    folders |= {path for path in named if not path.startswith(standard)} - {_folder(str(Path.cwd()))}
    for module in ("torch", "numpy"):
        loaded = getattr(sys.modules.get(module), "__file__", None)
        if loaded:
            folders.add(_folder(str(Path(loaded).parents[1])))
    return tuple(sorted(folders))


def _library_folders() -> tuple[str, ...]:
    """Caches of torch and Triton, and the files in which a system describes itself."""
    triton = os.environ.get("TRITON_CACHE_DIR") or str(Path("~/.triton").expanduser())
    inductor = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    inductor = inductor or str(Path(tempfile.gettempdir()) / "torchinductor_")
    return (triton, inductor, *(f"/{name}/" for name in ("proc", "sys", "dev", "etc", "usr", "lib", "opt")))
