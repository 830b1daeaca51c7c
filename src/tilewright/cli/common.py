"""What every command shares: options, and the two streams it writes to.

Results go to stdout, as a table for people or as one JSON document with --json. Progress, notes
and errors go to stderr.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from tilewright.errors import InputError, SetupError
from tilewright.gpu.model import Gpu
from tilewright.judge.means.findings import Kind
from tilewright.problem import Problem
from tilewright.serial import to_json

Command = TypeVar("Command", bound=Callable[..., Any])

console = Console(highlight=False)
log = Console(stderr=True, highlight=False)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
gpu_option = click.option("--gpu", metavar="NAME", help="The target, as `tilewright gpus` lists it.")
map_option = click.option(
    "--map",
    "pairs",
    metavar="NEW=REFERENCE",
    multiple=True,
    help="A parameter of ModelNew, or an argument of --entry, and what of Model it takes its value from; "
    "repeatable.",
)
entry_option = click.option(
    "--entry",
    metavar="FILE.py:FUNCTION",
    help="In place of CODE.py: a function, or torch.autograd.Function, that does the job of Model's forward; "
    "also as package.module:FUNCTION.",
)
allow_option = click.option(
    "--allow",
    metavar="KIND,...",
    default="",
    callback=lambda ctx, param, value: _kinds(value),
    help="What a file may do beside computing: library, fixed-sizes, contiguous-only, …; all for all.",
)


def problem_option(command: Command) -> Command:
    """Adds --problem FILE and hands the command a Problem named `problem`."""
    option = click.option(
        "--problem",
        metavar="PROBLEM.py",
        required=True,
        callback=lambda ctx, param, value: Problem.from_file(value),
        help="The problem file: Model, get_inputs, get_init_inputs.",
    )
    return option(command)


def _kinds(text: str) -> tuple[Kind, ...]:
    """Kinds of findings, separated by commas.

    Raises:
        InputError: there is no such kind.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if names == ["all"]:
        return tuple(Kind)
    for name in names:
        if name not in set(Kind):
            raise InputError(f"--allow {name}: no such kind", mend=f"choose from {', '.join(Kind)}, or all")
    return tuple(Kind(name) for name in names)


def parameter_map(pairs: tuple[str, ...]) -> dict[str, str]:
    """`NEW=REFERENCE` pairs as a dictionary.

    Raises:
        InputError: a pair has no equals sign.
    """
    mapping: dict[str, str] = {}
    for pair in pairs:
        new, equals, reference = pair.partition("=")
        if not equals or not new or not reference:
            raise InputError(f"--map {pair!r} is not a pair", mend="write --map NEW=REFERENCE")
        mapping[new.strip()] = reference.strip()
    return mapping


def resolve_gpu(name: str | None) -> Gpu:
    """The GPU named, else the one plugged in.

    Raises:
        UnknownGpu: no GPU of that name is known.
        SetupError: none was named and none is plugged in.
    """
    from tilewright.gpu.catalogue import find
    from tilewright.gpu.plugged import plugged_in

    if name is not None:
        return find(name)
    gpu = plugged_in()
    if gpu is None:
        raise SetupError(
            "no GPU is plugged in and none was named", mend="name the target, for example --gpu h100"
        )
    return gpu


@dataclass(frozen=True)
class Code:
    """A ModelNew file that a command was given.

    Args:
        label: as the user named it; path: of the file, for messages.
        mapping: parameter of ModelNew → parameter of Model, as the user said.
    """

    label: str
    path: str
    source: str
    mapping: dict[str, str]


def read_code(
    path: str | None, entry: str | None, problem: Problem, pairs: tuple[str, ...], *, judged: bool = True
) -> Code:
    """The text of CODE.py, or the one made from --entry, which a line on stderr then describes.

    Args:
        pairs: of --map.
        judged: whether parameters are matched later; otherwise --map is for the entry alone.

    Raises:
        InputError: both were given, or neither; the entry cannot be used; a pair of --map has no use.
        KernelFileError: the file cannot be read.
    """
    if (path is None) == (entry is None):
        raise InputError(
            "CODE.py and --entry both give the code" if path is not None else "there is no code",
            mend="give CODE.py, or a function in its place with --entry FILE.py:FUNCTION",
        )
    mapping = parameter_map(pairs)
    if path is not None:
        code = Code(path, path, read_source(path), mapping)
    else:
        from tilewright.entry import model_new

        assert entry is not None
        made = model_new(problem, entry, mapping)
        log.print(made.note, markup=False, soft_wrap=True, style="dim")
        code = Code(entry, str(made.path), made.source, dict(made.mapping))
    if code.mapping and not judged:
        unused = next(iter(code.mapping))
        raise InputError(f"--map {unused}: no argument of an entry", mend="nothing else is matched here")
    return code


def emit(value: Any) -> None:
    """Print a value as the one JSON document on stdout."""
    click.echo(to_json(value))


def console_error(message: str) -> None:
    """One line on stderr."""
    click.echo(f"error: {message}", err=True)


def read_source(path: str) -> str:
    """The text of a candidate file.

    Raises:
        KernelFileError: it cannot be read.
    """
    from tilewright.errors import KernelFileError
    from tilewright.problem import read_text

    return read_text(Path(path), KernelFileError, "ModelNew file")
