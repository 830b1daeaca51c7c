"""Metrics written for people: a Markdown table, lines of `metric: value`, or what Nsight Compute prints."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from tilewright.request.sections import BULLET, Text, clean

METRIC = re.compile(r"`?\b([a-z0-9]+__[a-z0-9_.]*[a-z0-9])`?", re.IGNORECASE)
NUMBER = re.compile(r"\s*([-+]?[\d,]*\.?\d+(?:[eE][-+]?\d+)?)\s*[A-Za-z%/]*\s*")
UNIT = r"[A-Za-z%/#-]+"
VALUES = re.compile(
    r"(?:metric )?(?:values?|measured|measurement|readings?|results?|current|now)", re.IGNORECASE
)
BESIDE = frozenset(
    {"unit", "units", "target", "threshold", "goal", "limit", "peak", "description", "meaning"}
)
NAME = r"[A-Za-z_]\w*"
KERNEL = re.compile(
    rf"kernel(?: name)?\s*[:=]?\s*`?(?P<labelled>{NAME})`?:?"
    rf"|`?(?P<headed>{NAME})`?\s*(?::|\(\d[\d, ]*\)\s*x.*)",
    re.IGNORECASE,
)

Figure = tuple[str, str, str, int]  # kernel ("" without one), metric, value as written, line


def cells(line: str) -> tuple[str, ...] | None:
    """The cells of a table's row, without the marks around them; none of the rule below its head.

    None where the line is no row.
    """
    text = line.strip()
    if len(text) < 3 or not (text.startswith("|") and text.endswith("|")):
        return None
    found = tuple(cell.strip(" `*") for cell in text[1:-1].split("|"))
    return () if all(re.fullmatch(r":?-+:?", cell) for cell in found) else found


def number(text: str) -> float | None:
    """A finite number with or without a unit behind it: "13.97 %"."""
    found = NUMBER.fullmatch(text)
    value = float(found.group(1).replace(",", "")) if found else math.inf
    return value if math.isfinite(value) else None


def listed(lines: Sequence[Text]) -> tuple[list[Figure], set[int]]:
    """The figures in some lines of a profile, and the numbers of the lines that they come from."""
    figures: list[Figure] = []
    told: set[int] = set()
    kernel, named = "", 0
    index = 0
    while index < len(lines):
        line = lines[index]
        count = next(
            (n for n, other in enumerate(lines[index:]) if cells(other.text) is None), len(lines) - index
        )
        found = _table(lines[index : index + count], kernel) if count else _line(line, kernel)
        if found:
            figures += found
            told |= {one.number for one in lines[index : index + max(1, count)]} | (
                {named} if named else set()
            )
        elif name := KERNEL.fullmatch(clean(BULLET.sub("", line.text, count=1))):
            kernel, named = name["labelled"] or name["headed"], line.number
        elif (name := re.fullmatch(NAME, clean(line.text))) and clean(line.text) != line.text.strip():
            kernel, named = name[0], line.number
        index += max(1, count)
    return figures, told


def _line(line: Text, kernel: str) -> list[Figure]:
    """`metric: value unit`, or `metric   unit   value`."""
    metric = METRIC.match(BULLET.sub("", line.text, count=1).strip(" *"))
    if metric is None:
        return []
    rest = metric.string[metric.end() :].strip(" \t:=*")
    found = re.fullmatch(rf"(?:{UNIT}\s+)?({NUMBER.pattern})(?:\(.*\))?", rest)
    return [(kernel, metric[1], found[1], line.number)] if found else []


def _table(lines: Sequence[Text], kernel: str) -> list[Figure]:
    """One row a kernel with a column for every metric, or one row a metric."""
    rows = [(line.number, found) for line in lines if (found := cells(line.text))]
    if len(rows) < 2:
        return []
    head = rows[0][1]
    columns = [(index, name[1]) for index, title in enumerate(head) if (name := METRIC.fullmatch(title))]
    if columns and columns[0][0] > 0:
        return [
            (row[0], metric, row[index], at)
            for at, row in rows[1:]
            for index, metric in columns
            if index < len(row) and row[index]
        ]
    owners = [(index, "") for index, title in enumerate(head) if index and VALUES.fullmatch(title)][:1]
    if not owners:  # a column for every kernel
        owners = [
            (index, title)
            for index, title in enumerate(head)
            if index and re.fullmatch(NAME, title) and title.lower() not in BESIDE
        ]
    return [
        (owner or kernel, metric[1], row[index], at)
        for at, row in rows[1:]
        if (metric := METRIC.fullmatch(row[0]))
        for index, owner in owners
        if index < len(row) and number(row[index]) is not None
    ]
