"""`tilewright request`: what a specialist request says."""

from __future__ import annotations

from pathlib import Path

import click
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tilewright.cli.common import console, emit, json_option, log
from tilewright.errors import InputError, Where
from tilewright.problem import read_text
from tilewright.request import Request, compose, read_request, render
from tilewright.runs import read_asked
from tilewright.stages.catalogue import stages


@click.group(epilog="Example: tilewright request show request.txt")
def command() -> None:
    """Read and write specialist requests: a GPU, a stage, today's code and its profile as text."""


@command.command(epilog="Example: tilewright request show request.txt --json")
@click.argument("file", metavar="REQUEST.txt", type=click.Path(path_type=Path))
@json_option
def show(file: Path, as_json: bool) -> None:
    """Print what was understood of a request, and each line that was not."""
    request = read_request(file)
    if as_json:
        emit(request)
        return
    for part in _parts(request):
        console.print(part)


@command.command("render", epilog="Example: tilewright request render --run runs/rnn -o next.txt")
@click.argument("file", metavar="[REQUEST.txt]", type=click.Path(path_type=Path), required=False)
@click.option("--run", metavar="DIR", type=click.Path(path_type=Path), help="Ask for more of a finished run.")
@click.option("--stage", metavar="NAME", help="With --run: the stage to ask for; default: the run's last.")
@click.option(
    "-o", "--output", metavar="FILE", type=click.Path(path_type=Path), help="Write here, not to stdout."
)
def render_command(file: Path | None, run: Path | None, stage: str | None, output: Path | None) -> None:
    """Write a request: REQUEST.txt again in tilewright's own layout, or one made from a run.

    What is written parses to the same values.
    """
    if (file is None) == (run is None):
        raise InputError("a request comes from a file or from a run", mend="give REQUEST.txt or --run DIR")
    text = render(read_request(file) if file is not None else _of_run(run or Path(), stage))
    if output is None:
        click.echo(text, nl=False)
        return
    if output.is_file():
        raise InputError("exists already", where=Where(output), mend="give another -o FILE")
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"cannot be written ({error.strerror})", where=Where(output), mend="give another -o FILE"
        ) from None
    log.print(f"wrote {output}")


def _of_run(folder: Path, stage: str | None) -> Request:
    """A request for one more stage on a run's best file, its GPU and its profile."""
    asked = read_asked(folder)
    catalogue = {s.name: s for s in stages(asked.kind)}
    name = stage or asked.stages[-1]
    if name not in catalogue:
        raise InputError(f"no stage is called {name!r}", mend=f"choose among {', '.join(catalogue)}")
    best = read_text(folder / "best.py", InputError, "finished run")
    return compose(asked.gpu, catalogue[name], best, asked.profile)


def _parts(request: Request) -> list[RenderableType]:
    facts = Table(box=None, show_header=False)
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for label, value in _facts(request):
        facts.add_row(label, Text(value))
    parts: list[RenderableType] = [facts]
    if request.profile:
        parts.append(_profile(request))
    for title, lines in (
        ("Notes", request.notes),
        ("Ignored", tuple(f"line {i.line}: {i.text} ({i.why})" for i in request.ignored)),
    ):
        if lines:
            parts.append(Text(f"\n{title}", style="bold"))
            parts.extend(Text(f"  {line}") for line in lines)
    return parts


def _facts(request: Request) -> list[tuple[str, str]]:
    match = request.match
    stage = (
        f"{match.stage} for {match.kind} models (by: {', '.join(match.keywords)})"
        if match
        else "none of ours"
    )
    limits = ", ".join(f"{t.metric} {t.relation} {t.value:g}" for t in request.thresholds)
    lists = ", ".join(f"{part.title or 'untitled'} ({len(part.items)})" for part in request.guidance)
    code = f"{len(request.code.splitlines())} lines from line {request.code_line}" if request.code else "none"
    return [
        ("GPU", f"{request.gpu.name}; figures: {request.gpu.source}" if request.gpu else "none"),
        ("focus", request.focus or "none"),
        ("stage", stage),
        ("lists", lists or "none"),
        ("limits", limits or "none"),
        ("code", code),
        ("profile", request.profile_note or f"{len(request.profile)} kernels"),
        ("task", " ".join(request.task) or "none"),
        ("not in Triton", ", ".join(request.missing_functions) or "nothing named"),
        ("output rules", str(len(request.output_rules))),
    ]


def _profile(request: Request) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("kernel", "metric"):
        table.add_column(heading, overflow="fold")
    table.add_column("value", justify="right")
    for kernel, metrics in request.profile.items():
        for metric, value in metrics.items():
            table.add_row(Text(kernel or "(unnamed)"), Text(metric), f"{value:g}")
    return table
