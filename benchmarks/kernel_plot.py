"""The kernel set as a picture: how many times faster than the file as given each side is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kernel_records import BEST, EAGER, GIVEN, MODES, KernelRecord, compiled_label
from picture import drawn
from recording import RecordError, all_of, spread

COMPILED = "torch.compile, the better mode"
SIDES = {
    BEST: ((BEST, GIVEN), "#c2410c", "o"),  # where nothing was better, the file as given
    EAGER: ((EAGER,), "#60a5fa", "s"),
    COMPILED: (tuple(map(compiled_label, MODES)), "#1d4ed8", "D"),
}
ROW_INCHES, MARGIN_INCHES = 0.26, 1.1


def draw(records: Sequence[KernelRecord], output: Path) -> None:
    """Write the picture of the records as SVG, a row a kernel, those that gained most on top.

    Raises:
        RecordError: there is no record, or matplotlib is missing.
        OSError: the picture cannot be written.
    """
    if not records:
        raise RecordError("no record of the kernel set; without --plot this command takes them, on a GPU")
    ranked = sorted(records, key=lambda record: speed(record, SIDES[BEST][0]) or 0.0)
    names = [record.kernel for record in ranked]
    size = (8.0, MARGIN_INCHES + ROW_INCHES * len(names))
    with drawn(size, output, ", ".join(f"{record.name} of {record.date}" for record in ranked)) as figure:
        axes = figure.subplots()
        for label, (of, colour, marker) in SIDES.items():
            points = [(x, y) for y, record in enumerate(ranked) if (x := speed(record, of)) is not None]
            if points:
                axes.plot(*zip(*points, strict=True), marker, color=colour, markersize=5, label=label)
        axes.axvline(1.0, color="black", linewidth=0.8)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}×")
        axes.set_yticks(range(len(names)), names)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, loc="lower right")
        where = all_of(record.machine.device for record in ranked)
        axes.set_title(f"{where}: times faster than the file as given, median device time")


def speed(record: KernelRecord, labels: Sequence[str]) -> float | None:
    """How many times faster than the file as given the fastest of these sides is; None without a time.

    The result of a search comes first: where there is one, the file as given does not stand in for it.
    """
    given = record.side(GIVEN)
    if BEST in labels:
        labels = [BEST] if record.search.improved else [GIVEN]
    times = [spread(side.device_us)[1] for label in labels if (side := record.side(label)) and side.device_us]
    if given is None or not given.device_us or not times:
        return None
    return spread(given.device_us)[1] / min(times)
