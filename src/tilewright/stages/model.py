"""What a stage is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Cause(StrEnum):
    """What holds a kernel back."""

    LAUNCHES = "launches"  # the GPU waits for the CPU to start it
    LATENCY = "latency chain"  # steps that wait for one another, while no unit is busy
    PROGRAMS = "too few programs"  # SMs without work
    REGISTERS = "registers"  # they spill, or leave room for few warps
    SHARED_MEMORY = "shared memory"  # it leaves room for few warps
    BANDWIDTH = "memory bandwidth"
    L2 = "L2"  # its bandwidth
    TENSOR = "tensor rate"  # the tensor cores are busy
    INSTRUCTIONS = "instruction mix"  # another unit of the SM is


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
        helps: what it can do something about; a kernel held back by nothing of this cannot gain by it.
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
    helps: tuple[Cause, ...] = ()
    tile_sizes: tuple[int, ...] = ()
    element_sizes: tuple[int, ...] = ()
    num_warps: tuple[int, ...] = ()
    num_stages: tuple[int, ...] = ()
    max_configs: int = 3
    registers_warning: int = 128
