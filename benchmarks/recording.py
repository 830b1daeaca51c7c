"""What a benchmark records: raw samples of every side, and where and how they were taken.

Imports neither torch nor tilewright, so that a record can be read and checked anywhere.
"""

from __future__ import annotations

import json
import platform
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from statistics import quantiles
from typing import Any, Protocol

FORMAT = 1
ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).resolve().parent / "results"

METHOD = (
    "All sides in one process, one sample at a time in random order. Each sample runs its side once untimed, "
    "so that caches hold what the side itself left there, then once on the host's clock from one device "
    "synchronization to the next (wall), then twice back to back with events around the second run (device)."
)
NUMBERS = re.compile(r"\[\n[-+.\deE,\s]*\]")  # a list over several lines; no JSON string has line ends
RUNS_PER_SAMPLE = 4  # one untimed, one for wall, two for device

Run = Callable[[], Any]


class RecordError(Exception):
    """A record cannot be read or written, one line."""


class Stopwatch(Protocol):
    """Times one run of a side, microseconds."""

    def wall_us(self, run: Run) -> float:
        """From an idle device to an idle device, on the host's clock."""
        ...

    def device_us(self, run: Run) -> float:
        """Between two events on the device, the device busy before the first."""
        ...


@dataclass(frozen=True)
class Contender:
    """A side that can be run.

    Args:
        label: what the record calls it.
        run: one forward; it may return before the device is done.
        prepare: sets what the side needs set in the process, outside of the timed part.
    """

    label: str
    run: Run
    prepare: Callable[[], None]


@dataclass
class Samples:
    """Raw times in the order they were taken, microseconds."""

    wall_us: list[float] = field(default_factory=list)
    device_us: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Side:
    """One side of a record.

    Args:
        label: its name, unique within the record.
        wall_us, device_us: raw samples; empty when it could not be timed.
        error: ‖y − y64‖ / ‖y64‖ against the float64 reference; None when it gave no output.
        note: what a reader must know to read the figures, or why there are none.
    """

    label: str
    wall_us: tuple[float, ...] = ()
    device_us: tuple[float, ...] = ()
    error: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Machine:
    """What the samples were taken on. Versions as the software itself states them."""

    device: str
    driver: str
    cuda: str
    cudnn: str
    torch: str
    triton: str
    python: str


@dataclass(frozen=True)
class Provenance:
    """What was run, when, where and from which code.

    Args:
        name: the benchmark's.
        date: ISO 8601, UTC.
        commit: of this repository; "unknown" outside a checkout.
        dirty: whether tracked files differed from the commit; None when unknown.
        command: the command line that made it.
        case: the sizes and types of the problem.
    """

    name: str
    date: str
    commit: str
    dirty: bool | None
    command: tuple[str, ...]
    case: Mapping[str, str | int]
    machine: Machine

    @property
    def code(self) -> str:
        """The commit as people read it, and whether what ran was more than that."""
        return self.commit[:12] + (" with local changes" if self.dirty else "")


@dataclass(frozen=True)
class Record(Provenance):
    """One run of one benchmark that times sides.

    Args:
        method: how the samples were taken.
    """

    sides: tuple[Side, ...]
    method: str = METHOD
    format: int = FORMAT


def sample(
    contenders: Sequence[Contender],
    stopwatch: Stopwatch,
    *,
    seconds_per_side: float,
    least: int = 20,
    most: int = 100,
    seed: int = 0,
) -> dict[str, Samples]:
    """Time all contenders interleaved in random order.

    Args:
        seconds_per_side: what a side's samples may take together; slow sides get fewer, never
            fewer than `least`, and no side gets more than `most`.

    Returns:
        Samples by label.
    """
    order: list[Contender] = []
    for contender in contenders:
        contender.prepare()
        for _ in range(2):  # the first run may still allocate or compile
            contender.run()
        seconds = RUNS_PER_SAMPLE * stopwatch.wall_us(contender.run) * 1e-6
        count = int(seconds_per_side / seconds) if seconds > 0 else most
        order += [contender] * min(most, max(least, count))
    random.Random(seed).shuffle(order)
    taken = {contender.label: Samples() for contender in contenders}
    for contender in order:
        contender.prepare()
        contender.run()
        taken[contender.label].wall_us.append(stopwatch.wall_us(contender.run))
        taken[contender.label].device_us.append(stopwatch.device_us(contender.run))
    return taken


def spread(samples: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile.

    Raises:
        RecordError: fewer than two samples.
    """
    if len(samples) < 2:
        raise RecordError(f"{len(samples)} samples have no spread; take at least two")
    lower, middle, upper = quantiles(samples, n=4, method="inclusive")
    return lower, middle, upper


def this_machine(device: str, *, cuda: str, cudnn: str) -> Machine:
    """The machine this process runs on; what cannot be learnt is "unknown"."""
    return Machine(
        device=device,
        driver=_driver(),
        cuda=cuda,
        cudnn=cudnn,
        torch=_version("torch"),
        triton=_version("triton"),
        python=platform.python_version(),
    )


def _driver() -> str:
    """The driver's version, which nvidia-smi says once for each GPU."""
    said = _said(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"])
    return said.splitlines()[0] if said else "unknown"


def this_commit(stated: str | None = None) -> tuple[str, bool | None]:
    """The checkout's commit and whether tracked files differ from it; ("unknown", None) without git.

    Args:
        stated: the commit, as --commit gives it where the checkout carries no git history.
    """
    if stated:
        return stated, None
    commit = _said(["git", "rev-parse", "HEAD"])
    if not commit:
        return "unknown", None
    changes = _said(["git", "status", "--porcelain", "--untracked-files=no"])
    return commit, None if changes is None else bool(changes)


def now() -> str:
    """The time of day, ISO 8601, UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def command_line() -> tuple[str, ...]:
    """This process's command line, the script as seen from the repository's root.

    Without --results: where a record was written says nothing about how it was made.
    """
    script = Path(sys.argv[0]).resolve()
    arguments = list(sys.argv[1:])
    if "--results" in arguments:
        at = arguments.index("--results")
        del arguments[at : at + 2]
    return ("python", shown(script), *arguments)


def all_of(values: Iterable[str]) -> str:
    """What some records say of one thing, each answer once."""
    return " and ".join(sorted(set(values)))


def shown(path: Path) -> str:
    """A path as seen from the repository's root; outside of it the name alone, no machine's folders."""
    path = path.resolve()
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


def write(record: Provenance, folder: Path = RESULTS) -> Path:
    """Write a record to `folder`, named after the benchmark, the device and the date.

    Raises:
        RecordError: a record of that name exists, or the folder cannot be written.
    """
    device = re.sub(r"[^a-z0-9]+", "-", record.machine.device.lower()).strip("-")
    path = folder / f"{record.name}-{device}-{record.date.replace(':', '')}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            text = json.dumps(asdict(record), indent=1, ensure_ascii=False, allow_nan=False)
            file.write(NUMBERS.sub(lambda found: " ".join(found[0].split()), text) + "\n")
    except OSError as error:
        raise RecordError(f"{path}: cannot be written ({error.strerror})") from None
    return path


def read(path: Path) -> Record:
    """Read a record back.

    Raises:
        RecordError: not a record, or of another format version.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            raise RecordError(f"{path}: format {values['format']}, this program reads format {FORMAT}")
        values["machine"] = Machine(**values["machine"])
        values["command"] = tuple(values["command"])
        values["sides"] = tuple(
            Side(**{**side, "wall_us": tuple(side["wall_us"]), "device_us": tuple(side["device_us"])})
            for side in values["sides"]
        )
        return Record(**values)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path}: not a record ({type(error).__name__}: {error})") from None


def newest(name: str, folder: Path = RESULTS) -> Path | None:
    """The newest record of a benchmark by its own date; None when there is none."""
    dated = [(read(path).date, path) for path in folder.glob(f"{name}-*.json")]
    return max(dated)[1] if dated else None


def _said(command: list[str]) -> str | None:
    """What a command prints; None when it is missing or fails."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"
