"""The list of a folder's files by size and SHA-256, and what has changed since it was written.

The list is written last, as DIR/manifest.json. Its own digest stands for the whole folder: whoever
quotes it can tell later whether one byte of one file is another.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from tilewright.serial import from_json, to_json

NAME = "manifest.json"
LOCK = ".lock"  # left behind by the run's lock, always empty
FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """One file."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """Files by their path below the folder, with "/" between its parts."""

    files: dict[str, Entry]
    format: int = FORMAT


@dataclass(frozen=True)
class Change:
    """One file that is not as the manifest has it.

    Args:
        listed, found: what the manifest and the folder have; None for a file that one of them lacks.
    """

    name: str
    listed: Entry | None
    found: Entry | None


def survey(folder: Path) -> Manifest:
    """What a folder holds now, its manifest left out.

    Raises:
        OSError: it cannot be read.
    """
    entries: dict[str, Entry] = {}
    for parent, folders, names in os.walk(folder, onerror=_raise):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for name in [*names, *links]:
            path = Path(parent, name)
            entry = _entry(path)
            below = path.relative_to(folder).as_posix()
            if below != NAME and not (below == LOCK and entry.bytes == 0):
                entries[below] = entry
    return Manifest(dict(sorted(entries.items())))


def digest_of(folder: Path) -> str:
    """The SHA-256 of a folder's manifest, which is what to quote.

    Raises:
        OSError: it has none, or it cannot be read.
    """
    return hashlib.sha256((folder / NAME).read_bytes()).hexdigest()


def text_of(manifest: Manifest) -> str:
    """A manifest as it is written."""
    return to_json(manifest) + "\n"


def read(folder: Path) -> Manifest:
    """A folder's manifest.

    Raises:
        OSError: it has none, or it cannot be read.
        ValueError: it is not one as this version writes it, to the letter.
    """
    text = (folder / NAME).read_bytes().decode("utf-8")
    manifest = from_json(text, Manifest)
    if manifest.format != FORMAT:
        raise ValueError(f"is of format {manifest.format}, this version reads {FORMAT}")
    if text_of(manifest) != text:
        raise ValueError("is not written as tilewright writes it")
    return manifest


def changes(listed: Manifest, found: Manifest) -> list[Change]:
    """Every file that was changed, removed or added, by name."""
    names = sorted(listed.files.keys() | found.files.keys())
    pairs = [Change(name, listed.files.get(name), found.files.get(name)) for name in names]
    return [pair for pair in pairs if pair.listed != pair.found]


def _entry(path: Path) -> Entry:
    """A link is told by where it leads, never followed: its target is not part of the folder."""
    if path.is_symlink():
        return Entry(f"link to {path.readlink()}", 0)
    if not path.is_file():
        return Entry("not a regular file", 0)
    with path.open("rb") as file:
        return Entry(hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size)


def _raise(error: OSError) -> None:
    raise error
