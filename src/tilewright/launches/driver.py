"""What Triton is told about a GPU that is not there. For worker processes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget

from tilewright.gpu.model import Gpu
from tilewright.launches.fake import DEVICE


class PretendedDriver:
    """Answers Triton's questions about the active device; it can compile, never launch."""

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        self.utils = self

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.gpu.compute_capability, self.gpu.warp_size)

    def get_current_device(self) -> int:
        return 0

    def set_current_device(self, device: int) -> None:
        return None

    def get_current_stream(self, device: int = 0) -> int:
        return 0

    def get_device_capability(self, device: int = 0) -> tuple[int, int]:
        return divmod(self.gpu.compute_capability, 10)

    def get_active_torch_device(self) -> torch.device:
        return DEVICE

    def get_device_interface(self) -> Any:
        return torch.cuda

    def get_device_properties(self, device: int = 0) -> dict[str, int]:
        """Under the names that Triton's own CUDA driver gives them; clocks in kHz."""
        return {
            "max_shared_mem": self.gpu.shared_memory_per_block_bytes,
            "max_num_regs": self.gpu.registers_per_sm,
            "multiprocessor_count": self.gpu.sms,
            "warpSize": self.gpu.warp_size,
            "sm_clock_rate": round(self.gpu.clock_mhz * 1000),
        }


@contextlib.contextmanager
def pretended_driver(gpu: Gpu) -> Iterator[None]:
    """Within this context Triton's active driver is one for `gpu`."""
    driver = triton.runtime.driver
    before = driver._active
    driver.set_active(PretendedDriver(gpu))
    try:
        yield
    finally:
        driver._active = before
