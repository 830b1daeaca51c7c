"""Reads a run folder that may be damaged in any way: what can be read, and a line for what cannot.

Reads and nothing else: no lock is taken and nothing in the folder is executed or written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tilewright import manifest
from tilewright.errors import RunFolderError, Where
from tilewright.judge.speed.samples import Timing
from tilewright.machine import Machine
from tilewright.runs import (
    DECISIONS,
    FORMAT,
    LOG,
    MACHINES,
    SCREENINGS,
    TIMINGS,
    Asked,
    Decided,
    Tried,
    read_lines,
)
from tilewright.screening.model import Screening
from tilewright.serial import from_json
from tilewright.stages.summary import Summary
from tilewright.verify.model import Line, agrees, differs, not_checked

Record = TypeVar("Record")


@dataclass
class Bundle:
    """What a run folder holds, as far as it can be read.

    Args:
        problem, current, request, best: texts; None for what is absent or unreadable.
        sources: text of each candidate by the name of its file, without ".py".
        damaged: a line for each file that is missing or cannot be read.
    """

    folder: Path
    asked: Asked | None = None
    summary: Summary | None = None
    tried: tuple[Tried, ...] = ()
    screenings: tuple[Screening, ...] = ()
    timings: tuple[Timing, ...] = ()
    decisions: tuple[Decided, ...] = ()
    machines: tuple[Machine, ...] = ()
    problem: str | None = None
    current: str | None = None
    request: str | None = None
    best: str | None = None
    sources: dict[str, str] = field(default_factory=dict)
    damaged: list[Line] = field(default_factory=list)

    def of(self, candidate_id: str) -> Tried | None:
        """The log's line of a candidate."""
        return next((tried for tried in self.tried if tried.id == candidate_id), None)


def read_bundle(folder: Path) -> Bundle:
    """Read a run folder.

    Raises:
        RunFolderError: it is not one: there is no such folder, or it has neither run.json nor a manifest.
    """
    if not ((folder / "run.json").is_file() or (folder / manifest.NAME).is_file()):
        what = "holds no run" if folder.is_dir() else "no such folder"
        raise RunFolderError(what, where=Where(folder), mend="give the -o DIR of a run")
    bundle = Bundle(folder)
    bundle.asked = _value(bundle, "run.json", Asked)
    if bundle.asked is not None and bundle.asked.format != FORMAT:
        why = f"is of format {bundle.asked.format}, this version reads {FORMAT}"
        bundle.damaged.append(differs("run.json", why))
    bundle.summary = _value(bundle, "summary.json", Summary)
    bundle.tried = _records(bundle, LOG, Tried)
    bundle.machines = _records(bundle, MACHINES, Machine)
    if (folder / SCREENINGS).exists():
        bundle.screenings = _records(bundle, SCREENINGS, Screening)
    if (folder / TIMINGS).exists():
        bundle.timings = _records(bundle, TIMINGS, Timing)
    if (folder / DECISIONS).exists():
        bundle.decisions = _records(bundle, DECISIONS, Decided)
    bundle.problem, bundle.best = _text(bundle, "problem.py"), _text(bundle, "best.py")
    if (folder / "current.py").exists():
        bundle.current = _text(bundle, "current.py")
    if (folder / "request.txt").exists():
        bundle.request = _text(bundle, "request.txt")
    for path in sorted((folder / "candidates").glob("*.py")):
        source = _text(bundle, f"candidates/{path.name}")
        if source is not None:
            bundle.sources[path.stem] = source
    return bundle


def check_files(folder: Path, quoted: str | None) -> list[Line]:
    """The files against the manifest, and the manifest against a digest that somebody quoted.

    Args:
        quoted: 64 hexadecimal digits; None when nobody quoted any.
    """
    if not (folder / manifest.NAME).is_file():
        return [differs("manifest", "is missing: the run did not finish, or somebody took it away")]
    try:
        listed, digest = manifest.read(folder), manifest.digest_of(folder)
    except (OSError, ValueError) as error:
        return [differs("manifest", f"cannot be read: {error}")]
    lines = [_digest(digest, quoted)]
    try:
        changes = manifest.changes(listed, manifest.survey(folder))
    except OSError as error:
        return [*lines, differs("files", f"cannot be read: {error}")]
    if not changes:
        lines.append(agrees("files", found=f"{len(listed.files)} files as the manifest lists them"))
    return [*lines, *(_changed(change) for change in changes)]


def _digest(digest: str, quoted: str | None) -> Line:
    if quoted is None:
        why = "no digest was quoted: give the one that the run's author stated, with --digest"
        return not_checked("manifest", why)
    if digest != quoted.lower():
        return differs("manifest", "is another than the one quoted", quoted.lower(), digest)
    return agrees("manifest", quoted.lower(), digest)


def _changed(change: manifest.Change) -> Line:
    listed, found = (_entry(entry) for entry in (change.listed, change.found))
    if change.found is None:
        return differs(change.name, "is missing", listed, found)
    if change.listed is None:
        return differs(change.name, "was added", listed, found)
    return differs(change.name, "was changed", listed, found)


def _entry(entry: manifest.Entry | None) -> str:
    return f"{entry.bytes} bytes, {entry.sha256}" if entry else "no file"


def _text(bundle: Bundle, name: str) -> str | None:
    """A file to the byte: reading it as text would hide a changed line ending."""
    if not _present(bundle, name):
        return None
    try:
        return (bundle.folder / name).read_bytes().decode("utf-8")
    except (OSError, ValueError) as error:
        bundle.damaged.append(differs(name, f"cannot be read: {error}"))
    return None


def _present(bundle: Bundle, name: str) -> bool:
    """Whether a file is there to be read; a pipe would never end."""
    path = bundle.folder / name
    if not path.is_file():
        bundle.damaged.append(differs(name, "is no regular file" if path.exists() else "is missing"))
    return path.is_file()


def _value(bundle: Bundle, name: str, kind: type[Record]) -> Record | None:
    text = _text(bundle, name)
    if text is None:
        return None
    try:
        return from_json(text, kind)
    except ValueError as error:
        bundle.damaged.append(differs(name, f"cannot be read: {error}"))
        return None


def _records(bundle: Bundle, name: str, kind: type[Record]) -> tuple[Record, ...]:
    if not _present(bundle, name):
        return ()
    try:
        values, damaged = read_lines(bundle.folder / name, kind)
    except OSError as error:
        bundle.damaged.append(differs(name, f"cannot be read: {error}"))
        return ()
    if damaged:
        shown = ", ".join(str(number) for number in damaged[:5])
        bundle.damaged.append(differs(name, f"cannot be read in line {shown}"))
    elif not values:
        bundle.damaged.append(differs(name, "holds nothing; a run writes no empty record"))
    return tuple(values)
