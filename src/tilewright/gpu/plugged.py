"""The GPU in this machine."""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import sys

from tilewright import workers
from tilewright.errors import UnknownGpu
from tilewright.gpu.catalogue import architecture, find
from tilewright.gpu.device import DeviceProperties
from tilewright.gpu.model import Gpu
from tilewright.serial import structure

OF_ONE_CHIP = 90  # compute capability from which Triton's PTX is no longer for all that follow
LIMITS = workers.Limits(seconds=120.0)


@functools.cache
def plugged_in() -> Gpu | None:
    """The first CUDA device of this machine, None without one.

    Read in a worker process, once: asking CUDA would open a context in this one.

    Raises:
        InputError: the device's compute capability is older than any that is known.
        WorkerError: the worker did not answer.
    """
    if not _driver_present():
        return None
    answer = workers.call("tilewright.gpu.device:read", {}, LIMITS)
    return None if answer is None else gpu_of(structure(answer, DeviceProperties))


def built_for(target: Gpu | None) -> dict[str, str]:
    """Variables under which Triton builds for this machine's GPU as it would for an older target.

    It then lowers for the target's compute capability, and only the assembler knows of the device: what PTX
    says runs on newer chips too. From 9.0 on Triton emits instructions of one chip alone, so such a target is
    not built for.

    Returns:
        Nothing without a target or a GPU, or where the GPU is no newer.
    """
    plugged = plugged_in() if target else None
    if target is None or plugged is None:
        return {}
    if target.compute_capability >= min(plugged.compute_capability, OF_ONE_CHIP):
        return {}
    return {"TRITON_OVERRIDE_ARCH": f"sm{target.compute_capability}"}


def gpu_of(device: DeviceProperties) -> Gpu:
    """A device's properties as a GPU.

    Rates and bandwidth come from the catalogue where it has the same chip: the same name, compute
    capability and number of SMs, so that a slice of a GPU or a laptop variant does not borrow them.
    Otherwise the bandwidth is memory clock × 2 transfers × bus width, and tensor rates stay unknown.

    Raises:
        InputError: no limits are known for the device's compute capability.
    """
    limits = architecture(device.compute_capability)
    as_read = Gpu(
        name=device.name.removeprefix("NVIDIA "),
        architecture=limits.name,
        compute_capability=device.compute_capability,
        sms=device.sms,
        memory_bandwidth_gbs=round(
            device.memory_clock_rate_khz * 1e3 * 2 * device.memory_bus_bits / 8 / 1e9, 1
        ),
        tflops={},
        clock_mhz=device.clock_rate_khz / 1e3,
        memory_bytes=device.memory_bytes,
        l2_bytes=device.l2_bytes,
        shared_memory_per_sm_bytes=device.shared_memory_per_sm_bytes,
        shared_memory_per_block_bytes=device.shared_memory_per_block_bytes,
        max_warps_per_sm=device.threads_per_sm // 32,
        max_blocks_per_sm=limits.max_blocks_per_sm,
        source="read off the device",
        registers_per_sm=device.registers_per_sm,
    )
    try:
        known = find(device.name)
    except UnknownGpu:
        return as_read
    if (known.compute_capability, known.sms) != (device.compute_capability, device.sms):
        return as_read
    return dataclasses.replace(
        as_read,
        name=known.name,
        memory_bandwidth_gbs=known.memory_bandwidth_gbs,
        tflops=known.tflops,
        source=f"read off the device; rates and bandwidth: {known.source}",
        aliases=known.aliases,
    )


def _driver_present() -> bool:
    """Whether NVIDIA's driver library loads. Without it no worker need be started to say no."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True
