"""Which functions of other modules a candidate has replaced: what each name stood for."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tilewright
from tilewright.judge.means.findings import Finding, Kind

MODULES = (
    "builtins",
    "gc",
    "inspect",
    "numpy",
    "os",
    "signal",
    "subprocess",
    "sys",
    "threading",
    "time",
    "torch",
    "torch.autograd.profiler",
    "torch.cuda",
    "torch.cuda.random",
    "torch.linalg",
    "torch.nn.functional",
    "torch.random",
    "torch.testing",
    "torch.utils._python_dispatch",
    "triton",
    "triton._C.libtriton.interpreter",
    "triton.runtime",
    "triton.runtime.autotuner",
    "triton.runtime.interpreter",
    "triton.runtime.jit",
    "triton.testing",
)
CLASSES = (
    ("torch", "Tensor"),
    ("torch", "Generator"),
    ("torch.cuda", "Event"),
    ("torch.cuda", "Stream"),
    ("torch.nn", "Module"),
    ("triton.compiler.compiler", "CompiledKernel"),
    ("triton.runtime.autotuner", "Autotuner"),
    ("triton.runtime.interpreter", "GridExecutor"),
    ("triton.runtime.interpreter", "InterpretedFunction"),
    ("triton.runtime.interpreter", "InterpreterBuilder"),
    ("triton.runtime.interpreter", "ReduceOps"),
    ("triton.runtime.interpreter", "ScanOps"),
    ("triton.runtime.interpreter", "TensorHandle"),
    ("triton.runtime.jit", "JITFunction"),
)
STREAMS = frozenset({"sys.stdin", "sys.stdout", "sys.stderr"})
OURS = "tilewright"
PACKAGE = str(Path(tilewright.__file__).parent)


class Snapshot:
    """What the watched names stand for at the moment this is made."""

    def __init__(self) -> None:
        self._owners = dict(_owners())
        self._before = {
            f"{place}.{name}": value
            for place, owner in self._owners.items()
            for name, value in _names(owner).items()
            if _watched(f"{place}.{name}", value)
        }
        self._modules = {name: sys.modules[name] for name in self._owners if name in sys.modules}

    def replaced(self) -> tuple[Finding, ...]:
        """One PATCH for every name that stands for something else now; names added since are none."""
        now: dict[str, Any] = {}
        for place, owner in self._owners.items():
            now.update((f"{place}.{name}", value) for name, value in _names(owner).items())
        found = [
            Finding(Kind.PATCH, f"sys.modules[{name!r}] was replaced")
            for name, module in self._modules.items()
            if sys.modules.get(name) is not module
        ]
        for name, value in self._before.items():
            if now.get(name) is not value and not _ordinary(now.get(name), value):
                found.append(Finding(Kind.PATCH, f"{name} was replaced{_by(now.get(name))}"))
        return tuple(found)


def _owners() -> Iterator[tuple[str, Any]]:
    """The watched modules and classes that are loaded, by their full names."""
    for name, module in list(sys.modules.items()):
        if name in MODULES or name.partition(".")[0] == OURS:
            yield name, module
            if name.partition(".")[0] == OURS:
                for value in list(vars(module).values()):
                    if isinstance(value, type) and value.__module__ == name:
                        yield f"{name}.{value.__qualname__}", value
    for module_name, name in CLASSES:
        if module_name in sys.modules:
            yield f"{module_name}.{name}", getattr(sys.modules[module_name], name)


def _names(owner: Any) -> dict[str, Any]:
    """Attributes without running descriptors; of a class the inherited ones too."""
    names: dict[str, Any] = {}
    for base in reversed(owner.__mro__) if isinstance(owner, type) else (owner,):
        names.update(vars(base))
    return names


def _watched(name: str, value: Any) -> bool:
    return callable(value) or isinstance(value, property | staticmethod | classmethod) or name in STREAMS


def _ordinary(value: Any, before: Any) -> bool:
    """Whether the judge put it there, which wraps parts of Triton, or torch did around what it was.

    torch wraps some of its functions when its compiler is first loaded.
    """
    code = getattr(value, "__code__", None)
    if not isinstance(code, types.CodeType):
        return False
    wrapped = getattr(value, "__wrapped__", None) is before
    return code.co_filename.startswith(PACKAGE) or (wrapped and f"{os.sep}torch{os.sep}" in code.co_filename)


def _by(value: Any) -> str:
    code = getattr(value, "__code__", None)
    if isinstance(code, types.CodeType):
        return f" by {code.co_name} ({Path(code.co_filename).name}:{code.co_firstlineno})"
    return ""
