"""From an entry and a problem to a ModelNew file."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilewright.entry.callee import Callee, read_callee
from tilewright.entry.find import Entry, find
from tilewright.entry.match import Matched, Source, left_out, match
from tilewright.entry.text import module_text
from tilewright.entry.work import Members, members_of
from tilewright.errors import KernelFileError, ProblemError, Where
from tilewright.kernelfile import KernelFile
from tilewright.kernelfile.constructor import Constructor, attribute, read_constructor
from tilewright.kernelfile.scopes import with_defaults
from tilewright.problem import Problem, top_level_names


@dataclass(frozen=True)
class Made:
    """A ModelNew file made from an entry.

    Args:
        source: its text.
        path: the entry's file, which messages call it by.
        note: what ModelNew's forward returns, and what it leaves out, for people.
        mapping: what of the user's map names no argument of the entry: parameters, for the judge.
    """

    source: str
    path: Path
    note: str
    mapping: Mapping[str, str]


def model_new(
    problem: Problem, entry: str | Callable[..., Any], mapping: Mapping[str, str] | None = None
) -> Made:
    """The ModelNew file of a Python callable that does the job of Model's forward.

    Its text stays as it is; imports that it lacks stand below its own, in place of empty lines, so that
    lines keep their numbers. Each argument takes what Model has under its name: an input of forward, a
    parameter or buffer, another attribute, an argument of the constructor; forward's inputs fill what is
    left in their order. An argument with a default may be left out.

    Args:
        entry: "FILE.py:FUNCTION", "package.module:FUNCTION", or the callable: a function, or a
            torch.autograd.Function or its apply.
        mapping: argument → what it takes ("norm.weight"), where names do not say.

    Raises:
        KernelFileError: no such file or function, or it cannot stand alone in one file.
        ProblemError: Model's constructor cannot be taken over, or Model cannot be built.
        AmbiguousParameters: an argument is left over, or an input of forward is.
        InputError: the entry is neither, or has no source.
    """
    found = find(entry)
    file = KernelFile.parse(found.source, found.path)
    tree = ast.parse(found.source)
    _check_alone(found, file, tree)
    callee = read_callee(found, tree)
    constructor = read_constructor(problem)
    members = members_of(problem)
    sources = _sources(problem, constructor, members)
    names = {argument.name for argument in callee.arguments}
    given = {new: old for new, old in (mapping or {}).items() if new in names}
    matched = match(callee.arguments, sources, given, found.name)
    call, stored = _call(callee, matched, members)
    text = module_text(found, tree, constructor, call, stored)
    note = f"made from {found}: ModelNew.forward returns {call}"
    if unused := left_out(sources, matched):
        note += f"; it takes no {', '.join(unused)}"
    return Made(text, found.path, note, {new: o for new, o in (mapping or {}).items() if new not in names})


def _check_alone(entry: Entry, file: KernelFile, tree: ast.Module) -> None:
    """Refuse a file that needs no entry, or that other modules of its package must stand beside.

    Raises:
        KernelFileError: it is one of these.
    """
    if "ModelNew" in top_level_names(tree):
        raise KernelFileError(
            "has a ModelNew already", where=Where(entry.path), mend="give the file itself, without an entry"
        )
    if entry.name in {kernel.name for kernel in file.kernels}:
        raise KernelFileError(
            f"{entry.name} is a kernel",
            where=Where(entry.path, file.kernel(entry.name).line),
            mend="name the function that launches it",
        )
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            raise KernelFileError(
                f"`{ast.unparse(node)}` is relative to its package, and a ModelNew file stands alone",
                where=Where(entry.path, node.lineno),
                mend="put what it needs into the file, or import it by its full name",
            )


def _sources(problem: Problem, constructor: Constructor, members: Members) -> list[Source]:
    """Everything that an argument can take; of one name, the one to prefer first."""
    forward = constructor.forward
    if forward.vararg is not None:
        raise ProblemError(
            f"Model.forward takes *{forward.vararg.arg}",
            where=Where(problem.path, forward.vararg.lineno),
            mend="name its inputs",
        )
    only = {a.arg for a in [*forward.kwonlyargs, *([forward.kwarg] if forward.kwarg else [])]}
    inputs = [(a, default) for a, default in with_defaults(forward) if a.arg not in only][1:]
    sources = [Source(a.arg, "input", a.arg, default is None) for a, default in inputs]
    for name, shape in members.tensors.items():
        sources.append(Source(name, "tensor", f"{name} [{', '.join(map(str, shape))}]"))
    sources += [Source(name, "value", f"{name}={text}") for name, text in members.values.items()]
    return sources + [Source(name, "constructor", name) for name in _constructor_arguments(constructor)]


def _constructor_arguments(constructor: Constructor) -> list[str]:
    for node in ast.parse("\n\n".join(constructor.methods)).body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            rest = {a.arg for a in (node.args.vararg, node.args.kwarg) if a}
            return [a.arg for a, _ in with_defaults(node.args) if a.arg not in rest][1:]
    return []


def _call(callee: Callee, matched: Matched, members: Members) -> tuple[str, dict[str, str]]:
    """The call as forward makes it, and what the constructor has to keep for it: attribute → argument."""
    stored: dict[str, str] = {}
    last = max((i for i, a in enumerate(callee.arguments) if a.name in matched), default=-1)
    written, in_order = [], True
    for index, argument in enumerate(callee.arguments):
        source = matched.get(argument.name)
        if source is not None:
            text = _expression(source, members, stored)
        elif index > last or argument.keyword:
            in_order = in_order and index > last
            continue
        else:  # a default before an argument that can only be given by position
            text = argument.default or ""
        written.append(text if in_order and argument.positional else f"{argument.name}={text}")
    return f"{callee.call}({', '.join(written)})", stored


def _expression(source: Source, members: Members, stored: dict[str, str]) -> str:
    if source.kind == "input":
        return source.name
    if source.kind == "constructor":
        name = source.name
        while name in members.taken:
            name += "_"
        stored[name] = source.name
        return f"self.{name}"
    return attribute(source.name)
