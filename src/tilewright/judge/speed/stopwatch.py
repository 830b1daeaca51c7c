"""The clocks around one call on a device."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

FLUSHED_L2_SIZES = 2  # the buffer overwritten before a cold call, in sizes of the L2 cache


@dataclass(frozen=True)
class Times:
    """Of one call, microseconds; on the CPU all three are wall time.

    Args:
        wall: from an idle device to an idle one.
        device: up to the last work of the stream that the caller waits for.
        drained: up to the end of all streams.
    """

    wall: float
    device: float
    drained: float


class Stopwatch:
    """Times calls on one device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._scratch: torch.Tensor | None = None

    def time(self, prepare: Callable[[], object], run: Callable[[], object], *, cold: bool) -> Times:
        """Times of `run`.

        Args:
            prepare: called just before, outside of the time.
            cold: overwrite the L2 cache first.
        """
        if self.device.type != "cuda":
            prepare()
            began = time.perf_counter()
            run()
            wall = (time.perf_counter() - began) * 1e6
            return Times(wall, wall, wall)
        if cold:
            self._flush()
        start, end, drained = (torch.cuda.Event(enable_timing=True) for _ in range(3))
        prepare()
        torch.cuda.synchronize()
        began = time.perf_counter()
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        wall = (time.perf_counter() - began) * 1e6
        drained.record()
        torch.cuda.synchronize()
        return Times(wall, start.elapsed_time(end) * 1e3, start.elapsed_time(drained) * 1e3)

    def _flush(self) -> None:
        """Overwrite the L2 cache, and end any hold a kernel took on a part of it."""
        if self._scratch is None:
            size = torch.cuda.get_device_properties(self.device).L2_cache_size
            self._scratch = torch.empty(FLUSHED_L2_SIZES * size, dtype=torch.int8, device=self.device)
        ctypes.CDLL("libcuda.so.1").cuCtxResetPersistingL2Cache()
        self._scratch.zero_()
