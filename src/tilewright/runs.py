"""What a run leaves on disk, and how one is resumed.

    DIR/run.json           what was asked: inputs by hash, GPU, stages, version; written first
    DIR/machines.jsonl     one line each time the run was started or resumed: versions and device
    DIR/problem.py         the problem as it was read
    DIR/current.py         the code as given, when there was any
    DIR/request.txt        the request, when there was one
    DIR/candidates/ID.py   the source of every candidate tried
    DIR/log.jsonl          one line per candidate: inspection, verdict with its seeds, outcome, in order
    DIR/screenings.jsonl   one line per screening, with every raw sample; only where there is a GPU
    DIR/timings.jsonl      one line per timing, with every raw sample; only where there is a GPU
    DIR/decisions.jsonl    one line per speed verdict, with every raw block; only where there is a GPU
    DIR/best.py            the result
    DIR/summary.json       the result in figures
    DIR/manifest.json      size and SHA-256 of every file above; its presence says that the run finished

Lines are flushed to disk one by one, so a run that is killed loses at most the candidate under
test. The same command resumes it: what the log holds is not tried again. A finished folder is a
bundle of evidence that anyone can check: see `tilewright.verify`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import filelock

from tilewright import manifest
from tilewright.candidate import Candidate
from tilewright.errors import RunFolderError, Where
from tilewright.gpu.model import Gpu
from tilewright.inspect.model import Inspection
from tilewright.judge.means.findings import Kind
from tilewright.judge.speed.model import SpeedVerdict
from tilewright.judge.speed.samples import Timing
from tilewright.judge.verdict import Verdict
from tilewright.machine import Machine
from tilewright.place import Place
from tilewright.screening.model import Screening
from tilewright.serial import from_json, to_json

FORMAT = 3
LOG, TIMINGS, DECISIONS, MACHINES = "log.jsonl", "timings.jsonl", "decisions.jsonl", "machines.jsonl"
SCREENINGS = "screenings.jsonl"
OWN_FILES = (  # in the order in which --force removes them: what says that a run finished goes first
    manifest.NAME, "summary.json", "best.py", DECISIONS, TIMINGS, SCREENINGS, LOG, MACHINES, "request.txt",
    "current.py", "problem.py", "run.json",
)  # fmt: skip
UNFINISHED = ".part"  # ends the name of a file that is being written

Line = TypeVar("Line")


@dataclass(frozen=True)
class Tried:
    """One line of the log: a candidate and everything found out about it.

    Args:
        inspection, verdict: None when that step was not reached.
        outcome: one sentence: "kept", "slower", "dropped: …".
    """

    id: str
    stage: str
    proposer: str
    why: str
    parent: str | None
    settings: dict[str, str]
    inspection: Inspection | None = None
    verdict: Verdict | None = None
    outcome: str = ""

    @classmethod
    def of(
        cls,
        candidate: Candidate,
        outcome: str,
        inspection: Inspection | None = None,
        verdict: Verdict | None = None,
    ) -> Tried:
        return cls(
            candidate.id,
            candidate.stage,
            candidate.proposer,
            candidate.why,
            candidate.parent,
            dict(candidate.settings),
            inspection,
            verdict,
            outcome,
        )


@dataclass(frozen=True)
class Decided:
    """One line of decisions.jsonl: whether one candidate is faster than another.

    Args:
        purpose: "final" for one of a race's fastest against the best so far, "gain" for the result against
            what it is set against.
        before, after: ids of candidates, or "reference".
        device: the GPU it was decided on.
        speed: the answer with every raw block; None where a side could not be timed.
        problem: why it could not; empty when it could.
    """

    purpose: str
    before: str
    after: str
    device: str
    speed: SpeedVerdict | None = None
    problem: str = ""


@dataclass(frozen=True)
class Asked:
    """What a run was asked to do. Two runs are the same when these are equal.

    Args:
        problem, current, request: SHA-256 of the texts; None for what was not given.
        kind: of the model, as the stage catalogue tells them apart.
        profile: Nsight Compute metrics by kernel, given or from the request.
        allow: what candidates may do beside computing, further than the code as given does.
        elsewhere: further GPUs and sizes that the result is to serve, with the texts of their problems.
    """

    problem: str
    current: str | None
    request: str | None
    gpu: Gpu
    kind: str
    stages: tuple[str, ...]
    profile: dict[str, dict[str, float]]
    precision: str
    parameter_map: dict[str, str]
    tilewright: str
    dialect: str = "triton"
    plan: str | None = None
    allow: tuple[Kind, ...] = ()
    elsewhere: tuple[Place, ...] = ()
    format: int = FORMAT


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class RunFolder:
    """An open run folder. Holds a lock until closed; use `open_run`."""

    path: Path
    tried: dict[str, Tried] = field(default_factory=dict)
    resumed: bool = False
    _appending: threading.Lock = field(default_factory=threading.Lock)

    def source_of(self, candidate_id: str) -> str:
        return (self.path / "candidates" / f"{candidate_id}.py").read_text(encoding="utf-8")

    def record(self, candidate: Candidate, tried: Tried) -> None:
        """Append a candidate to the log and keep its source. Durable when it returns."""
        self.write(f"candidates/{candidate.id}.py", candidate.source)
        self._append(LOG, tried)
        self.tried[candidate.id] = tried

    def record_times(self, times: Timing | Decided | Screening) -> None:
        """Append a timing, a speed verdict or a screening with all its samples. Durable when it returns."""
        names = {Timing: TIMINGS, Decided: DECISIONS, Screening: SCREENINGS}
        self._append(names[type(times)], times)

    def record_machine(self, machine: Machine) -> None:
        """Note what the run goes on from here on. Durable when it returns."""
        self._append(MACHINES, machine)

    def _append(self, name: str, value: Tried | Timing | Decided | Screening | Machine) -> None:
        with self._appending, (self.path / name).open("a", encoding="utf-8") as file:
            file.write(to_json(value, indent=None) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def seal(self) -> str:
        """Write the manifest: the run is finished. Returns the manifest's digest."""
        self.write(manifest.NAME, manifest.text_of(manifest.survey(self.path)))
        return manifest.digest_of(self.path)

    def write(self, name: str, text: str) -> Path:
        """Write a file of the run in one step, so that a kill leaves the old one or the new one."""
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        unfinished = path.with_name(path.name + UNFINISHED)
        unfinished.write_text(text, encoding="utf-8", newline="")
        unfinished.replace(path)
        return path


@contextlib.contextmanager
def open_run(path: str | Path, asked: Asked, *, force: bool = False) -> Iterator[RunFolder]:
    """Take a run folder: a new one, an unfinished run of the same question, or, forced, any run.

    Raises:
        RunFolderError: another process holds it; it cannot be written; it holds a finished run,
            another question's run, or files that are not a run's.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path / ".lock")
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise RunFolderError(
            "another run is using this folder", where=Where(path), mend="wait for it or give another -o DIR"
        ) from None
    except OSError as error:
        raise RunFolderError(
            f"cannot be written ({error.strerror})", where=Where(path), mend="give another -o DIR"
        ) from None
    try:
        yield _prepare(path, asked, force)
    finally:
        lock.release()


def _prepare(path: Path, asked: Asked, force: bool) -> RunFolder:
    present = {entry.name for entry in path.iterdir()} - {".lock"}
    folder = RunFolder(path)
    if "run.json" in present and not force:
        if manifest.NAME in present:
            raise RunFolderError(
                "holds a finished run",
                where=Where(path),
                mend="give another -o DIR, or --force to replace it",
            )
        if read_asked(path) != asked:
            raise RunFolderError(
                "holds an unfinished run of another question",
                where=Where(path),
                mend="give another -o DIR, or --force to replace it",
            )
        _take_up(folder)
        return folder
    foreign = present - set(OWN_FILES) - {name + UNFINISHED for name in OWN_FILES} - {"candidates"}
    if "run.json" not in present and present and (foreign or not force):
        raise RunFolderError(
            "is not empty and holds no run", where=Where(path), mend="give a new folder as -o DIR"
        )
    for name in OWN_FILES:
        (path / name).unlink(missing_ok=True)
    for leftover in (*path.rglob(f"*{UNFINISHED}"), *(path / "candidates").glob("*.py")):
        leftover.unlink()
    folder.write("run.json", to_json(asked))
    return folder


def _take_up(folder: RunFolder) -> None:
    """Keep what an interrupted run had put on record in full, and nothing that it left half done."""
    for name, kind in (
        (LOG, Tried),
        (SCREENINGS, Screening),
        (TIMINGS, Timing),
        (DECISIONS, Decided),
        (MACHINES, Machine),
    ):
        if (folder.path / name).exists():
            complete = read_lines(folder.path / name, kind)[0]
            folder.write(name, "".join(to_json(line, indent=None) + "\n" for line in complete))
    folder.tried = {tried.id: tried for tried in read_log(folder.path)}
    folder.resumed = True
    for leftover in folder.path.rglob(f"*{UNFINISHED}"):
        leftover.unlink()
    for source in (folder.path / "candidates").glob("*.py"):
        if source.stem not in folder.tried:
            source.unlink()


def read_asked(path: Path) -> Asked:
    """What a run folder's run was asked.

    Raises:
        RunFolderError: the folder holds no run, or one this version cannot read.
    """
    try:
        asked = from_json((path / "run.json").read_text(encoding="utf-8"), Asked)
    except FileNotFoundError:
        raise RunFolderError("holds no run", where=Where(path), mend="give the -o DIR of a run") from None
    except (OSError, ValueError) as error:
        raise RunFolderError(
            f"cannot be read: {error}",
            where=Where(path / "run.json"),
            mend="start the run again with --force",
        ) from None
    if asked.format != FORMAT:
        raise RunFolderError(
            "was written by another version of tilewright",
            where=Where(path / "run.json"),
            mend="start the run again with --force",
        )
    return asked


def read_log(path: Path) -> list[Tried]:
    """Every complete line of a run's log; a last line cut short by a kill is left out."""
    return read_lines(path / LOG, Tried)[0]


def read_lines(path: Path, kind: type[Line]) -> tuple[list[Line], list[int]]:
    """The lines of a file of records, and the numbers of those that cannot be read, counting from 1.

    A file that does not exist has no lines.

    Raises:
        OSError: it cannot be read.
    """
    values, damaged = [], []
    lines = path.read_bytes().splitlines() if path.exists() else []
    for number, line in enumerate(lines, 1):
        try:
            values.append(from_json(line.decode("utf-8"), kind))
        except ValueError:
            damaged.append(number)
    return values, damaged
