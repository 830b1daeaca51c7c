"""A scaling record as a picture, drawn with matplotlib: time against steps, hidden units and batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from picture import drawn
from scaling_records import (
    FP16,
    GRID_STEPS,
    KINDS,
    LABELS,
    LINE_BATCH,
    LINE_HIDDEN,
    OURS,
    TF32,
    TITLES,
    ScalingRecord,
)

COLOURS = {OURS: "#c2410c", FP16: "#1d4ed8", TF32: "#60a5fa"}
COLUMNS = {
    "steps": f"T (B={LINE_BATCH}, H={LINE_HIDDEN})",
    "hidden": f"H (T={GRID_STEPS}, B={LINE_BATCH})",
    "batch": f"B (T={GRID_STEPS}, H={LINE_HIDDEN})",
}


def draw(record: ScalingRecord, path: Path, output: Path) -> None:
    """Write the picture of a record as SVG.

    Args:
        path: of the record; the picture names it.

    Raises:
        RecordError: matplotlib is missing.
        OSError: the picture cannot be written.
    """
    with drawn((10.0, 8.0), output, path.name) as figure:
        panels = figure.subplots(len(KINDS), len(COLUMNS), sharey="row", squeeze=False)
        for kind, row in zip(KINDS, panels, strict=True):
            for size, axes in zip(COLUMNS, row, strict=True):
                _panel(axes, record, kind, size)
            row[0].set_ylabel(f"{TITLES[kind]}, µs")
        for (_, name), axes in zip(COLUMNS.items(), panels[-1], strict=True):
            axes.set_xlabel(name)
        panels[0][0].legend(frameon=False)
        where = f"{record.machine.device}, {record.date[:10]}"
        figure.suptitle(f"{where}: median wall time, the better of eager and CUDA graph")


def _panel(axes: Any, record: ScalingRecord, kind: str, size: str) -> None:
    """One kind of layer against one size, every side that was timed."""
    line = [m for m in record.points if m.point.kind == kind and size in m.point.lines]
    for label in LABELS:
        times = sorted((getattr(m.point, size), us) for m in line if (us := m.best_us(label)) is not None)
        if times:
            sizes, times_us = zip(*times, strict=True)
            axes.plot(sizes, times_us, marker="o", markersize=3.5, color=COLOURS[label], label=label)
    values = sorted({getattr(m.point, size) for m in line})
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(values, [str(value) for value in values])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
