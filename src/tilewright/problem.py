"""A problem: a PyTorch reference module and the inputs it is called with.

The file format is KernelBench's: a class `Model(nn.Module)`, a function `get_inputs()` that
returns the list of arguments of one forward, a function `get_init_inputs()` that returns the list
of arguments of the constructor, and any module-level constants they use.

`Problem` is a value: the text and where it came from. Reading one executes nothing. Only a worker
process imports it (`import_source`), because a problem file is code that may hang or crash.
"""

from __future__ import annotations

import ast
import linecache
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilewright.errors import InputError, KernelFileError, ProblemError, Where

REQUIRED = {
    "Model": "add `class Model(nn.Module)` with the reference computation",
    "get_inputs": "add `def get_inputs()` returning the list of arguments of forward",
    "get_init_inputs": "add `def get_init_inputs()` returning the list of arguments of Model, or []",
}


@dataclass(frozen=True)
class Problem:
    """The text of a problem file, checked for its three pieces but not executed."""

    source: str
    path: Path

    @classmethod
    def from_file(cls, path: str | Path) -> Problem:
        """Read a problem file.

        Raises:
            ProblemError: no such file, not Python, or Model, get_inputs or get_init_inputs missing.
        """
        path = Path(path)
        return cls.from_source(read_text(path, ProblemError, "problem file"), path)

    @classmethod
    def from_source(cls, source: str, path: str | Path = "problem.py") -> Problem:
        """Take the text of a problem; `path` is only what messages call it.

        Raises:
            ProblemError: not Python, or one of the three pieces missing.
        """
        path = Path(path)
        tree = parse(source, path, ProblemError)
        defined = top_level_names(tree)
        for name, mend in REQUIRED.items():
            if name not in defined:
                raise ProblemError(f"no {name} in the problem file", where=Where(path), mend=mend)
        return cls(source, path)


@dataclass(frozen=True)
class ProblemModule:
    """A problem after import, in a worker: the three callables it must define."""

    module: types.ModuleType
    model: Callable[..., Any]
    get_inputs: Callable[[], list[Any]]
    get_init_inputs: Callable[[], list[Any]]


def import_problem(source: str, path: str | Path) -> ProblemModule:
    """Execute a problem's text as a fresh module. For worker processes only.

    Raises:
        ProblemError: the import fails, or a piece is not callable.
    """
    module = import_source(source, path, "tilewright_problem", ProblemError)
    for name, mend in REQUIRED.items():
        if not callable(getattr(module, name, None)):
            raise ProblemError(f"{name} is not callable", where=Where(path), mend=mend)
    return ProblemModule(module, module.Model, module.get_inputs, module.get_init_inputs)


def call_piece(problem: ProblemModule, name: str, path: str | Path) -> list[Any]:
    """Call `get_inputs` or `get_init_inputs` and insist on a list.

    Raises:
        ProblemError: it raises, or returns something other than a list or tuple.
    """
    function = getattr(problem, name)
    try:
        value = function()
    except Exception as error:  # the user's code may raise anything; it is reported with its line
        raise ProblemError(
            f"{name} raises {type(error).__name__}: {error}",
            where=Where(path, line_of(error, str(path))),
            mend=f"make `{name}()` run on its own",
        ) from error
    if not isinstance(value, list | tuple):
        raise ProblemError(
            f"{name} returns {type(value).__name__}, not a list",
            where=Where(path),
            mend=f"return a list of arguments from `{name}()`",
        )
    return list(value)


def import_source(
    source: str, path: str | Path, name: str, error_class: type[InputError]
) -> types.ModuleType:
    """Execute text as a fresh module whose source Triton and tracebacks can find.

    Triton reads a kernel's source back through `inspect`, so the text is registered with linecache
    under its path; the file itself need not exist.

    Raises:
        error_class: the text does not parse or its import fails; the line is named.
    """
    shown = str(path)
    parse(source, path, error_class)
    module = types.ModuleType(name)
    module.__file__ = shown
    linecache.cache[shown] = (len(source), None, source.splitlines(keepends=True), shown)
    sys.modules[name] = module
    try:
        exec(compile(source, shown, "exec"), module.__dict__)
    except Exception as error:  # the user's code may raise anything; it is reported with its line
        raise error_class(
            f"import fails with {type(error).__name__}: {error}",
            where=Where(path, line_of(error, shown)),
            mend="make the file importable on its own",
        ) from error
    return module


def read_text(path: Path, error_class: type[InputError], kind: str) -> str:
    """Read a UTF-8 file.

    Raises:
        error_class: it does not exist, is a folder, cannot be read or is not UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise error_class("no such file", where=Where(path), mend=f"give the path of a {kind}") from None
    except IsADirectoryError:
        raise error_class("is a folder", where=Where(path), mend=f"give the path of a {kind}") from None
    except UnicodeDecodeError:
        raise error_class("is not UTF-8 text", where=Where(path), mend=f"give the path of a {kind}") from None
    except OSError as error:
        raise error_class(
            f"cannot be read ({error.strerror})", where=Where(path), mend="check its permissions"
        ) from None


def parse(source: str, path: str | Path, error_class: type[InputError] = KernelFileError) -> ast.Module:
    """Parse Python text.

    Raises:
        error_class: it is not Python; the line is named.
    """
    try:
        return ast.parse(source, filename=str(path))
    except SyntaxError as error:
        raise error_class(
            f"is not Python: {error.msg}", where=Where(path, error.lineno), mend="mend the syntax there"
        ) from None
    except ValueError as error:  # null bytes
        raise error_class(f"is not Python: {error}", where=Where(path), mend="give a text file") from None


def top_level_names(tree: ast.Module) -> set[str]:
    """Names that a module binds at its top level, also inside `if` and `try`."""
    names: set[str] = set()
    pending: list[ast.stmt] = list(tree.body)
    while pending:
        node = pending.pop()
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
            case ast.Assign():
                bound = (leaf for target in node.targets for leaf in ast.walk(target))
                names.update(leaf.id for leaf in bound if isinstance(leaf, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case ast.Import() | ast.ImportFrom():
                names.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
            case ast.If() | ast.Try() | ast.With():
                for field in ("body", "orelse", "finalbody"):
                    pending.extend(getattr(node, field, []))
                for handler in getattr(node, "handlers", []):
                    pending.extend(handler.body)
            case _:
                pass
    return names


def line_of(error: BaseException, path: str) -> int | None:
    """The deepest line of `path` in an exception's traceback."""
    line = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
