"""How often a speed verdict is wrong, recorded: `python benchmarks/false_alarms.py`.

A kernel against itself, and against itself with 0.5, 1, 2 and 5 % more work, each through the judge as
users meet it, but that its own process serves all trials here. The work is a loop whose length is an argument
of one and the same binary. How much time a longer loop takes is measured first, on one half longer; the loops
of the known shares follow from that. Writes benchmarks/results/false_alarms-DEVICE-DATE.json with the medians
of every block, from which every verdict can be computed again. Many trials can be taken in parts:
`--summary RECORD...` computes every verdict again and adds them up.
"""

from __future__ import annotations

import argparse
import math
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from recording import (
    RESULTS,
    ROOT,
    Provenance,
    RecordError,
    command_line,
    now,
    shown,
    this_commit,
    this_machine,
    write,
)
from sides import has_gpu
from typed_records import read_as

sys.path.insert(0, str(ROOT / "src"))  # this checkout, also where tilewright is not installed

from tilewright.errors import TilewrightError
from tilewright.judge.speed.decision import recompute
from tilewright.judge.speed.model import CONDITIONS, Block, Ratio, Rules, SpeedOutcome, SpeedVerdict

NAME = "false_alarms"
FORMAT = 1
FOLDER = Path(__file__).resolve().parent / "repeats"
REPEATS = re.compile(r"^REPEATS = (\d+)$", re.MULTILINE)
ADDED = (0.005, 0.01, 0.02, 0.05)
CALIBRATED_AT = 0.5  # how much longer than the base the loop is that calibration times
CONFIDENCE = 0.95
EXACT = 1e-9  # how closely a ratio computed again agrees, libraries of other versions allowed for

Compare = Callable[[str, str], SpeedVerdict]  # source before, source after
Medians = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Calibration:
    """What share of the time the loop takes.

    Args:
        repeats: the loop's length as the file has it.
        longer: the length that was timed against it.
        ratio: time at `repeats` over time at `longer`.
    """

    repeats: int
    longer: int
    ratio: Ratio

    @property
    def share(self) -> float:
        """How much more time a loop takes that is longer by one whole length, as a share of the time."""
        return (1.0 / self.ratio.value - 1.0) / (self.longer / self.repeats - 1.0)

    def repeats_for(self, added: float) -> int:
        """The length that takes `added` more time."""
        return round(self.repeats * (1.0 + added / self.share))


@dataclass(frozen=True)
class Trial:
    """One verdict.

    Args:
        added: the share of time that the second side takes more; 0 for the kernel against itself.
        repeats: the second side's loop.
        rules: by which it was decided: those of the record, without the looks there was no time for.
        pairs, noise_pairs: the two medians of every block, microseconds, in the order taken.
        seconds: that the verdict took; 0 where an older record does not say.
    """

    added: float
    repeats: int
    outcome: SpeedOutcome
    ratio: Ratio
    noise: Ratio
    rules: Rules
    pairs: Medians
    noise_pairs: Medians
    seconds: float = 0.0

    @classmethod
    def of(cls, verdict: SpeedVerdict, added: float, repeats: int, seconds: float) -> Trial:
        return cls(
            added,
            repeats,
            verdict.outcome,
            verdict.ratio,
            verdict.noise,
            verdict.rules,
            _medians(verdict.pairs),
            _medians(verdict.noise_pairs),
            seconds,
        )


@dataclass(frozen=True)
class AlarmRecord(Provenance):
    """Trials of one run.

    Args:
        condition: what was timed.
        method: how a reader gets from the medians to the verdicts.
    """

    case: Mapping[str, str]
    condition: str
    rules: Rules
    calibration: Calibration
    trials: tuple[Trial, ...]
    method: str = (
        "A block's two medians are all of it that a verdict depends on: blocks of one sample a side, these "
        "medians, give every verdict again by tilewright.judge.speed.decision.recompute."
    )
    format: int = FORMAT


@dataclass(frozen=True)
class Rate:
    """How often something happened, with its Clopper–Pearson interval."""

    count: int
    trials: int

    @property
    def interval(self) -> tuple[float, float]:
        from scipy.stats import binomtest

        found = binomtest(self.count, self.trials).proportion_ci(CONFIDENCE, method="exact")
        return float(found.low), float(found.high)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.count} of {self.trials} ({100.0 * low:.1f}–{100.0 * high:.1f} %)"


@dataclass(frozen=True)
class Summary:
    """All trials with one share of added work.

    Args:
        measured: the median of 1 / ratio − 1.
        blocks: the median number of pairs, and the largest.
    """

    added: float
    faster: Rate
    slower: Rate
    measured: float
    blocks: tuple[float, int]


def with_repeats(source: str, repeats: int) -> str:
    """The kernel's file with a loop of another length."""
    return REPEATS.sub(f"REPEATS = {repeats}", source)


def calibrate(compare: Compare, source: str) -> Calibration:
    """Time a loop half as long again.

    Raises:
        RecordError: the file has no REPEATS, or the longer loop was not shown to be slower.
    """
    found = REPEATS.search(source)
    if found is None:
        raise RecordError("the kernel's file has no line `REPEATS = …`")
    repeats = int(found[1])
    longer = round(repeats * (1.0 + CALIBRATED_AT))
    verdict = compare(source, with_repeats(source, longer))
    if verdict.outcome is not SpeedOutcome.SLOWER:
        raise RecordError(f"a loop of {longer} instead of {repeats} repeats: {verdict.statement}")
    return Calibration(repeats, longer, verdict.ratio)


def take(
    compare: Compare,
    source: str,
    calibration: Calibration,
    *,
    against_itself: int,
    slowed: int,
    until: float = math.inf,
) -> Iterator[Trial]:
    """Trials of all shares in random order.

    Args:
        against_itself: trials of the kernel against itself; slowed: of each known share.
        until: no trial starts later, on the monotonic clock. The order being random, those before it
            are a fair sample of all.
    """
    order = [0.0] * against_itself + [added for added in ADDED for _ in range(slowed)]
    random.shuffle(order)
    for added in order:
        if time.monotonic() >= until:
            return
        repeats = calibration.repeats_for(added)
        began = time.monotonic()
        verdict = compare(source, with_repeats(source, repeats))
        yield Trial.of(verdict, added, repeats, time.monotonic() - began)


def summarise(trials: Sequence[Trial]) -> list[Summary]:
    """One row for each share, the smallest first."""
    rows = []
    for added in sorted({trial.added for trial in trials}):
        of_it = [trial for trial in trials if trial.added == added]

        def rate(outcome: SpeedOutcome, of_it: list[Trial] = of_it) -> Rate:
            return Rate(sum(trial.outcome is outcome for trial in of_it), len(of_it))

        rows.append(
            Summary(
                added,
                rate(SpeedOutcome.FASTER),
                rate(SpeedOutcome.SLOWER),
                median(1.0 / trial.ratio.value - 1.0 for trial in of_it),
                (median(len(trial.pairs) for trial in of_it), max(len(trial.pairs) for trial in of_it)),
            )
        )
    return rows


def table(summaries: Sequence[Summary]) -> str:
    """Rows as a Markdown table; in brackets 95 % Clopper–Pearson intervals."""
    lines = [
        "| added work | measured, median | called faster | called slower | blocks: median, most |",
        "|---|---|---|---|---|",
    ]
    for row in summaries:
        added = f"{100.0 * row.added:g} %" if row.added else "none"
        blocks = f"{row.blocks[0]:g}, {row.blocks[1]}"
        measured = round(100.0 * row.measured, 2) + 0.0  # no negative zero
        lines.append(f"| {added} | {measured:+.2f} % | {row.faster} | {row.slower} | {blocks} |")
    return "\n".join(lines) + "\n"


def check(record: AlarmRecord) -> None:
    """Compute every verdict again from its medians.

    Raises:
        RecordError: one comes out differently.
    """
    for number, trial in enumerate(record.trials):
        try:
            again = recompute(_blocks(trial.pairs), _blocks(trial.noise_pairs), trial.rules, record.condition)
        except ValueError as error:
            raise RecordError(f"trial {number} does not give its verdict again: {error}") from None
        if again.outcome is not trial.outcome or not (
            close(again.ratio, trial.ratio) and close(again.noise, trial.noise)
        ):
            raise RecordError(f"trial {number} says {trial.outcome}, its samples: {again.statement}")


def close(one: Ratio, other: Ratio) -> bool:
    """Whether two ratios are one and the same, computed twice."""
    return all(
        math.isclose(getattr(one, end), getattr(other, end), rel_tol=EXACT)
        for end in ("low", "value", "high")
    )


def read(path: Path) -> AlarmRecord:
    """Read a record back.

    Raises:
        RecordError: not a record of this benchmark, or of another format version.
    """
    return read_as(AlarmRecord, path, FORMAT)


def summary_of(paths: Sequence[Path]) -> list[Summary]:
    """The trials of several records together, every verdict computed again.

    Raises:
        RecordError: a record cannot be read, holds a verdict that its samples do not give or a trial that
            another one holds too, or was not taken like the first: on the same device, by the same rules,
            under the same condition.
    """
    records = [read(path) for path in paths]
    samples: set[Medians] = set()
    for path, record in zip(paths, records, strict=True):
        check(record)
        if _circumstances(record) != _circumstances(records[0]):
            raise RecordError(f"{path}: another device, condition or rules than in {paths[0]}")
        own = {trial.pairs for trial in record.trials}
        if samples & own:
            raise RecordError(f"{path}: holds trials that another record holds too")
        samples |= own
    return summarise([trial for record in records for trial in record.trials])


def section(results: Path) -> str:
    """All trials taken like those of the newest record, as a table and where they are; empty without any.

    Raises:
        RecordError: see `summary_of`.
    """
    found = sorted(((read(path), path) for path in results.glob(f"{NAME}-*.json")), key=lambda it: it[0].date)
    if not found:
        return ""
    newest = found[-1][0]
    alike = [(one, path) for one, path in found if _circumstances(one) == _circumstances(newest)]
    dates = " to ".join(dict.fromkeys((alike[0][0].date[:10], newest.date[:10])))
    commits = ", ".join(dict.fromkeys(one.code for one, _ in alike))
    told = (
        f"In brackets 95 % intervals. {newest.machine.device}, {newest.condition}, {dates}, torch "
        f"{newest.machine.torch}, Triton {newest.machine.triton}, commits {commits}, by "
        f"`python benchmarks/false_alarms.py`; every block, from which each verdict can be computed again: "
        f"`{shown(RESULTS / NAME)}-*.json`."
    )
    return f"{table(summary_of([path for _, path in alike]))}\n{told}\n"


def record(options: argparse.Namespace) -> AlarmRecord:
    """Calibrate, then take trials on this machine's GPU.

    Raises:
        RecordError: calibration shows no slower loop.
        TilewrightError: the judge cannot time here.
    """
    import torch

    from tilewright.gpu.turn import turn
    from tilewright.judge.api import comparison
    from tilewright.judge.work import compare_speed
    from tilewright.problem import Problem

    until = time.monotonic() + 60.0 * options.minutes
    problem = Problem.from_file(FOLDER / "problem.py")
    source = (FOLDER / "kernel.py").read_text(encoding="utf-8")
    rules = Rules()

    def compare(before: str, after: str) -> SpeedVerdict:
        sides = [("before", before), ("after", after)]
        payload = comparison(problem, sides, None, None, options.seconds, options.condition, rules)
        with turn():
            verdict: SpeedVerdict = compare_speed(payload)
        return verdict

    calibration = calibrate(compare, source)
    trials = []
    for trial in take(
        compare,
        source,
        calibration,
        against_itself=options.trials,
        slowed=options.slowed,
        until=until,
    ):
        trials.append(trial)
        told = f"{trial.outcome}, {len(trial.pairs)} blocks, {trial.seconds:.1f} s"
        print(f"{len(trials)}: {100.0 * trial.added:g} % added: {told}", file=sys.stderr)
    commit, dirty = this_commit(options.commit)
    return AlarmRecord(
        name=NAME,
        date=now(),
        commit=commit,
        dirty=dirty,
        command=command_line(),
        case={"kernel": "benchmarks/repeats/kernel.py", "dtype": "float32"},
        machine=this_machine(
            torch.cuda.get_device_name(),
            cuda=torch.version.cuda or "unknown",
            cudnn=str(torch.backends.cudnn.version()),
        ),
        condition=options.condition,
        rules=rules,
        calibration=calibration,
        trials=tuple(trials),
    )


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Record how often a speed verdict is wrong.")
    parser.add_argument("--trials", type=int, default=200, help="of the kernel against itself")
    parser.add_argument("--slowed", type=int, default=50, help="trials of each known share of added work")
    parser.add_argument("--seconds", type=float, default=60.0, help="what compare_speed is given")
    parser.add_argument("--minutes", type=float, default=math.inf, help="start no trial after this long")
    parser.add_argument(
        "--condition", choices=CONDITIONS, default="device time, cold L2", help="what is timed"
    )
    parser.add_argument("--commit", help="what to record where the checkout carries no git history")
    parser.add_argument("--results", type=Path, default=RESULTS, help="default: benchmarks/results")
    parser.add_argument(
        "--summary", type=Path, nargs="+", metavar="RECORD", help="measure nothing; add up these records"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if not options.summary and not has_gpu():
        print("error: PyTorch sees no GPU here; run this on a machine with one", file=sys.stderr)
        return 2
    try:
        paths = options.summary or [write(record(options), options.results)]
        print(table(summary_of(paths)))
    except (RecordError, TilewrightError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _circumstances(record: AlarmRecord) -> tuple[str, str, Rules]:
    return record.machine.device, record.condition, record.rules


def _medians(blocks: Sequence[Block]) -> Medians:
    return tuple((median(block.before_us), median(block.after_us)) for block in blocks)


def _blocks(medians: Medians) -> list[Block]:
    return [Block((before,), (after,)) for before, after in medians]


if __name__ == "__main__":
    sys.exit(main())
