"""How good launch tuning's search is: `python benchmarks/search_quality.py [--only NAME…] [--minutes M]`.

For kernels of benchmarks/kernels every configuration around the present one is compiled and timed, in random
order, so many samples each; then the search that `tilewright optimize` makes runs over the same space. The
record says how close what the search puts first comes to the best of all, how much device time each of the
two took, and where the estimate alone, without a GPU, would have ended. Device time is the sum of samples.
Writes one record a kernel, benchmarks/results/search_quality-KERNEL-DEVICE-DATE.json.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import random
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import geometric_mean

from kernel_set import files, kernels
from recording import (
    RESULTS,
    ROOT,
    Provenance,
    RecordError,
    all_of,
    command_line,
    now,
    shown,
    this_commit,
    this_machine,
    write,
)
from typed_records import read_as

sys.path.insert(0, str(ROOT / "src"))  # this checkout, also where tilewright is not installed

from tilewright.candidate import Candidate
from tilewright.errors import TilewrightError
from tilewright.gpu.plugged import plugged_in
from tilewright.inspect.api import inspect, inspect_many
from tilewright.inspect.model import Inspection
from tilewright.judge.speed.statistics import median
from tilewright.kernelfile import KernelFile
from tilewright.problem import Problem
from tilewright.proposers.base import Situation
from tilewright.proposers.tune import Around, LaunchTuning, RewriteDeclined
from tilewright.screening.api import screen
from tilewright.screening.halving import Round
from tilewright.screening.model import Screening
from tilewright.stages.catalogue import stages
from tilewright.stages.pipeline import MOST_ON_GPU
from tilewright.stages.race import Contender
from tilewright.stages.selection import SCREENED_DOWN_TO, differing

NAME = "search_quality"
FORMAT = 1
NEAR = 1.1  # times the best, what the estimate alone should end within


@dataclass(frozen=True)
class Configuration:
    """One file of the space.

    Args:
        what: how it differs from the file as given.
        estimate_us: of one forward; None without one.
        proposed: whether the search has it among its candidates.
        all_us: samples of the exhaustive run; search_us: of the search; microseconds.
        problem: why it was not timed.
    """

    what: str
    estimate_us: float | None
    proposed: bool
    all_us: tuple[float, ...] = ()
    search_us: tuple[float, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class SearchRecord(Provenance):
    """The whole space of one kernel's configurations, the file as given among them.

    Args:
        found: number of the configuration that the search put first; None where it found none.
    """

    case: Mapping[str, str]
    configurations: tuple[Configuration, ...]
    found: int | None
    format: int = FORMAT

    @property
    def kernel(self) -> str:
        return self.name.removeprefix(f"{NAME}-")


@dataclass(frozen=True)
class Quality:
    """What a record comes to.

    Args:
        best_us: the least median of the exhaustive run.
        found: best_us over the exhaustive time of what the search put first; 1 is the best there is.
        estimated: the same of what the estimate alone puts first.
        device_share: the search's device time over that of the exhaustive run.
    """

    best_us: float
    found: float
    estimated: float
    device_share: float


def quality(record: SearchRecord) -> Quality:
    """Raises RecordError where nothing was timed, or the search found nothing."""
    times = {i: median(c.all_us) for i, c in enumerate(record.configurations) if c.all_us}
    if not times or record.found not in times:
        raise RecordError(f"{record.kernel}: the search, or the exhaustive run, timed nothing")
    best = min(times.values())
    estimates = {i: us for i in times if (us := record.configurations[i].estimate_us) is not None}
    first = min(estimates, key=lambda i: estimates[i], default=next(iter(times)))
    spent, whole = (
        sum(sum(getattr(c, name)) for c in record.configurations) for name in ("search_us", "all_us")
    )
    return Quality(best, best / times[record.found], best / times[first], spent / whole)


def section(results: Path) -> str:
    """A Markdown table of the newest records, one row a kernel; empty without any.

    Raises:
        RecordError: a record cannot be read, or says nothing.
    """
    records = sorted(newest(results), key=lambda record: record.kernel)
    if not records:
        return ""
    found = [quality(record) for record in records]
    columns = (
        "kernel",
        "configurations",
        "best, µs",
        "search reaches",
        "for device time of",
        "estimate alone",
    )
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for record, q in zip(records, found, strict=True):
        timed = sum(bool(one.all_us) for one in record.configurations)
        figures = f"{q.best_us:.1f} | {q.found:.1%} | {q.device_share:.1%} | {q.estimated:.1%}"
        lines.append(f"| {record.kernel} | {timed} | {figures} |")
    reached, share = (geometric_mean(getattr(q, name) for q in found) for name in ("found", "device_share"))
    near = sum(q.estimated >= 1 / NEAR for q in found)
    machines, cases = [record.machine for record in records], [record.case for record in records]
    told = (
        f"Geometric mean {reached:.1%}, for {share:.1%} of the device time; the estimate alone ends within "
        f"{NEAR - 1:.0%} of the best on {near} of {len(found)}. Of each kernel at most "
        f"{all_of(case['most'] for case in cases)} configurations were timed, "
        f"{all_of(case['samples'] for case in cases)} times each. {all_of(m.device for m in machines)}, "
        f"{all_of(r.date[:10] for r in records)}, torch {all_of(m.torch for m in machines)}, Triton "
        f"{all_of(m.triton for m in machines)}, commit {all_of(r.code for r in records)}, by "
        f"`python benchmarks/{NAME}.py`; every sample: `{shown(RESULTS / NAME)}-*.json`."
    )
    return "\n".join([*lines, "", told, ""])


def assembled(
    provenance: Mapping[str, object],
    space: Mapping[str, Configuration],
    everything: Screening,
    search: Screening,
) -> SearchRecord:
    """The record of one kernel from its two runs.

    Args:
        space: every configuration by its candidate's id.
    """
    samples = {one.label: one for one in everything.candidates}
    quick = {one.label: one for one in search.candidates}
    labels = list(space)
    configurations = tuple(
        replace(
            space[label],
            all_us=samples[label].device_us,
            search_us=quick[label].device_us if label in quick else (),
            problem=samples[label].problem,
        )
        for label in labels
    )
    ahead = [one.label for one in search.candidates if one.device_us and not one.problem]
    return SearchRecord(
        **provenance,  # type: ignore[arg-type]
        configurations=configurations,
        found=labels.index(ahead[0]) if ahead else None,
    )


def kernel_record(name: str, options: argparse.Namespace) -> SearchRecord:
    """Raises TilewrightError where the kernel cannot be inspected or timed."""
    import torch

    path, current = files(name)
    problem, text = Problem.from_file(path), current.read_text(encoding="utf-8")
    gpu = plugged_in()
    assert gpu is not None
    file = KernelFile.parse(text, current)
    kind = "single" if len(file.kernels) == 1 else "fusion"
    stage = next(stage for stage in stages(kind) if stage.name == "block_tiling")
    given = Candidate(text)
    here = Situation(problem, given, inspect(problem, text, gpu), gpu, stage, {}, file.precision)
    searched = LaunchTuning().propose(replace(here, most=MOST_ON_GPU)).candidates
    few = {c.id for c in searched}
    whole = [*searched, *beyond(here, few | {given.id}, options.most - len(few), options.seed)]
    jobs = os.cpu_count() or 1
    print(f"{name}: compiling {len(whole)} configurations", file=sys.stderr, flush=True)
    inspections = inspect_many(problem, [c.source for c in whole], gpu, jobs=jobs)
    space = {given.id: Configuration("as given", _estimate(here.inspection), True)}
    space |= {
        c.id: Configuration(c.why, _estimate(i), c.id in few)
        for c, i in zip(whole, inspections, strict=True)
        if i.runs
    }
    sources = {c.id: c.source for c in (given, *whole) if c.id in space}
    print(f"{name}: timing {len(sources)} configurations", file=sys.stderr, flush=True)
    every = (Round(options.samples, math.inf, 1.0),)
    everything = screen(
        problem, list(sources.items()), keep=1, seconds=600.0, precision=file.precision, rounds=every
    )
    everyone = [Contender(given, here.inspection), *map(Contender, whole, inspections)]
    rivals = [one for one in everyone if one.id in space and space[one.id].proposed]
    search = screen(
        problem,
        [(one.id, sources[one.id]) for one in rivals],
        keep=SCREENED_DOWN_TO,
        precision=file.precision,
        apart=differing(rivals),
    )
    commit, dirty = this_commit(options.commit)
    provenance = {
        "name": f"{NAME}-{name}",
        "date": now(),
        "commit": commit,
        "dirty": dirty,
        "command": command_line(),
        "case": {"samples": str(options.samples), "most": str(options.most), "precision": file.precision},
        "machine": this_machine(
            torch.cuda.get_device_name(),
            cuda=torch.version.cuda or "unknown",
            cudnn=str(torch.backends.cudnn.version()),
        ),
    }
    return assembled(provenance, space, everything, search)


def beyond(here: Situation, known: Collection[str], most: int, seed: int) -> Iterator[Candidate]:
    """A sample of the space that the search does not have among its candidates."""
    around = Around.of(replace(here, most=10**6))
    seen = set(known)
    for configuration in random.Random(seed).sample(around.configurations, len(around.configurations)):
        if len(seen) - len(known) >= most:
            return
        with contextlib.suppress(RewriteDeclined):
            made = around.written(configuration)
            if made.id not in seen:
                seen.add(made.id)
                yield made


def read(path: Path) -> SearchRecord:
    """Raises RecordError where the file is no record of this benchmark, or of another format version."""
    return read_as(SearchRecord, path, FORMAT)


def newest(folder: Path) -> list[SearchRecord]:
    """The newest record of each kernel."""
    dated = sorted((read(path) for path in folder.glob(f"{NAME}-*.json")), key=lambda record: record.date)
    return list({record.kernel: record for record in dated}.values())


def _estimate(inspection: Inspection | None) -> float | None:
    estimate = inspection.estimate if inspection else None
    return estimate.total_us.value if estimate else None


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Record how good launch tuning's search is on this GPU.")
    parser.add_argument("--only", nargs="+", choices=kernels(), metavar="NAME", default=kernels())
    parser.add_argument("--minutes", type=float, default=math.inf, help="start no kernel after this long")
    parser.add_argument(
        "--most", type=int, default=400, help="configurations of one kernel; more: a sample of them"
    )
    parser.add_argument("--samples", type=int, default=20, help="of each in the exhaustive run")
    parser.add_argument("--seed", type=int, default=0, help="of that sample")
    parser.add_argument("--commit", help="what to record where the checkout carries no git history")
    parser.add_argument("--results", type=Path, default=RESULTS, help="default: benchmarks/results")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if plugged_in() is None:
        print("error: PyTorch sees no GPU here; run this on a machine with one", file=sys.stderr)
        return 2
    until = time.monotonic() + 60.0 * options.minutes
    failed = 0
    known = {record.kernel for record in newest(options.results)}
    for name in (name for name in options.only if name not in known):
        if time.monotonic() > until:
            break
        try:
            print(write(kernel_record(name, options), options.results), file=sys.stderr, flush=True)
        except (RecordError, TilewrightError) as error:
            failed += 1
            print(f"error: {name}: {error}", file=sys.stderr, flush=True)
    try:
        print(section(options.results))
    except RecordError as error:
        failed += 1
        print(f"error: {error}", file=sys.stderr)
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
