"""A set of everyday kernels, recorded: `python benchmarks/kernel_set.py [--only NAME…] [--minutes M]`.

Each folder of benchmarks/kernels is a problem and a Triton file as people first write it, untuned. For each:
`tilewright optimize` searches for a faster file; speed verdicts set the result against the file as given and
against PyTorch; then all sides are timed in one process, with the reference under torch.compile beside them,
each with its error against a float64 run. Writes one record a kernel,
benchmarks/results/kernel_set-KERNEL-DEVICE-DATE.json. A kernel whose two files have a record on this device
is left out, so a run that ended early goes on with what is missing; --again takes those too, oldest first.
`--plot` measures nothing and draws docs/kernels.svg from the newest records.
"""

from __future__ import annotations

import argparse
import gc
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from kernel_records import (
    BEST,
    EAGER,
    GIVEN,
    MODES,
    NAME,
    Comparison,
    KernelRecord,
    Search,
    compiled_label,
    newest,
    section,
)
from network import sizes
from recording import RESULTS, ROOT, Record, RecordError, write
from sides import Case, Entry, case_of, compiled_reference, has_gpu, measure, model_new

from tilewright.errors import TilewrightError
from tilewright.judge.speed.model import SpeedVerdict
from tilewright.kernelfile import KernelFile
from tilewright.problem import Problem
from tilewright.runs import DECISIONS, Decided, digest, read_lines
from tilewright.stages.summary import Summary

FOLDER = Path(__file__).resolve().parent / "kernels"
PLOT = ROOT / "docs" / "kernels.svg"


def kernels(folder: Path = FOLDER) -> list[str]:
    """The names of the set, one for each folder."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def pending(names: Iterable[str], known: Mapping[str, KernelRecord], *, again: bool = False) -> list[str]:
    """What is to be measured: those without a record of their present files, then, if `again`, the others
    from the oldest record on.

    Args:
        known: the newest record of each kernel on this device.
    """
    dates = {name: known[name].date if _is_of(known.get(name), name) else "" for name in names}
    return sorted((name for name, date in dates.items() if again or not date), key=lambda name: dates[name])


def _is_of(record: KernelRecord | None, name: str) -> bool:
    """Whether a record is one of the kernel's files as they are now."""
    problem, given = (digest(path.read_text(encoding="utf-8")) for path in files(name))
    return record is not None and (record.problem_sha256, record.given_sha256) == (problem, given)


def files(name: str) -> tuple[Path, Path]:
    """A kernel's problem file and Triton file."""
    return FOLDER / name / "problem.py", FOLDER / name / "current.py"


def take(
    names: Iterable[str], record: Callable[[str], KernelRecord], until: float = math.inf
) -> Iterator[KernelRecord | str]:
    """Records of these kernels one after another; where one fails, a line that says so.

    Args:
        until: no kernel is started later, on the monotonic clock.
    """
    for name in names:
        if time.monotonic() >= until:
            return
        try:
            yield record(name)
        except (OSError, RecordError, TilewrightError) as error:
            yield f"{name}: {error}"


def search_of(summary: Summary, budget_seconds: float, result: str) -> Search:
    """What a record keeps of a run of `optimize`."""
    return Search(
        budget_seconds=budget_seconds,
        seconds=summary.seconds,
        tried=sum(stage.tried for stage in summary.stages),
        correct=sum(stage.correct for stage in summary.stages),
        given=str(summary.given.outcome) if summary.given else "",
        verdict=str(summary.verdict.outcome),
        improved=summary.improved,
        result=result,
        steps=tuple(f"{stage.stage}: {step.why}" for stage in summary.stages for step in stage.steps),
        notes=tuple(f"{stage.stage}: {note}" for stage in summary.stages for note in stage.notes),
    )


def compared(
    search: Search, gain: Decided | None, compare: Callable[[str], SpeedVerdict]
) -> tuple[Comparison, ...]:
    """The result against the file as given, where it is another, and against PyTorch.

    Args:
        gain: what the search itself decided last, on blocks that took no part in choosing its result.
        compare: decides whether a file of this text is faster than PyTorch.
    """
    after = BEST if search.improved else GIVEN
    over_given = [Comparison(GIVEN, BEST, gain.speed, gain.problem)] if search.improved and gain else []
    print(f"deciding whether {after} is faster than {EAGER}", file=sys.stderr, flush=True)
    try:
        return (*over_given, Comparison(EAGER, after, compare(search.result)))
    except TilewrightError as error:
        return (*over_given, Comparison(EAGER, after, problem=error.what))


def assembled(
    timed: Record, texts: Sequence[str], search: Search, comparisons: tuple[Comparison, ...]
) -> KernelRecord:
    """The record of one kernel from its parts.

    Args:
        timed: all sides.
        texts: of the problem and of the file as given.
    """
    own = {**vars(timed), "case": {key: str(value) for key, value in timed.case.items()}}
    del own["format"]
    problem, given = map(digest, texts)
    return KernelRecord(
        **own, problem_sha256=problem, given_sha256=given, search=search, comparisons=comparisons
    )


def entries(case: Case, paths: Mapping[str, Path], problem: Path, tf32: bool) -> Iterator[Entry]:
    """Every side, the file as given first.

    Args:
        paths: of ModelNew files, by label.
        tf32: whether PyTorch may use TF32, as the file as given does.
    """
    for label, path in paths.items():
        yield Entry(label, partial(model_new, case, path))
    yield Entry(EAGER, lambda: partial(case.model, *case.inputs), tf32)
    for mode in MODES:
        yield Entry(compiled_label(mode), partial(compiled_reference, case, problem, mode), tf32)


def kernel_record(name: str, options: argparse.Namespace) -> KernelRecord:
    """Search, decide and time one kernel on this machine's GPU.

    Raises:
        RecordError: the file as given cannot be run.
        TilewrightError: what `optimize` raises.
    """
    import torch

    from tilewright.api import optimize
    from tilewright.judge.api import compare_speed

    path, current = files(name)
    problem, given = Problem.from_file(path), current.read_text(encoding="utf-8")
    precision = KernelFile.parse(given, current).precision

    def say(line: str) -> None:
        print(f"{name}: {line}", file=sys.stderr, flush=True)

    def compare(after: str) -> SpeedVerdict:
        return compare_speed(problem, None, after, precision=precision, seconds=options.decide)

    with tempfile.TemporaryDirectory(prefix="kernel_set-") as folder:
        run = Path(folder) / "run"
        summary = optimize(problem, run, current=given, budget_seconds=options.budget, say=say)
        best = run / "best.py"
        search = search_of(summary, options.budget, best.read_text(encoding="utf-8"))
        decided = read_lines(run / DECISIONS, Decided)[0]
        comparisons = compared(search, next((one for one in decided if one.purpose == "gain"), None), compare)
        case = case_of(path, torch.device("cuda"), options.seed)
        paths = {GIVEN: current, **({BEST: best} if search.improved else {})}
        sides = entries(case, paths, path, tf32=precision != "float32")
        described = {**sizes(case), "products": precision}
        timed = measure(f"{NAME}-{name}", case, described, sides, options)
    return assembled(timed, (problem.source, given), search, comparisons)


def release() -> None:
    """Give back the memory and the compiled code of the kernel before."""
    import torch

    torch.compiler.reset()
    gc.collect()
    torch.cuda.empty_cache()


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Record the kernel set on this machine's GPU.")
    parser.add_argument("--only", nargs="+", choices=kernels(), metavar="NAME", default=kernels())
    parser.add_argument("--again", action="store_true", help="also those that have a record, oldest first")
    parser.add_argument("--minutes", type=float, default=math.inf, help="start no kernel after this long")
    parser.add_argument("--budget", type=float, default=120.0, help="of each search, seconds")
    parser.add_argument(
        "--decide", type=float, default=30.0, help="sampling time of the verdict on PyTorch, seconds"
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="time for the samples of one side")
    parser.add_argument("--seed", type=int, default=0, help="of weights, inputs and the order of samples")
    parser.add_argument("--commit", help="what to record where the checkout carries no git history")
    parser.add_argument("--results", type=Path, default=RESULTS, help="default: benchmarks/results")
    parser.add_argument("--plot", action="store_true", help="measure nothing; draw the newest records")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if options.plot:
        return plot(options.results)
    if not has_gpu():
        print("error: PyTorch sees no GPU here; run this on a machine with one", file=sys.stderr)
        return 2
    until = time.monotonic() + 60.0 * options.minutes
    failed = 0
    try:
        options.results.mkdir(parents=True, exist_ok=True)  # now, not after minutes of measuring
        names = pending(options.only, on_this_device(options.results), again=options.again)
        for taken in take(names, lambda name: kernel_record(name, options), until):
            if isinstance(taken, str):
                failed += 1
                print(f"error: {taken}", file=sys.stderr, flush=True)
            else:
                print(write(taken, options.results), file=sys.stderr, flush=True)
            release()
        left = pending(options.only, on_this_device(options.results))
    except (OSError, RecordError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(section(options.results))
    if left:
        print(f"without a record: {', '.join(left)}; the same command goes on with them", file=sys.stderr)
    return 2 if failed else 0


def plot(results: Path) -> int:
    """Draw the newest record of each kernel."""
    from kernel_plot import draw

    try:
        draw([record for record, _ in newest(results).values()], PLOT)
    except (OSError, RecordError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def on_this_device(results: Path) -> dict[str, Any]:
    """The newest record of each kernel on the GPU in this machine."""
    import torch

    return {name: record for name, (record, _) in newest(results, torch.cuda.get_device_name()).items()}


if __name__ == "__main__":
    sys.exit(main())
