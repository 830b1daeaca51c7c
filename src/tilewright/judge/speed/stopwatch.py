"""The clocks around one call on a device."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

FLUSHED_L2_SIZES = 2  # the buffer overwritten before a cold call, in sizes of the L2 cache
# That the host is ahead of the device where device time is taken: some ten launches on the slowest host seen,
# 0.2 ms each, and what keeps a busy host from its work for a moment. With 0.5 ms a kernel of 8 us was now and
# then read as some hundred.
LEAD_US = 2000.0
CYCLES_PER_US = 2500  # of the fastest GPUs; on others a pause lasts longer than asked for


def hold_up(us: float) -> None:
    """Have the current stream do nothing for at least so many microseconds."""
    torch.cuda._sleep(int(us * CYCLES_PER_US))


@dataclass(frozen=True)
class Times:
    """Of one call, microseconds; on the CPU all three are wall time.

    Args:
        wall: from an idle device to an idle one; where the stream was held up, that too.
        device: from where the stream comes to the call up to its last work there, which the caller waits for.
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

    def time(
        self,
        prepare: Callable[[], object],
        run: Callable[[], object],
        *,
        cold: bool,
        ahead: Callable[[], object] | None = None,
    ) -> Times:
        """Times of `run`.

        Args:
            prepare: called just before, outside of the time.
            cold: overwrite the L2 cache first.
            ahead: hold the stream up for LEAD_US first, and then do this on it. Device time is then what it
                is amid the work of a stream: the device's alone where there are few launches, the host's
                where it cannot keep up. Without, it also holds the time of the first launch.
        """
        if self.device.type != "cuda":
            prepare()
            began = time.perf_counter()
            run()
            wall = (time.perf_counter() - began) * 1e6
            return Times(wall, wall, wall)
        start, end, drained = (torch.cuda.Event(enable_timing=True) for _ in range(3))
        prepare()
        if cold:
            self._unpin()
            if ahead is None:
                self._overwrite()
        torch.cuda.synchronize()
        began = time.perf_counter()
        if ahead is not None:
            hold_up(LEAD_US)
            ahead()
            if cold:
                self._overwrite()
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        wall = (time.perf_counter() - began) * 1e6
        drained.record()
        torch.cuda.synchronize()
        return Times(wall, start.elapsed_time(end) * 1e3, start.elapsed_time(drained) * 1e3)

    def _unpin(self) -> None:
        """End any hold that a kernel took on a part of the L2 cache, and have what `_overwrite` needs."""
        if self._scratch is None:
            size = torch.cuda.get_device_properties(self.device).L2_cache_size
            self._scratch = torch.empty(FLUSHED_L2_SIZES * size, dtype=torch.int8, device=self.device)
        ctypes.CDLL("libcuda.so.1").cuCtxResetPersistingL2Cache()

    def _overwrite(self) -> None:
        """Have the stream overwrite the L2 cache."""
        assert self._scratch is not None
        self._scratch.zero_()
