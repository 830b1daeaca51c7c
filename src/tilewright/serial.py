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


def from_json(text: str, kind: type[T]) -> T:
    """JSON text that may be damaged as the dataclass `kind`.

    Raises:
        ValueError: it is not JSON, or not a `kind`; one line says where.
    """
    try:
        return structure(json.loads(text), kind)
    except cattrs.BaseValidationError as error:
        raise ValueError(f"{cattrs.transform_error(error)[0]}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except (
        TypeError,
        KeyError,
        AttributeError,
    ) as error:  # no fields at all
        raise ValueError(f"is not a {kind.__name__}: {error}") from None


def structure(value: Any, kind: type[T]) -> T:
    """Plain JSON values as the dataclass `kind`, checked on the way."""
    return _converter.structure(value, kind)
