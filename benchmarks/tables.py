"""Regenerates the tables of README.md from the newest records: `python benchmarks/tables.py [--check]`.

A table stands between `<!-- results:NAME -->` and `<!-- /results -->`. Every ratio is taken within
one record, never across two.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from pathlib import Path

from recording import RESULTS, ROOT, Record, RecordError, Side, newest, read, shown, spread

README = ROOT / "README.md"
BLOCK = re.compile(
    r"(?P<open><!-- results:(?P<name>[\w-]+) -->\n)(?P<body>.*?)(?P<close><!-- /results -->)", re.DOTALL
)
NO_RECORD = "no record yet\n"
NETWORKS = "networks"  # one record a problem of benchmarks/problems, a row each
KERNEL_SET = "kernel_set"  # one record a kernel, one table of them all
SCALING = "scaling"  # one record of many points, a matrix of ratios
SEARCH_QUALITY = "search_quality"  # one record a kernel, a row each
FALSE_ALARMS = "false_alarms"  # some records of many trials, added up


def table(record: Record, path: Path) -> str:
    """A record as a Markdown table with the facts a reader needs below it, and where every sample is.

    Columns: side, median wall time with its quartiles (µs), median device time (µs), how many times
    faster than the first side by median wall time, and the error against the float64 reference.
    """
    first = record.sides[0]
    rows = [f"| side | wall, µs | device, µs | vs {first.label} | error |", "|---|---|---|---|---|"]
    rows += [_row(side, first) for side in record.sides]
    notes = [f"- {side.label}: {side.note}." for side in record.sides if side.note]
    return "\n".join([*rows, "", *notes, *([""] if notes else []), _provenance(record, path)]) + "\n"


def _row(side: Side, first: Side) -> str:
    error = "–" if side.error is None else f"{side.error:.1e}"
    if not side.wall_us:
        return f"| {side.label} | – | – | – | {error} |"
    lower, middle, upper = spread(side.wall_us)
    _, device, _ = spread(side.device_us)
    ratio = f"{spread(first.wall_us)[1] / middle:.2f}×" if first.wall_us else "–"
    wall = f"{_us(middle)} ({_us(lower)}–{_us(upper)})"
    return f"| {side.label} | {wall} | {_us(device)} | {ratio} | {error} |"


def _us(value: float) -> str:
    """Microseconds to a tenth below 1000, whole above, thousands set apart."""
    return f"{value:.1f}" if value < 1000 else f"{value:,.0f}".replace(",", "\N{NO-BREAK SPACE}")


def _provenance(record: Record, path: Path) -> str:
    machine = record.machine
    case = ", ".join(f"{key}={value}" for key, value in record.case.items())
    return (
        f"Medians, quartiles in brackets; error against a float64 run. {case}. Measured on {machine.device}, "
        f"{record.date[:10]}, torch {machine.torch}, Triton {machine.triton}, CUDA {machine.cuda}, "
        f"cuDNN {machine.cudnn}, driver {machine.driver.split()[0]}, commit {record.code}, by "
        f"`{shlex.join(record.command)}`; every sample and how it was taken: `{shown(path)}`."
    )


def rendered(text: str, results: Path = RESULTS) -> str:
    """`text` with every block regenerated from the newest record of its name, or those of the kernel set."""

    def body(name: str) -> str:
        if name == KERNEL_SET:
            from kernel_records import section  # reads with tilewright's help, which the others do without

            return section(results)
        if name == SEARCH_QUALITY:
            import search_quality

            return search_quality.section(results) or NO_RECORD
        if name == FALSE_ALARMS:
            import false_alarms

            return false_alarms.section(results) or NO_RECORD
        if name == SCALING:
            import scaling_records

            return scaling_records.section(results) or NO_RECORD
        if name == NETWORKS:
            import network_records

            return network_records.section(results) or NO_RECORD
        path = newest(name, results)
        return table(read(path), path) if path else NO_RECORD

    def block(found: re.Match[str]) -> str:
        return found["open"] + body(found["name"]) + found["close"]

    return BLOCK.sub(block, text)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Regenerate the result tables of a Markdown file.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when a table is stale")
    parser.add_argument("--file", type=Path, default=README, help="default: README.md")
    parser.add_argument("--results", type=Path, default=RESULTS, help="default: benchmarks/results")
    options = parser.parse_args(arguments)
    text = options.file.read_text(encoding="utf-8")
    try:
        wanted = rendered(text, options.results)
    except RecordError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if wanted == text:
        return 0
    if options.check:
        print(f"{options.file}: a table is stale; run python benchmarks/tables.py", file=sys.stderr)
        return 1
    options.file.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
