"""What no implementation of a forward can beat on a GPU. For workers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from tilewright.evidence import Evidence, Figure
from tilewright.gpu.model import Gpu
from tilewright.inspect.model import Floor
from tilewright.launches.recorder import Recorder, View

LAUNCH_US = 5.0
"""Microseconds between two dependent launches when both kernels are free: what a launch from
Python costs the CPU at the least. Triton's launcher alone takes 3–5 µs; wrappers around it cost
more (see `costs.EAGER_LAUNCH_US`), a CUDA graph less."""

_EQUALLY_PRECISE = {"tf32": ("tf32", "fp16"), "fp32": ("fp32",)}


@dataclass(frozen=True)
class Needs:
    """What the reference's forward cannot do without: bytes to move, operations to perform."""

    bytes: int
    flops: int


def needs(reference: Recorder, outputs: Sequence[torch.Tensor]) -> Needs:
    """The fewest bytes and the operations of a recorded reference.

    Bytes: of every input and parameter that the forward reads, the parts it reads, once; of every
    output, once. What it writes itself and reads again costs nothing. Operations: of matrix
    products, convolutions and attention; elementwise work is not counted.
    """
    written: set[int] = set()
    first_reads: list[View] = []
    for event in reference.events:
        budget = event.read_bytes - sum(view.bytes for view in event.reads[1:])
        for position, view in enumerate(event.reads):
            if view.storage in written:
                continue
            picked = position == 0 and 0 < budget < view.bytes
            first_reads.append(view if not picked else _shortened(view, budget))
        written.update(view.storage for view in event.writes)
    results = {view.storage: view for view in (reference.view(t) for t in outputs)}.values()
    return Needs(
        bytes=_covered(first_reads) + sum(view.bytes for view in results),
        flops=sum(event.flops for event in reference.events),
    )


def floor(needed: Needs, gpu: Gpu, rate: str, *, launches: int, chain: int) -> Floor:
    """The time that `needed` takes at a GPU's peak rates.

    Args:
        rate: a key of gpu.tflops: what the candidate's matrix products run at. float16 operands
            carry as many mantissa bits as TF32's, so the faster of the two bounds TF32.
        launches, chain: of the candidate.
    """
    peak = max(gpu.tflops.get(name, 0.0) for name in _EQUALLY_PRECISE.get(rate, (rate, "fp32")))
    memory_us = needed.bytes / (gpu.memory_bandwidth_gbs * 1e3)
    compute_us = needed.flops / (peak * 1e6)

    def estimated(value: float, unit: str) -> Figure:
        return Figure(value, unit, Evidence.ESTIMATED)

    return Floor(
        bytes=estimated(needed.bytes, "B"),
        flops=estimated(needed.flops, "FLOP"),
        memory_us=estimated(memory_us, "µs"),
        compute_us=estimated(compute_us, "µs"),
        floor_us=estimated(max(memory_us, compute_us), "µs"),
        launches=launches,
        chain=chain,
        launch_us=estimated(chain * LAUNCH_US, "µs"),
    )


def _shortened(view: View, budget: int) -> View:
    return View(view.storage, view.offset, (budget // view.itemsize,), (1,), view.itemsize)


def _covered(views: Iterable[View]) -> int:
    """Bytes of the union of all views, at most what they cover one by one."""
    total = 0
    by_storage: dict[int, set[View]] = {}
    for view in views:
        by_storage.setdefault(view.storage, set()).add(view)
    for part in by_storage.values():
        reach, end = 0, 0
        for start, stop in sorted(view.span for view in part):
            reach += max(0, stop - max(start, end))
            end = max(end, stop)
        total += min(reach, sum(view.bytes for view in part))
    return total
