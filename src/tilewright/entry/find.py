"""Where an entry's text is: "FILE.py:FUNCTION", "package.module:FUNCTION", or a Python callable itself.

Nothing is imported to find out.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilewright.errors import InputError, KernelFileError
from tilewright.problem import read_text

FORM = "FILE.py:FUNCTION or package.module:FUNCTION"


@dataclass(frozen=True)
class Entry:
    """A callable that does the job of Model's forward, by its name in the text of its file."""

    source: str
    path: Path
    name: str

    def __str__(self) -> str:
        return f"{self.path}:{self.name}"


def find(entry: str | Callable[..., Any]) -> Entry:
    """The file and the name that an entry stands for.

    Raises:
        InputError: it has not the form, or there is no such module, or a callable has no name in a file.
        KernelFileError: the file cannot be read.
    """
    path, name = _written(entry) if isinstance(entry, str) else _held(entry)
    return Entry(read_text(path, KernelFileError, "Python file"), path, name)


def _written(entry: str) -> tuple[Path, str]:
    place, _, name = entry.rpartition(":")
    name = name.removesuffix(".apply")
    if not place or not name.isidentifier():
        raise InputError(f"the entry {entry!r} is not {FORM}", mend="write it like kernels.py:linear")
    if place.endswith(".py") or os.sep in place:
        return Path(place), name
    relative = Path(*place.split("."))
    for root in (Path.cwd(), *map(Path, sys.path)):
        for path in (root / relative.with_suffix(".py"), root / relative / "__init__.py"):
            if path.is_file():
                return path, name
    raise InputError(f"no module {place} on Python's path", mend=f"name its file instead: FILE.py:{name}")


def _held(function: Callable[..., Any]) -> tuple[Path, str]:
    owner = getattr(function, "__self__", None)
    if isinstance(owner, type) and getattr(function, "__name__", "") == "apply":
        function = owner  # a torch.autograd.Function, handed over as its apply
    function = inspect.unwrap(function)
    if not inspect.isfunction(function) and not inspect.isclass(function):
        raise InputError(
            f"{function!r} is no function written in Python", mend="name it in its file: FILE.py:FUNCTION"
        )
    name = function.__qualname__
    if not name.isidentifier():
        raise InputError(
            f"{name} is not defined at the top level of a module", mend="give a function that is"
        )
    if getattr(function, "__module__", None) == "__main__":
        raise InputError(
            f"{name} is defined in the script that runs",
            mend="move it into a module, and import it from there",
        )
    try:
        file = inspect.getsourcefile(function)
    except TypeError:  # a class that is built in
        file = None
    if file is None:
        raise InputError(f"{name} has no Python source", mend="give a function that is written in a file")
    return Path(file), name
