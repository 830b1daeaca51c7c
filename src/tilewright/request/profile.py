"""The figures of a profile: JSON by kernel and metric, a list, or a sentence on why there are none."""

from __future__ import annotations

import ast
import contextlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tilewright.errors import RequestError, Where
from tilewright.problem import read_text
from tilewright.request.listed import listed, number
from tilewright.request.model import Ignored
from tilewright.request.sections import FENCE, Text, balanced, heading_of

UNNAMED = ""  # the kernel of metrics that stand without one


@dataclass
class Profile:
    """What a profile section holds. Line numbers count from 1."""

    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    note: str = ""
    ignored: list[Ignored] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_profile_file(path: Path) -> Profile:
    """Read a file that holds a profile's block and nothing else, as `tilewright profile -o FILE` writes it.

    Raises:
        RequestError: it cannot be read, or holds no figures.
    """
    text = read_text(path, RequestError, "profile").replace("\r\n", "\n")
    lines = [Text(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    profile = read_profile([line for line in lines if not _frames(line.text)], str(path))
    if not profile.figures:
        raise RequestError(
            "holds no metrics by kernel",
            where=Where(path),
            mend="give what `tilewright profile -o FILE` wrote",
        )
    return profile


def _frames(line: str) -> bool:
    """Whether a line only says that a profile begins, or fences it."""
    heading = heading_of(line)
    return FENCE.match(line) is not None or (heading is not None and heading.kind == "profile")


def read_profile(lines: Sequence[Text], path: str) -> Profile:
    """Read a profile section's lines, fence marks left out.

    Raises:
        RequestError: the figures begin with a brace and cannot be read; the line is named.
    """
    profile = Profile()
    start = next((i for i, line in enumerate(lines) if line.text.lstrip().startswith("{")), len(lines))
    said = list(lines[:start])
    if start < len(lines):
        count = balanced([line.text for line in lines[start:]])
        if count is None:
            raise _broken("its braces never close", lines[start].number, path)
        body = lines[start : start + count]
        text, tail = _cut("\n".join(line.text for line in body))
        _figures(_decode(text, body, path), body, profile)
        said += [*([Text(body[-1].number, tail)] if tail else []), *lines[start + count :]]
    for line in said:
        if line.text.lstrip()[0] in "{[":
            profile.ignored.append(Ignored(line.number, line.text.strip(), "not metrics by kernel"))
    found, told = listed(said)
    for kernel, metric, value, at in found:
        figures = profile.figures.setdefault(kernel, {})
        _figure(figures, metric, value, [line for line in said if line.number == at], profile)
    _check_named(profile)
    rest = [line for line in said if line.number not in told]
    profile.note = " ".join(line.text.strip() for line in rest if line.text.lstrip()[0] not in "{[")
    return profile


def _cut(text: str) -> tuple[str, str]:
    """The text up to its last closing brace, and what follows it."""
    end = text.rindex("}") + 1
    return text[:end], text[end:].strip()


def _decode(text: str, lines: Sequence[Text], path: str) -> dict[Any, Any]:
    """JSON, forgiven a comma too many, or the same written as Python."""
    value: Any
    try:
        value = json.loads(text, object_pairs_hook=_pairs)
    except json.JSONDecodeError as error:
        first = error
    else:
        return dict(value)
    with contextlib.suppress(json.JSONDecodeError):
        return dict(json.loads(re.sub(r",(\s*[}\]])", r"\1", text), object_pairs_hook=_pairs))
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError, TypeError):
        value = None
    if not isinstance(value, dict):
        raise _broken(first.msg, lines[min(first.lineno, len(lines)) - 1].number, path)
    return value


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; a name that comes twice keeps its first value, and the others under a numbered name."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        unique, count = name, 1
        while unique in found:
            count += 1
            unique = f"{name} ({count})"
        found[unique] = value
    return found


def _figures(value: Mapping[Any, Any], lines: Sequence[Text], profile: Profile) -> None:
    """Sort an object of kernels, or of metrics, into `profile.figures`."""
    for name, entry in value.items():
        if isinstance(entry, dict):
            kernel = profile.figures.setdefault(str(name), {})
            for metric, figure in entry.items():
                _figure(kernel, str(metric), figure, lines, profile)
        else:
            _figure(profile.figures.setdefault(UNNAMED, {}), str(name), entry, lines, profile)


def _check_named(profile: Profile) -> None:
    """Note metrics that stand without a kernel's name."""
    if not profile.figures.get(UNNAMED, True):
        del profile.figures[UNNAMED]
    if UNNAMED in profile.figures:
        profile.notes.append("some metrics of the profile stand without a kernel's name")


def _figure(
    kernel: dict[str, float], metric: str, value: Any, lines: Sequence[Text], profile: Profile
) -> None:
    figure = _number(value)
    if figure is not None:
        kernel[metric] = figure
        return
    line = next((line for line in lines if json.dumps(metric)[1:-1] in line.text), lines[0])
    profile.ignored.append(Ignored(line.number, line.text.strip(), f"{metric} is not a number"))


def _number(value: Any) -> float | None:
    """A finite number, also one written as text with a unit: "13.97 %"."""
    if isinstance(value, str):
        return number(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        finite = float(value)
    except OverflowError:
        return None
    return finite if math.isfinite(finite) else None


def _broken(what: str, line: int, path: str) -> RequestError:
    return RequestError(
        f"the profile cannot be read: {what}",
        where=Where(path, line),
        mend='write {"kernel": {"metric": number}}, or {} for no profile',
    )
