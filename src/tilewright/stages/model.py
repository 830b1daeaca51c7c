"""What a stage is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One optimization stage for one kind of model.

    Args:
        name: "algorithm", "grid_and_parallel", "block_tiling", "memory_access", "advanced_memory".
        kind: "single" (one operator), "fusion" (a few, fused) or "network" (many layers).
        focus: one line; what a request's "Focus:" line says in its own words.
        principle: why it pays.
        metrics: the Nsight Compute metrics to read, by their full names.
        rules: what a candidate of this stage keeps to.
        tunes: what may be changed: "tile", "num_warps", "num_stages", "grid", "order", …
        keywords: words of a request's focus line that mean this stage.
    """

    name: str
    kind: str
    focus: str
    principle: str
    metrics: tuple[str, ...]
    rules: tuple[str, ...]
    tunes: tuple[str, ...]
    keywords: tuple[str, ...]
