"""`tilewright bench`: files timed against one another on the GPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
from rich.table import Table

from tilewright.cli.common import (
    console,
    emit,
    gpu_option,
    json_option,
    log,
    map_option,
    parameter_map,
    problem_option,
    read_source,
    resolve_gpu,
)
from tilewright.errors import InputError, SetupError
from tilewright.judge.speed_model import Ratio
from tilewright.judge.statistics import median, ratio_of_medians, spread
from tilewright.judge.timing_model import Side, Timing
from tilewright.judge.verdict import Verdict
from tilewright.problem import Problem

EPILOG = (
    "Example: tilewright bench runs/rnn/best.py examples/vanilla_rnn/current.py "
    "--problem examples/vanilla_rnn/problem.py --reference"
)
REFERENCE = "reference"


@dataclass(frozen=True)
class Row:
    """One side in figures. Microseconds; spread is the interquartile range.

    Args:
        ratio: device time with a cold L2 over that of the first side; below 1 is faster.
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
    ratio: Ratio | None = None
    problem: str = ""


@dataclass(frozen=True)
class Bench:
    """What `--json` prints: figures, verdicts, and every raw sample in the order taken."""

    rows: tuple[Row, ...]
    verdicts: dict[str, Verdict]
    timing: Timing


@click.command(epilog=EPILOG)
@click.argument("codes", metavar="CODE.py...", nargs=-1, required=True)
@problem_option
@click.option("--reference", is_flag=True, help="Also time the problem's own Model, eager.")
@click.option("--precision", type=click.Choice(["float32", "tf32", "float16", "bfloat16"]))
@click.option("--seconds", type=click.FloatRange(0.1), default=10.0, show_default=True, help="Per side.")
@map_option
@gpu_option
@json_option
def command(
    codes: tuple[str, ...],
    problem: Problem,
    reference: bool,
    precision: str | None,
    seconds: float,
    pairs: tuple[str, ...],
    gpu: str | None,
    as_json: bool,
) -> int:
    """Time files against one another on the GPU in this machine: interleaved, medians with spread.

    Each file is checked first, and one that is not correct is not timed. --precision is what its
    matrix products may be computed in (default: what the first file uses). Exit code 1 when any file
    could not be timed.
    """
    from tilewright.gpu.plugged import plugged_in
    from tilewright.judge.api import check, time_sides
    from tilewright.kernelfile import KernelFile

    sources = {label: read_source(path) for label, path in zip(_labels(codes), codes, strict=True)}
    files = {label: KernelFile.parse(source, label) for label, source in sources.items()}
    target = resolve_gpu(gpu) if gpu is not None else None
    if plugged_in() is None:
        raise SetupError(
            "bench needs an NVIDIA GPU, and there is none here",
            mend="`tilewright check` and `tilewright inspect` work without one",
        )
    precision = precision or next(iter(files.values())).precision
    mapping = parameter_map(pairs)
    verdicts: dict[str, Verdict] = {}
    with log.status("checking") as status:
        for label, source in sources.items():
            status.update(f"checking {label}")
            verdicts[label] = check(
                problem, source, path=label, precision=precision, target=target, mapping=mapping
            )
        sides: list[tuple[str, str | None]] = [
            (label, source) for label, source in sources.items() if verdicts[label].correct
        ]
        if reference:
            sides.append((REFERENCE, None))
        status.update("timing")
        timing = time_sides(problem, sides, precision=precision, mapping=mapping, seconds=seconds)
    bench = Bench(_rows(timing, verdicts), verdicts, timing)
    if as_json:
        emit(bench)
    else:
        _show(bench)
    return 1 if any(row.problem for row in bench.rows) else 0


def _labels(codes: tuple[str, ...]) -> list[str]:
    """The paths as given, which tell the sides apart.

    Raises:
        InputError: one path is given twice.
    """
    if len({Path(code).resolve() for code in codes}) < len(codes):
        raise InputError("the same file is given twice", mend="name each file once")
    return list(codes)


def _rows(timing: Timing, verdicts: dict[str, Verdict]) -> tuple[Row, ...]:
    timed = [side for side in timing.sides if not side.problem]
    rows = [
        Row(label, problem=f"not timed: {verdict.outcome}: {verdict.reason}")
        for label, verdict in verdicts.items()
        if not verdict.correct
    ]
    rows += [Row(side.label, problem=side.problem) for side in timing.sides if side.problem]
    return (*(_row(side, timed[0]) for side in timed), *rows)


def _row(side: Side, first: Side) -> Row:
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
        None if side is first else ratio_of_medians(side.cold.device_us, first.cold.device_us),
    )


def _show(bench: Bench) -> None:
    timing = bench.timing
    table = Table(
        title=f"{timing.device}, torch {timing.torch}, triton {timing.triton}; microseconds, median ± IQR",
        title_justify="left",
        box=None,
        padding=(0, 2, 0, 0),
    )
    for column in ("side", "device, cold L2", "device, warm L2", "wall, cold L2", "samples", "of the first"):
        table.add_column(column, overflow="fold")
    for row in bench.rows:
        if row.problem:
            table.add_row(row.label, row.problem)
            continue
        ratio = f"{row.ratio.value:.2f}x ({row.ratio.low:.2f} to {row.ratio.high:.2f})" if row.ratio else "1"
        table.add_row(
            row.label,
            f"{row.device_cold_us:.1f} ± {row.device_cold_spread_us:.1f}",
            f"{row.device_warm_us:.1f} ± {row.device_warm_spread_us:.1f}",
            f"{row.wall_cold_us:.1f} ± {row.wall_cold_spread_us:.1f}",
            str(row.samples),
            ratio,
        )
    console.print(table)
