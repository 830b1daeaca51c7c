"""`tilewright bench`: files timed against one another on the GPU."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import click
from rich.table import Table

from tilewright.cli.common import (
    Code,
    allow_option,
    console,
    emit,
    gpu_option,
    json_option,
    log,
    map_option,
    problem_option,
    read_code,
    resolve_gpu,
)
from tilewright.errors import InputError, NotTimed, SetupError
from tilewright.inspect.model import Floor
from tilewright.judge.means.findings import Kind
from tilewright.judge.speed.floor import below_floor
from tilewright.judge.speed.model import CONDITIONS, SpeedVerdict
from tilewright.judge.speed.samples import Side, Timing
from tilewright.judge.speed.statistics import median, spread
from tilewright.judge.verdict import Verdict
from tilewright.problem import Problem

EPILOG = (
    "Example: tilewright bench runs/rnn/best.py examples/vanilla_rnn/current.py "
    "--problem examples/vanilla_rnn/problem.py --reference"
)
REFERENCE = "reference"
FOR_MEDIANS = 1 / 6  # of the time for a file; the rest decides whether it is faster than the first


@dataclass(frozen=True)
class Row:
    """One side in figures. Microseconds; spread is the interquartile range.

    Args:
        against_first: whether it is faster than the first side, with every raw block; None for the first.
        problem: why there are no figures; empty when there are.
    """

    label: str
    device_cold_us: float | None = None
    device_cold_spread_us: float | None = None
    device_warm_us: float | None = None
    device_warm_spread_us: float | None = None
    wall_cold_us: float | None = None
    wall_cold_spread_us: float | None = None
    samples: int = 0
    against_first: SpeedVerdict | None = None
    problem: str = ""


@dataclass(frozen=True)
class Bench:
    """What `--json` prints: figures, verdicts, and every raw sample in the order taken."""

    rows: tuple[Row, ...]
    verdicts: dict[str, Verdict]
    timing: Timing


@click.command(epilog=EPILOG)
@click.argument("codes", metavar="[CODE.py]...", nargs=-1)
@click.option(
    "--entry",
    "entries",
    metavar="FILE.py:FUNCTION",
    multiple=True,
    help="A function, or torch.autograd.Function, that does the job of Model's forward, to be timed like a "
    "file; also as package.module:FUNCTION; repeatable.",
)
@problem_option
@click.option("--reference", is_flag=True, help="Also time the problem's own Model, eager.")
@click.option("--precision", type=click.Choice(["float32", "tf32", "float16", "bfloat16"]))
@click.option(
    "--condition",
    type=click.Choice(list(CONDITIONS)),
    default="device time, cold L2",
    show_default=True,
    help="What decides which file is faster.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.1),
    default=60.0,
    show_default=True,
    help="Sampling time for each file: a sixth for its medians, the rest, or what the fewest samples that "
    "show anything take, to decide whether it is faster than the first.",
)
@map_option
@allow_option
@gpu_option
@json_option
def command(
    codes: tuple[str, ...],
    entries: tuple[str, ...],
    problem: Problem,
    reference: bool,
    precision: str | None,
    condition: str,
    seconds: float,
    pairs: tuple[str, ...],
    allow: tuple[Kind, ...],
    gpu: str | None,
    as_json: bool,
) -> int:
    """Time files against one another on the GPU in this machine, and say which differ from the first.

    Medians with their spread are of all sides interleaved. Whether a file is faster than the first is
    decided on samples of its own, with the interval of the ratio and the chance of a false alarm; "no
    difference shown" is an answer. Each file is checked first, and one that is not correct is not timed.
    --precision is what its matrix products may be computed in (default: what the first file uses). Exit
    code 1 when any file could not be timed.
    """
    from tilewright.gpu.plugged import plugged_in
    from tilewright.inspect.api import inspect
    from tilewright.judge.api import check, compare_speed, time_sides
    from tilewright.kernelfile import KernelFile

    given = _given(codes, entries, problem, pairs)
    sources = {code.label: code.source for code in given}
    files = [KernelFile.parse(code.source, code.path) for code in given]
    target = resolve_gpu(gpu) if gpu is not None else None
    plugged = plugged_in()
    if plugged is None:
        raise SetupError(
            "bench needs an NVIDIA GPU, and there is none here",
            mend="`tilewright check` and `tilewright inspect` work without one",
        )
    precision = precision or files[0].precision
    mapping = {new: old for new, old in given[0].mapping.items() if all(new in c.mapping for c in given)}
    verdicts: dict[str, Verdict] = {}
    with log.status("checking") as status:
        for code in given:
            status.update(f"checking {code.label}")
            verdicts[code.label] = check(
                problem,
                code.source,
                path=code.path,
                precision=precision,
                target=target,
                mapping=mapping,
                allow=allow,
            )
        status.update("compiling, for the time that nothing can beat")
        floors = {
            code.label: inspect(problem, code.source, plugged, path=code.path).floor
            for code in given
            if verdicts[code.label].correct
        }
        sides: list[tuple[str, str | None]] = [
            (label, source) for label, source in sources.items() if verdicts[label].correct
        ]
        if reference:
            sides.append((REFERENCE, None))
        status.update("timing")
        timing = time_sides(
            problem,
            sides,
            precision=precision,
            mapping=mapping,
            target=target,
            seconds=FOR_MEDIANS * seconds,
        )

        def decide(first: str, label: str) -> SpeedVerdict:
            status.update(f"deciding whether {label} is faster than {first}")
            return compare_speed(
                problem,
                sources.get(first),
                sources.get(label),
                labels=(first, label),
                condition=condition,
                precision=precision,
                mapping=mapping,
                target=target,
                seconds=(1.0 - FOR_MEDIANS) * seconds,
            )

        bench = Bench(_rows(_believable(timing, floors, allow), verdicts, decide), verdicts, timing)
    if as_json:
        emit(bench)
    else:
        _show(bench)
    return 1 if any(row.problem for row in bench.rows) else 0


def _given(
    codes: tuple[str, ...], entries: tuple[str, ...], problem: Problem, pairs: tuple[str, ...]
) -> list[Code]:
    """Files, then entries; what each is called tells the sides apart.

    Raises:
        InputError: there is none, or one is given twice, or one cannot be used.
    """
    if len({Path(code).resolve() for code in codes}) < len(codes) or len(set(entries)) < len(entries):
        raise InputError("the same file is given twice", mend="name each file once")
    if not codes and not entries:
        return [read_code(None, None, problem, pairs)]
    return [read_code(code, None, problem, pairs) for code in codes] + [
        read_code(None, entry, problem, pairs) for entry in entries
    ]


def _believable(timing: Timing, floors: Mapping[str, Floor | None], allow: Collection[Kind]) -> Timing:
    """The timing with sides that are faster than this GPU can be taken out, unless that is allowed."""
    sides = []
    for side in timing.sides:
        floor = floors.get(side.label)
        if floor is not None and not side.problem and Kind.TOO_FAST not in allow:
            alarm = below_floor(median(side.cold.device_us), floor)
            side = replace(side, problem=f"{Kind.TOO_FAST}: {alarm}" if alarm else "")
        sides.append(side)
    return replace(timing, sides=tuple(sides))


def _rows(
    timing: Timing, verdicts: dict[str, Verdict], decide: Callable[[str, str], SpeedVerdict]
) -> tuple[Row, ...]:
    """Sides with figures in the order given, then those without."""
    out = [
        Row(label, problem=f"not timed: {verdict.outcome}: {verdict.reason}")
        for label, verdict in verdicts.items()
        if not verdict.correct
    ]
    out += [Row(side.label, problem=side.problem) for side in timing.sides if side.problem]
    timed = [side for side in timing.sides if not side.problem]
    rows = [_row(side) for side in timed[:1]]
    for side in timed[1:]:
        try:
            rows.append(replace(_row(side), against_first=decide(timed[0].label, side.label)))
        except NotTimed as error:
            out.append(Row(side.label, problem=error.what))
    return (*rows, *out)


def _row(side: Side) -> Row:
    cold, warm = side.cold, side.warm
    return Row(
        side.label,
        median(cold.device_us),
        spread(cold.device_us),
        median(warm.device_us),
        spread(warm.device_us),
        median(cold.wall_us),
        spread(cold.wall_us),
        len(cold.device_us),
    )


def _show(bench: Bench) -> None:
    timing = bench.timing
    table = Table(
        title=f"{timing.device}, torch {timing.torch}, triton {timing.triton}; microseconds, median ± IQR",
        title_justify="left",
        box=None,
        padding=(0, 2, 0, 0),
    )
    for column in (
        "side",
        "device, cold L2",
        "device, warm L2",
        "wall, cold L2",
        "samples",
        "against the first",
    ):
        table.add_column(column, overflow="fold")
    for row in bench.rows:
        if row.problem:
            table.add_row(row.label, row.problem)
            continue
        table.add_row(
            row.label,
            f"{row.device_cold_us:.1f} ± {row.device_cold_spread_us:.1f}",
            f"{row.device_warm_us:.1f} ± {row.device_warm_spread_us:.1f}",
            f"{row.wall_cold_us:.1f} ± {row.wall_cold_spread_us:.1f}",
            str(row.samples),
            row.against_first.finding if row.against_first else "",
        )
    console.print(table)
    for row in bench.rows:
        if row.against_first:
            console.print(f"{row.label} against {bench.rows[0].label}: {row.against_first.statement}")
