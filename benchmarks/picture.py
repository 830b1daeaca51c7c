"""A figure of matplotlib as a file that is the same, byte for byte, whenever the same is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recording import RecordError

LOOK: Any = {"svg.hashsalt": "tilewright", "svg.fonttype": "none", "font.size": 9.0}


@contextmanager
def drawn(size: tuple[float, float], output: Path, source: str) -> Iterator[Any]:
    """A figure of this size, in inches; at the end of the block it is written as SVG.

    Args:
        source: what it was drawn from; the file says so.

    Raises:
        RecordError: matplotlib is missing.
        OSError: the file cannot be written.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise RecordError("the plot needs matplotlib: pip install 'tilewright[plots]'") from None
    with matplotlib.rc_context(LOOK):
        figure = Figure(figsize=size, layout="constrained")
        yield figure
        output.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(output, format="svg", metadata={"Date": None, "Source": source})
