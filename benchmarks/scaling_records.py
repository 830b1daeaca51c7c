"""What the scaling benchmark records, one record for all points, and the README's section of the newest one.

A point is one recurrent layer at one size. Its speedup is cuDNN's best form over ours: each side's best of
eager and CUDA graph by median wall time, both from the same record.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import exp, log
from pathlib import Path

from recording import METHOD as RECORDED_METHOD
from recording import RESULTS, ROOT, Provenance, Side, all_of, shown, spread
from typed_records import read_as

NAME = "scaling"
FORMAT = 1
PLOT = ROOT / "docs" / "scaling.svg"
KINDS = ("rnn", "lstm", "gru")
TITLES = {"rnn": "Elman RNN", "lstm": "LSTM", "gru": "GRU"}
STEPS = (64, 128, 256, 512, 1024, 2048)
BATCHES = (1, 4, 16, 64, 256)
HIDDEN = (64, 128, 256, 512, 1024, 2048)
GRID_STEPS, LINE_BATCH, LINE_HIDDEN = 512, 16, 256  # what stays the same on the grid and on the plot's lines
OURS, FP16, TF32 = "tilewright", "cuDNN, fp16", "cuDNN, tf32"
LABELS = (OURS, FP16, TF32)
METHOD = (
    f"Point after point in one process. {RECORDED_METHOD} Weights and inputs of cuDNN, fp16 are float16 "
    "beforehand. Microseconds, rounded to a tenth."
)


@dataclass(frozen=True)
class Point:
    """One layer from zero states, as many inputs as hidden units, an output at every step.

    Args:
        kind: one of KINDS.
    """

    kind: str
    steps: int
    batch: int
    hidden: int

    def __str__(self) -> str:
        return f"{self.kind}/{self.steps}/{self.batch}/{self.hidden}"

    @property
    def lines(self) -> tuple[str, ...]:
        """Along which sizes it is on a line of the plot."""
        fixed = {
            "steps": (self.batch, self.hidden) == (LINE_BATCH, LINE_HIDDEN),
            "batch": (self.steps, self.hidden) == (GRID_STEPS, LINE_HIDDEN),
            "hidden": (self.steps, self.batch) == (GRID_STEPS, LINE_BATCH),
        }
        return tuple(size for size, on in fixed.items() if on)


def points() -> list[Point]:
    """All points, those of the plot first: a run that ends early has them."""
    grid = [Point(k, GRID_STEPS, b, h) for k in KINDS for h in HIDDEN for b in BATCHES]
    longer = [Point(k, t, LINE_BATCH, LINE_HIDDEN) for k in KINDS for t in STEPS if t != GRID_STEPS]
    return sorted([*grid, *longer], key=lambda point: not point.lines)


class Outcome(StrEnum):
    TIMED = "timed"
    DECLINED = "declined"  # the recurrence compiler takes no such layer
    FAILED = "failed"  # its file cannot be compiled or run
    NOT_REACHED = "not reached"  # there was no time left


@dataclass(frozen=True)
class Measured:
    """What became of a point.

    Args:
        written_by: the commit that wrote its file or declined.
        plan: what the file does.
        reason: why there is nothing timed of ours; empty when there is.
        file_sha256: of the file's text; empty when there is none.
        sides: cuDNN's alone where the point was declined and is on a line of the plot.
    """

    point: Point
    outcome: Outcome
    written_by: str = ""
    plan: str = ""
    reason: str = ""
    file_sha256: str = ""
    sides: tuple[Side, ...] = ()

    def best_us(self, label: str) -> float | None:
        """Median wall time of the better of a side's two forms; None when neither was timed."""
        forms = [side for side in self.sides if side.label in (label, f"{label}, CUDA graph")]
        return min((spread(side.wall_us)[1] for side in forms if side.wall_us), default=None)

    def speedup(self, *over: str) -> float | None:
        """How many times faster ours is than the fastest of these sides; None without any or without ours."""
        ours = self.best_us(OURS)
        theirs = [time for label in over if (time := self.best_us(label)) is not None]
        return min(theirs) / ours if ours is not None and theirs else None


@dataclass(frozen=True, kw_only=True)
class ScalingRecord(Provenance):
    """One run over the points."""

    case: Mapping[str, str]
    points: tuple[Measured, ...]
    method: str = METHOD
    format: int = FORMAT


def read(path: Path) -> ScalingRecord:
    """Read a record back.

    Raises:
        RecordError: not a record of this benchmark, or of another format version.
    """
    return read_as(ScalingRecord, path, FORMAT)


def newest(folder: Path = RESULTS) -> tuple[ScalingRecord, Path] | None:
    """The newest record by its own date; None when there is none."""
    found = [(read(path), path) for path in folder.glob(f"{NAME}-*.json")]
    return max(found, key=lambda pair: pair[0].date, default=None)


def geometric_mean(values: Sequence[float]) -> float:
    """Of at least one value."""
    return exp(sum(map(log, values)) / len(values))


def section(folder: Path = RESULTS) -> str:
    """The plot, a matrix of speedups for each kind, and what a reader needs below; empty without a record."""
    found = newest(folder)
    if found is None:
        return ""
    record, path = found
    known = {measured.point: measured for measured in record.points}
    lines = [f"![Time against steps, hidden units and batch, beside cuDNN](docs/{PLOT.name})", ""]
    for kind in KINDS:
        lines += [*_matrix(kind, known), ""]
    grid = [m for m in record.points if m.point.steps == GRID_STEPS]
    lines += [f"- {TITLES[kind]}: {_summary([m for m in grid if m.point.kind == kind])}." for kind in KINDS]
    lines += [f"- All {len(grid)} points: {_summary(grid)}."]
    others = [m for m in record.points if m.point.steps != GRID_STEPS]
    lines += [f"- Other numbers of steps: {_summary(others)}."] if others else []
    lines += [f"- {m.point} failed: {m.reason}." for m in record.points if m.outcome is Outcome.FAILED]
    return "\n".join([*lines, "", _provenance(record, path)]) + "\n"


def _matrix(kind: str, known: Mapping[Point, Measured]) -> list[str]:
    """Hidden units down, batch across."""
    rows = [f"| {TITLES[kind]} | " + " | ".join(f"B={batch}" for batch in BATCHES) + " |"]
    rows.append("|" + "---|" * (len(BATCHES) + 1))
    for hidden in HIDDEN:
        cells = [_cell(known.get(Point(kind, GRID_STEPS, batch, hidden))) for batch in BATCHES]
        rows.append(f"| H={hidden} | " + " | ".join(cells) + " |")
    return rows


def _cell(measured: Measured | None) -> str:
    if measured is None or measured.outcome is Outcome.NOT_REACHED:
        return "–"
    speedup = measured.speedup(FP16, TF32)
    if speedup is None:
        return str(measured.outcome)
    return f"{speedup:.2f}×" if speedup >= 1.0 else f"**{speedup:.2f}×**"


def _summary(measured: Sequence[Measured]) -> str:
    """Mean speedups, how many are below 1, and how many points have none."""

    def speedups(*over: str) -> list[float]:
        return [value for m in measured if (value := m.speedup(*over)) is not None]

    both = speedups(FP16, TF32)
    said = [f"compared at {len(both)}"]
    if both:
        said.append(f"geometric mean {geometric_mean(both):.2f}×")
        said += [
            f"{geometric_mean(values):.2f}× over {label.rpartition(' ')[2]} alone"
            for label in (FP16, TF32)
            if (values := speedups(label))
        ]
        said.append(f"slower at {sum(value < 1.0 for value in both)}")
    for outcome in (Outcome.DECLINED, Outcome.FAILED, Outcome.NOT_REACHED):
        count = sum(m.outcome is outcome for m in measured)
        said += [f"{count} {outcome}"] if count else []
    return ", ".join(said)


def _provenance(record: ScalingRecord, path: Path) -> str:
    machine = record.machine
    case = ", ".join(f"{key}={value}" for key, value in record.case.items())
    commits = all_of(m.written_by for m in record.points if m.written_by)
    worst = ", ".join(f"{label} {error:.1e}" for label, error in _largest_errors(record.points))
    return (
        "Times faster than cuDNN in fp16 or TF32, whichever is faster: median wall times, each side's better "
        f"of eager and CUDA graph; bold where slower. {case}; as many inputs as hidden units. "
        + (f"Largest error against a float64 run: {worst}. " if worst else "")
        + f"Measured on {machine.device}, {record.date[:10]}, torch {machine.torch}, "
        f"Triton {machine.triton}, CUDA {machine.cuda}, cuDNN {machine.cudnn}, driver {machine.driver}, "
        f"files written by commit {commits}, timed at commit {record.code}, "
        f"by `{shlex.join(record.command)}`; every sample and the reasons: `{shown(path)}`."
    )


def _largest_errors(measured: Iterable[Measured]) -> list[tuple[str, float]]:
    """Over all points, of each side; its two forms are one."""
    sides = [side for one in measured for side in one.sides]
    errors = {
        label: [s.error for s in sides if s.label.startswith(label) and s.error is not None]
        for label in LABELS
    }
    return [(label, max(found)) for label, found in errors.items() if found]
