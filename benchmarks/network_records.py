"""The table of recurrent networks: the newest record of each problem that `network.py` has timed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from recording import RESULTS, Record, newest, read, shown, spread

PROBLEMS = Path(__file__).resolve().parent / "problems"
EAGER = ("PyTorch, fp32", "PyTorch, tf32")
IN_A_GRAPH = ", CUDA graph"
OURS = "tilewright"


def section(results: Path = RESULTS) -> str:
    """A row a problem, and below them what each record was taken on; empty without records.

    Columns: median wall times in milliseconds of PyTorch, eager and captured in a CUDA graph (the faster of
    float32 and TF32 each), of our file, and in a graph; how many times faster ours is, each form beside the
    same form; the errors of both against a float64 run.
    """
    paths = [newest(path.stem, results) for path in sorted(PROBLEMS.glob("*.py"))]
    records = {path: read(path) for path in paths if path}
    rows = [_row(record) for record in records.values()]
    if not rows:
        return ""
    head = (
        "| network | PyTorch, ms | in a graph, ms | tilewright, ms | in a graph, ms | faster | in a graph "
        "| error, PyTorch | tilewright |"
    )
    notes = [_provenance(record, path) for path, record in records.items()]
    return "\n".join([head, "|---" * 9 + "|", *rows, "", *notes]) + "\n"


def _row(record: Record) -> str:
    wall = {side.label: spread(side.wall_us)[1] / 1e3 for side in record.sides if side.wall_us}
    error = {side.label: side.error for side in record.sides if side.error is not None}
    eager, ours = _least(wall, EAGER), wall.get(OURS)
    graph, our_graph = _least(wall, [x + IN_A_GRAPH for x in EAGER]), wall.get(OURS + IN_A_GRAPH)
    theirs = min((e for label, e in error.items() if label in EAGER), default=None), error.get(OURS)
    cells = [
        record.name.replace("_", " "),
        *(_shown(value, "{:.2f}") for value in (eager, graph, ours, our_graph)),
        *(_shown(_ratio(*pair), "{:.1f}×") for pair in ((eager, ours), (graph, our_graph))),
        *(_shown(value, "{:.1e}") for value in theirs),
    ]
    return f"| {' | '.join(cells)} |"


def _least(times: Mapping[str, float], labels: Iterable[str]) -> float | None:
    return min((times[label] for label in labels if label in times), default=None)


def _ratio(theirs: float | None, ours: float | None) -> float | None:
    return theirs / ours if theirs and ours else None


def _shown(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)


def _provenance(record: Record, path: Path) -> str:
    machine, case = record.machine, ", ".join(f"{key}={value}" for key, value in record.case.items())
    return (
        f"- {record.name}: {case}; {machine.device}, {record.date[:10]}, torch {machine.torch}, "
        f"Triton {machine.triton}, cuDNN {machine.cudnn}, commit {record.code}; `{shown(path)}`"
    )
