"""How the recurrence compiler's files scale beside cuDNN, recorded in two phases.

`python benchmarks/scaling.py prepare FOLDER` writes, without a GPU, the problem of every point (an Elman RNN,
LSTM or GRU at one size) and the file that the recurrence compiler proposes first, or why it declined.
`python benchmarks/scaling.py run FOLDER` compiles the files side by side on this machine's GPU, times point
after point beside cuDNN, and writes benchmarks/results/scaling-DEVICE-DATE.json; it ends within --minutes
with the points it reached. `python benchmarks/scaling.py plot` draws docs/scaling.svg from the newest record.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from apart import Lost, each
from recording import (
    RESULTS,
    ROOT,
    RecordError,
    Side,
    command_line,
    now,
    shown,
    this_commit,
    this_machine,
    write,
)
from scaling_records import (
    GRID_STEPS,
    NAME,
    OURS,
    PLOT,
    Measured,
    Outcome,
    ScalingRecord,
    newest,
    points,
    read,
    section,
)
from sides import has_gpu

sys.path.insert(0, str(ROOT / "src"))  # this checkout, also where tilewright is not installed

from scaling_files import PRECISION, Prepared, file_path, home_of, prepare, prepared_in
from scaling_sides import timed, warmed

from tilewright.runs import digest

COMPILING = 0.6  # of the minutes, at most
RESERVE_SECONDS = 10.0  # of the minutes, to end in

Compiled = Mapping[Path, Lost | None]
Timed = Mapping[Path, Lost | tuple[Side, ...]]


def became(prepared: Prepared, home: Path, compiled: Compiled, times: Timed) -> Measured:
    """What became of a point, from the answers that came back."""
    file = file_path(home)
    text = file.read_text(encoding="utf-8") if file.exists() else None
    answer = times.get(home, compiled.get(home))
    sides = answer if isinstance(answer, tuple) else ()
    ours = [side for side in sides if side.label.startswith(OURS)]
    if text is None:
        outcome, reason = Outcome.DECLINED, "; ".join(prepared.notes)
    elif isinstance(answer, Lost):
        outcome, reason = Outcome.FAILED, answer.why
    elif answer is None:
        outcome, reason = Outcome.NOT_REACHED, "no time left"
    elif not any(side.wall_us for side in ours):
        outcome, reason = Outcome.FAILED, ours[0].note
    else:
        outcome, reason = Outcome.TIMED, ""
    sha256 = digest(text) if text else ""
    return Measured(prepared.point, outcome, prepared.written_by, prepared.plan, reason, sha256, sides)


def measure(prepared: Iterable[Prepared], options: argparse.Namespace, until: float) -> list[Measured]:
    """Compile side by side, then time point after point.

    Args:
        until: it ends then, on the monotonic clock; points it did not come to say so.
    """
    homes = {home_of(one.point, options.folder): one for one in prepared}
    files = [home for home in homes if file_path(home).exists()]
    share = time.monotonic() + COMPILING * (until - time.monotonic())
    compiled: dict[Path, Lost | None] = {}
    for home, said in each(warmed, files, processes=options.jobs, seconds=options.limit, until=share):
        compiled[home] = said
        tell(f"compiled {len(compiled)} of {len(files)}", home, said)
    due = [home for home, one in homes.items() if _is_due(home, one, compiled)]
    times: dict[Path, Lost | tuple[Side, ...]] = {}
    task = partial(timed, seconds=options.seconds, seed=options.seed)
    for home, sides in each(task, due, processes=1, seconds=options.limit, until=until):
        times[home] = sides
        tell(f"timed {len(times)} of {len(due)}", home, sides)
    return [became(one, home, compiled, times) for home, one in homes.items()]


def _is_due(home: Path, prepared: Prepared, compiled: Compiled) -> bool:
    """Whether to time a point: its file runs, or it was declined and the plot shows cuDNN there."""
    if file_path(home).exists():
        return home in compiled and compiled[home] is None
    return bool(prepared.point.lines)


def tell(what: str, home: Path, answer: object) -> None:
    problem = f": {answer.why}" if isinstance(answer, Lost) else ""
    print(f"{what}: {home.name}{problem}", file=sys.stderr, flush=True)


def record(measured: list[Measured], options: argparse.Namespace) -> ScalingRecord:
    import torch

    commit, dirty = this_commit(options.commit)
    return ScalingRecord(
        name=NAME,
        date=now(),
        commit=commit,
        dirty=dirty,
        command=command_line(),
        case={"T": str(GRID_STEPS), "dtype": "float32", "products": PRECISION},
        machine=this_machine(
            torch.cuda.get_device_name(), cuda=torch.version.cuda, cudnn=str(torch.backends.cudnn.version())
        ),
        points=tuple(measured),
    )


def run_all(options: argparse.Namespace) -> int:
    """The command `run`."""
    until = time.monotonic() + 60.0 * options.minutes - RESERVE_SECONDS
    if not has_gpu():
        print("error: PyTorch sees no GPU here; run this on a machine with one", file=sys.stderr)
        return 2
    try:
        prepared = prepared_in(options.folder, options.only)
        if not prepared:
            raise RecordError(f"{options.folder}: no point of those is prepared; run `prepare` first")
        options.results.mkdir(parents=True, exist_ok=True)  # now, not after minutes of measuring
        path = write(record(measure(prepared, options, until), options), options.results)
    except (OSError, ValueError, RecordError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(path, file=sys.stderr)
    print(section(options.results))
    return 0


def prepare_all(options: argparse.Namespace) -> int:
    """The command `prepare`."""
    known = {one.point for one in prepared_in(options.folder, options.only)} if options.missing else set()
    left = [point for point in options.only if point not in known]
    task = partial(prepare, folder=options.folder, gpu=options.gpu, commit=options.commit)
    failed = 0
    for point, said in each(task, left, processes=options.jobs, seconds=options.limit, until=math.inf):
        if isinstance(said, Lost):
            failed += 1
            print(f"error: {point}: {said.why}", file=sys.stderr, flush=True)
        else:
            print(f"{point}: {said.plan or 'declined'}", file=sys.stderr, flush=True)
    return 2 if failed else 0


def plot(options: argparse.Namespace) -> int:
    """The command `plot`."""
    from scaling_plot import draw

    try:
        found = (read(options.record), options.record) if options.record else newest()
        if found is None:
            raise RecordError(f"no record in {shown(RESULTS)}; `run` on a GPU writes one")
        record, path = found
        draw(record, path, options.output)
    except (OSError, RecordError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Record how the recurrence compiler's files scale.")
    commands = parser.add_subparsers(required=True, metavar="prepare | run | plot")
    both = argparse.ArgumentParser(add_help=False)
    both.add_argument("folder", type=Path, help="where the files of the points are")
    both.add_argument(
        "--only", nargs="+", default=["*"], metavar="KIND/T/B/H",
        help="patterns of points: 'lstm/512/*/256'",
    )  # fmt: skip
    both.add_argument("--commit", help="what to record where the checkout carries no git history")
    both.add_argument("--limit", type=float, default=120.0, help="seconds that one point may take")
    one = commands.add_parser("prepare", parents=[both], help="write problems and files; needs no GPU")
    one.add_argument("--gpu", default="h200", help="the GPU to write for")
    one.add_argument("--jobs", type=int, default=1, help="points at a time")
    one.add_argument("--missing", action="store_true", help="leave alone points that are there already")
    one.set_defaults(command=prepare_all)
    two = commands.add_parser("run", parents=[both], help="compile and time on this machine's GPU")
    two.add_argument(
        "--jobs", type=int, default=min(16, os.cpu_count() or 1), help="processes that compile side by side"
    )
    two.add_argument("--seconds", type=float, default=0.1, help="time for the samples of one side")
    two.add_argument("--minutes", type=float, default=9.5, help="it ends before they are over")
    two.add_argument("--seed", type=int, default=0, help="of weights, inputs and the order of samples")
    two.add_argument("--results", type=Path, default=RESULTS, help="default: benchmarks/results")
    two.set_defaults(command=run_all)
    three = commands.add_parser("plot", help="draw a record; needs matplotlib")
    three.add_argument("record", type=Path, nargs="?", help="default: the newest")
    three.add_argument("--output", type=Path, default=PLOT, help="default: docs/scaling.svg")
    three.set_defaults(command=plot)
    options = parser.parse_args(arguments)
    if "only" in options:
        patterns = options.only
        options.only = [p for p in points() if any(fnmatch(str(p), pattern) for pattern in patterns)]
        if not options.only:
            parser.error(f"no point is {' or '.join(patterns)}; points are named like lstm/512/16/256")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    return int(options.command(options))


if __name__ == "__main__":
    sys.exit(main())
