"""Values with types to JSON and back, for run folders, --json and worker results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import cattrs

from tilewright.worker import plain

T = TypeVar("T")

_converter = cattrs.Converter(forbid_extra_keys=False)
_converter.register_structure_hook(Path, lambda value, _: Path(value))


def to_json(value: Any, *, indent: int | None = 2) -> str:
    """A dataclass (or container of them) as JSON text; NaN and infinities become strings."""
    return json.dumps(plain(value), indent=indent, allow_nan=False)


def structure(value: Any, kind: type[T]) -> T:
    """Plain JSON values as the dataclass `kind`, checked on the way."""
    return _converter.structure(value, kind)
