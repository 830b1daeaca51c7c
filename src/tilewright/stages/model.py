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
        keywords: stems of words in a request's focus line that mean this stage.
        tile_sizes: edges of a two-dimensional tile to try, elements; empty where tiles stay as they are.
        element_sizes: block sizes to try in a one-dimensional kernel, elements.
        num_warps, num_stages: values to try; empty where they stay as they are.
        max_configs: how many configurations a written @triton.autotune may list.
        registers_warning: registers per thread from which on a candidate is tried later. It orders
            a search and removes nothing from it, as do spills.
    """

    name: str
    kind: str
    focus: str
    principle: str
    metrics: tuple[str, ...]
    rules: tuple[str, ...]
    tunes: tuple[str, ...]
    keywords: tuple[str, ...]
    tile_sizes: tuple[int, ...] = ()
    element_sizes: tuple[int, ...] = ()
    num_warps: tuple[int, ...] = ()
    num_stages: tuple[int, ...] = ()
    max_configs: int = 3
    registers_warning: int = 128
