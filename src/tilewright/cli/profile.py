"""`tilewright profile`: what Nsight Compute reads of one forward, and what holds each kernel back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tilewright.cli.common import (
    Code,
    console,
    console_error,
    emit,
    entry_option,
    gpu_option,
    json_option,
    log,
    map_option,
    problem_option,
    read_code,
    resolve_gpu,
)
from tilewright.errors import InputError, KernelFileError, SetupError, Where
from tilewright.evidence import Evidence
from tilewright.gpu.model import Gpu
from tilewright.problem import Problem
from tilewright.profile.api import LAUNCHES, profile
from tilewright.profile.metrics import meaning, wanted
from tilewright.profile.model import KernelProfile, Profile
from tilewright.request import profile_block
from tilewright.stages.bottleneck import Diagnosis

EPILOG = (
    "Example: tilewright profile examples/vanilla_rnn/current.py "
    "--problem examples/vanilla_rnn/problem.py -o profile.txt"
)


@dataclass(frozen=True)
class Profiled:
    """What `--json` prints.

    Args:
        profile: what the counters say; None where they could not be read, `missing` says why.
        forward: how far the whole forward is from what no implementation can beat.
        kernels: what holds each back, that which takes most of the time first.
    """

    code: str
    problem: str
    gpu: str
    profile: Profile | None
    missing: str
    forward: tuple[str, ...]
    kernels: tuple[Diagnosis, ...]


@click.command(epilog=EPILOG)
@click.argument("path", metavar="[CODE.py]", required=False)
@entry_option
@problem_option
@map_option
@gpu_option
@click.option("--stage", metavar="NAME", help="Collect the metrics of this stage; default: of all stages.")
@click.option(
    "--launches",
    type=click.IntRange(1),
    default=LAUNCHES,
    show_default=True,
    help="Launches of each kernel to look at; its figures are their medians.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the metrics as a request carries them; `tilewright optimize --profile FILE` reads them.",
)
@click.option(
    "--report",
    metavar="FILE.ncu-rep",
    type=click.Path(path_type=Path),
    help="Keep Nsight Compute's own report, for its viewer.",
)
@json_option
def command(
    path: str | None,
    entry: str | None,
    problem: Problem,
    pairs: tuple[str, ...],
    gpu: str | None,
    stage: str | None,
    launches: int,
    output: Path | None,
    report: Path | None,
    as_json: bool,
) -> int:
    """Run Nsight Compute over one forward of CODE.py, and say what holds each kernel back.

    Counters are read on the GPU in this machine, of every kernel of one forward after one to warm up. Where
    they cannot be read the diagnosis rests on what is compiled and estimated, and says so: that is all there
    is for a GPU that is not here. Exit code 2 when the GPU is here and its counters cannot be read (no Nsight
    Compute, no ncu-report, no permission), or when -o or --report asks for what only counters give.
    """
    from tilewright.gpu.plugged import plugged_in

    code = read_code(path, entry, problem, pairs, judged=False)
    wanted(stage)
    for file in (output, report):
        if file is not None and file.exists():
            raise InputError("exists already", where=Where(file), mend="give another FILE")
    target = resolve_gpu(gpu)
    profiled = _profiled(code, problem, target, stage, launches, report)
    if as_json:
        emit(profiled)
    else:
        _show(profiled)
    if profiled.profile is not None:
        if output is not None:
            _write(output, profile_block(profiled.profile.figures, _note(profiled.profile)) + "\n")
        return 0
    here = plugged_in()
    if output is None and report is None and (here is None or here.name != target.name):
        log.print(Text(f"no counters: {profiled.missing}"))
        return 0
    console_error(f"no counters: {profiled.missing}")
    return 2


def _profiled(
    code: Code,
    problem: Problem,
    target: Gpu,
    stage: str | None,
    launches: int,
    report: Path | None,
) -> Profiled:
    from tilewright.inspect.api import inspect
    from tilewright.kernelfile import KernelFile
    from tilewright.stages.bottleneck import Counters, diagnose
    from tilewright.stages.catalogue import stages
    from tilewright.stages.diagnosis import forward

    kind = "single" if len(KernelFile.parse(code.source, code.path).kernels) == 1 else "fusion"
    read, inspection, missing, unknown = None, None, "", None
    with log.status(f"compiling for {target.name}") as status:
        try:
            inspection = inspect(problem, code.source, target, path=code.path)
        except KernelFileError as error:  # counters need no recording; without them there is nothing to say
            unknown = error
        status.update("profiling one forward")
        try:
            read = profile(
                problem, code.source, target, path=code.path, stage=stage, launches=launches, keep=report
            )
        except SetupError as error:
            missing = str(error)
    if unknown is not None and read is None:
        raise unknown
    if unknown is not None:
        log.print(Text(f"nothing compiled is known: {unknown}"))
    counters = Counters()
    if read is not None:
        counted = {kernel.name: kernel.launches for kernel in read.kernels}
        counters = Counters(read.figures, Evidence.MEASURED, counted)
    found = diagnose(inspection, counters, target, stages(kind))
    return Profiled(code.path, str(problem.path), target.name, read, missing, forward(inspection), found)


def _note(profile: Profile) -> str:
    """Where a block's figures are from; no colon in it, which could make a heading of it."""
    return f"Nsight Compute on {profile.gpu}, one forward, caches flushed before each kernel"


def _write(output: Path, text: str) -> None:
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"cannot be written ({error.strerror})", where=Where(output), mend="give another -o FILE"
        ) from None
    log.print(f"wrote {output}")


def _show(profiled: Profiled) -> None:
    if profiled.profile is not None:
        for kernel in profiled.profile.kernels:
            console.print(_counters(kernel))
        for note in profiled.profile.notes:
            console.print(Text(note, style="dim"))
        click.echo(profile_block(profiled.profile.figures, _note(profiled.profile)) + "\n")
    console.print(Text(f"What holds each kernel back on {profiled.gpu}", style="bold"))
    for sentence in profiled.forward:
        console.print(Text(f"one forward: {sentence}"))
    for diagnosis in profiled.kernels:
        console.print(_diagnosis(diagnosis))


def _counters(kernel: KernelProfile) -> RenderableType:
    """A kernel's metrics: value, unit, name, and below the name what it means."""
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for reading in kernel.readings:
        name = Text(reading.metric).append(f"\n{meaning(reading.metric)}", style="dim")
        table.add_row(f"{reading.value:,.6g}", reading.unit, name)
    title = Text(f"{kernel.name}: {kernel.read} of {kernel.launches} launches read", style="bold")
    return Group(title, table, Text(""))


def _diagnosis(diagnosis: Diagnosis) -> RenderableType:
    """The kernel, a line for each reason, and the stages that can do something about it."""
    lines = Text(f"\n{diagnosis.title}", style="bold")
    for reason in diagnosis.reasons:
        lines.append(f"\n  {reason}", style="not bold")
    lines.append(f"\n  stages that can help: {', '.join(diagnosis.stages) or 'none'}", style="not bold dim")
    return lines
