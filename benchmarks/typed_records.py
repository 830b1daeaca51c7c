"""Reads back the records of benchmarks whose values are dataclasses of their own, with tilewright's help."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Protocol, TypeVar

from recording import ROOT, RecordError

sys.path.insert(0, str(ROOT / "src"))  # this checkout, also where tilewright is not installed

from tilewright.serial import from_json


class Formatted(Protocol):
    """A record that says which format it is written in."""

    @property
    def format(self) -> int: ...


R = TypeVar("R", bound=Formatted)


def read_as(kind: type[R], path: Path, wanted: int) -> R:
    """Read a record back.

    Args:
        wanted: the format that the program reads.

    Raises:
        RecordError: not a record of this kind, or of another format version.
    """
    try:
        record = from_json(path.read_text(encoding="utf-8"), kind)
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: not a record ({error})") from None
    if record.format != wanted:
        raise RecordError(f"{path}: format {record.format}, this program reads format {wanted}")
    return record
