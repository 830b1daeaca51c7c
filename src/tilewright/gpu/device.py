"""What CUDA says about the GPU in this machine. Runs in a worker: it imports torch and opens the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class DeviceProperties:
    """The first visible CUDA device, under the names and in the units of torch's device properties.

    Args:
        clock_rate_khz, memory_clock_rate_khz: highest clocks; the memory transfers twice a clock.
        memory_bus_bits: width of the device memory's bus.
    """

    name: str
    compute_capability: int
    sms: int
    memory_bytes: int
    l2_bytes: int
    clock_rate_khz: int
    memory_clock_rate_khz: int
    memory_bus_bits: int
    registers_per_sm: int
    threads_per_sm: int
    shared_memory_per_sm_bytes: int
    shared_memory_per_block_bytes: int


def read(payload: Mapping[str, Any]) -> DeviceProperties | None:
    """A worker task: the properties of CUDA device 0, None where there is no NVIDIA GPU."""
    import torch

    if torch.version.cuda is None or not torch.cuda.is_available():
        return None
    device = torch.cuda.get_device_properties(0)
    return DeviceProperties(
        name=device.name,
        compute_capability=10 * device.major + device.minor,
        sms=device.multi_processor_count,
        memory_bytes=device.total_memory,
        l2_bytes=device.L2_cache_size,
        clock_rate_khz=device.clock_rate,
        memory_clock_rate_khz=device.memory_clock_rate,
        memory_bus_bits=device.memory_bus_width,
        registers_per_sm=device.regs_per_multiprocessor,
        threads_per_sm=device.max_threads_per_multi_processor,
        shared_memory_per_sm_bytes=device.shared_memory_per_multiprocessor,
        shared_memory_per_block_bytes=device.shared_memory_per_block_optin,
    )
