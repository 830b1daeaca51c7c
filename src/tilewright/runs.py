"""What a run leaves on disk, and how one is resumed.

    DIR/run.json           what was asked: inputs by hash, GPU, stages, versions; written first
    DIR/problem.py         the problem as it was read
    DIR/current.py         the code as given, when there was any
    DIR/candidates/ID.py   the source of every candidate tried
    DIR/log.jsonl          one line per candidate: its verdict, evidence and times, in order
    DIR/best.py            the result
    DIR/summary.json       the result in figures; its presence says that the run finished

Lines of the log are flushed to disk one by one, so a run that is killed loses at most the
candidate under test. The same command resumes it: what the log holds is not tried again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock

from tilewright.candidate import Candidate
from tilewright.errors import RunFolderError, Where
from tilewright.gpu.model import Gpu
from tilewright.inspect.model import Inspection
from tilewright.judge.verdict import Verdict
from tilewright.serial import structure, to_json

FORMAT = 1
OWN_FILES = ("run.json", "problem.py", "current.py", "request.txt", "log.jsonl", "best.py", "summary.json")


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
class Asked:
    """What a run was asked to do. Two runs are the same when these are equal.

    Args:
        problem, current, request: SHA-256 of the texts; None for what was not given.
        kind: of the model, as the stage catalogue tells them apart.
        profile: Nsight Compute metrics by kernel, from the request.
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
        with self._appending, (self.path / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(to_json(tried, indent=None) + "\n")
            log.flush()
            os.fsync(log.fileno())
        self.tried[candidate.id] = tried

    def write(self, name: str, text: str) -> Path:
        """Write a file of the run in one step, so that a kill leaves the old one or the new one."""
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        unfinished = path.with_name(path.name + ".part")
        unfinished.write_text(text, encoding="utf-8")
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
        if "summary.json" in present:
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
        complete = read_log(path)
        folder.write("log.jsonl", "".join(to_json(tried, indent=None) + "\n" for tried in complete))
        folder.tried = {tried.id: tried for tried in complete}
        folder.resumed = True
        return folder
    foreign = present - set(OWN_FILES) - {"candidates"}
    if "run.json" not in present and present and (foreign or not force):
        raise RunFolderError(
            "is not empty and holds no run", where=Where(path), mend="give a new folder as -o DIR"
        )
    for name in OWN_FILES:
        (path / name).unlink(missing_ok=True)
    for source in (path / "candidates").glob("*.py"):
        source.unlink()
    folder.write("run.json", to_json(asked))
    return folder


def read_asked(path: Path) -> Asked:
    """What a run folder's run was asked.

    Raises:
        RunFolderError: the folder holds no run, or one this version cannot read.
    """
    return structure(_read_json(path / "run.json"), Asked)


def read_log(path: Path) -> list[Tried]:
    """Every complete line of a run's log; a last line cut short by a kill is left out."""
    log = path / "log.jsonl"
    if not log.exists():
        return []
    tried = []
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            tried.append(structure(json.loads(line), Tried))
        except json.JSONDecodeError:
            continue
    return tried


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunFolderError(
            "holds no run", where=Where(path.parent), mend="give the -o DIR of a run"
        ) from None
    except (OSError, ValueError) as error:
        raise RunFolderError(
            f"cannot be read: {error}", where=Where(path), mend="start the run again with --force"
        ) from None
    if not isinstance(value, dict) or value.get("format", FORMAT) != FORMAT:
        raise RunFolderError(
            "was written by another version of tilewright",
            where=Where(path),
            mend="start the run again with --force",
        )
    return value
