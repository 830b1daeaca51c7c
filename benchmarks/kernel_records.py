"""What the kernel set records, one record a kernel, and the README's table of the newest ones.

A record holds the file as given and what `tilewright optimize` made of it, timed beside PyTorch, and the
speed verdicts with every raw block, from which each can be computed again.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from false_alarms import close
from recording import RESULTS, ROOT, Record, RecordError, Side, all_of, shown, spread
from typed_records import read_as

sys.path.insert(0, str(ROOT / "src"))  # this checkout, also where tilewright is not installed

from tilewright.judge.speed.decision import recompute
from tilewright.judge.speed.model import SpeedOutcome, SpeedVerdict

NAME = "kernel_set"
FORMAT = 1
GIVEN, BEST, EAGER = "given", "tilewright", "PyTorch"
MODES = ("max-autotune-no-cudagraphs", "max-autotune")  # of torch.compile; the second adds CUDA graphs


def compiled_label(mode: str) -> str:
    return f"torch.compile, {mode}"


@dataclass(frozen=True)
class Search:
    """What `optimize` did with the file as given.

    Args:
        budget_seconds: after this long it started no new candidate.
        seconds: wall time, the GPU held throughout.
        tried, correct: candidates proposed over all stages, and those of them that were judged correct.
        given, verdict: outcomes of the judge on the file as given and on the result.
        improved: whether the result is anything but the file as given.
        result: the text of the result.
        steps: the improvements that were kept, each on top of the one before.
        notes: of the stages: what was declined or left alone, and why.
    """

    budget_seconds: float
    seconds: float
    tried: int
    correct: int
    given: str
    verdict: str
    improved: bool
    result: str
    steps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Whether one side is faster than another, decided on blocks of its own.

    Args:
        before, after: labels of the two sides.
        speed: the verdict with every raw block; None where a side could not be timed.
        problem: why it could not; empty when it could.
    """

    before: str
    after: str
    speed: SpeedVerdict | None = None
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class KernelRecord(Record):
    """One kernel. Its sides are the file as given, the result where there is a new one, and PyTorch's.

    Args:
        problem_sha256, given_sha256: of the two files' texts.
        comparisons: the result against the file as given, where there is a new one; the result against
            PyTorch, eager.
    """

    case: Mapping[str, str]
    problem_sha256: str
    given_sha256: str
    search: Search
    comparisons: tuple[Comparison, ...]
    format: int = FORMAT

    @property
    def kernel(self) -> str:
        return self.name.removeprefix(f"{NAME}-")

    def side(self, label: str) -> Side | None:
        return next((side for side in self.sides if side.label == label), None)

    def comparison(self, before: str) -> Comparison | None:
        """The result against this side."""
        return next((one for one in self.comparisons if one.before == before), None)


def read(path: Path) -> KernelRecord:
    """Read a record back and compute its verdicts again.

    Raises:
        RecordError: not a record of this benchmark, of another format version, or with a verdict that its
            blocks do not give.
    """
    record = read_as(KernelRecord, path, FORMAT)
    for one in record.comparisons:
        if one.speed is not None and not _given_by_its_blocks(one.speed):
            raise RecordError(f"{path}: {one.after} against {one.before}: its blocks give another verdict")
    return record


def _given_by_its_blocks(speed: SpeedVerdict) -> bool:
    try:
        again = recompute(speed.pairs, speed.noise_pairs, speed.rules, speed.condition)
    except ValueError:
        return False
    return (
        again.outcome is speed.outcome and close(again.ratio, speed.ratio) and close(again.noise, speed.noise)
    )


def newest(folder: Path = RESULTS, device: str | None = None) -> dict[str, tuple[KernelRecord, Path]]:
    """The newest record of each kernel on one device, by the records' own dates.

    Args:
        device: its name; None for that of the newest record of all.
    """
    dated = sorted(
        ((read(path), path) for path in folder.glob(f"{NAME}-*.json")), key=lambda pair: pair[0].date
    )
    device = device or (dated[-1][0].machine.device if dated else "")
    return {record.kernel: (record, path) for record, path in dated if record.machine.device == device}


def section(folder: Path = RESULTS) -> str:
    """A Markdown table, one row a kernel, and what a reader needs below it; empty without any record.

    Times are medians of device time. The result's ratios to the file as given and to PyTorch are those of
    speed verdicts, with their intervals.
    """
    found = sorted(newest(folder).values(), key=lambda pair: pair[0].kernel)
    if not found:
        return ""
    records = [record for record, _ in found]
    columns = (
        "kernel", "given, µs", "tilewright, µs", "over given", "over PyTorch", "PyTorch, µs",
        "torch.compile, µs", "the same with CUDA graphs, µs", "error", "PyTorch's error", "search, s",
    )  # fmt: skip
    rows = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    rows += ["| " + " | ".join(_cells(record)) + " |" for record in records]
    return "\n".join([*rows, "", *_notes(records), _provenance(found)]) + "\n"


def _cells(record: KernelRecord) -> list[str]:
    best = BEST if record.search.improved else GIVEN
    return [
        record.kernel,
        _device(record.side(GIVEN)),
        _device(record.side(BEST)) if record.search.improved else "as given",
        _ratio(record.comparison(GIVEN)) if record.search.improved else "–",
        _ratio(record.comparison(EAGER)),
        _device(record.side(EAGER)),
        *(_device(record.side(compiled_label(mode))) for mode in MODES),
        _error(record.side(best)),
        _error(record.side(EAGER)),
        f"{record.search.seconds:.0f}",
    ]


def _device(side: Side | None) -> str:
    return f"{spread(side.device_us)[1]:.1f}" if side and side.device_us else "–"


def _error(side: Side | None) -> str:
    return "–" if side is None or side.error is None else f"{side.error:.1e}"


def _ratio(comparison: Comparison | None) -> str:
    if comparison is None or comparison.speed is None:
        return "–"
    speed = comparison.speed
    if speed.outcome is SpeedOutcome.NO_DIFFERENCE:
        return "no difference shown"
    return f"{speed.ratio.value:.2f}× ({speed.ratio.low:.2f}–{speed.ratio.high:.2f})"


def _notes(records: Iterable[KernelRecord]) -> list[str]:
    """Why a figure is missing, a line for each."""
    said = [
        f"- {record.kernel}, {side.label}: {side.note}."
        for record in records
        for side in record.sides
        if side.note
    ]
    said += [
        f"- {record.kernel}, {one.after} against {one.before}: {one.problem}."
        for record in records
        for one in record.comparisons
        if one.problem
    ]
    return [*said, ""] if said else []


def _provenance(found: Iterable[tuple[KernelRecord, Path]]) -> str:
    records = [record for record, _ in found]
    machines = [record.machine for record in records]
    verdicts = [one.speed for record in records for one in record.comparisons if one.speed]
    conditions = all_of(verdict.condition for verdict in verdicts)
    alarms = all_of(f"{100.0 * verdict.rules.false_alarm:g} %" for verdict in verdicts)
    return (
        "Times are medians of device time, with the caches as the side itself leaves them. Ratios are speed "
        f"verdicts ({conditions}) with their intervals, above 1 where the result is faster, and a chance of "
        f"a false alarm below {alarms} each. Errors are against a float64 run; search is the wall time of "
        f"`tilewright optimize`. Measured on {all_of(m.device for m in machines)}, "
        f"{all_of(record.date[:10] for record in records)}, torch {all_of(m.torch for m in machines)}, "
        f"Triton {all_of(m.triton for m in machines)}, CUDA {all_of(m.cuda for m in machines)}, "
        f"driver {all_of(m.driver for m in machines)}, commit {all_of(r.code for r in records)}, by "
        f"`python benchmarks/{NAME}.py`; sizes, every sample and the results' code: "
        f"{', '.join(f'`{shown(path)}`' for _, path in found)}."
    )
