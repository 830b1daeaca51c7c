"""How many blocks one SM holds, computed the way Nsight Compute's occupancy section does.

Figures not in the GPU's own table are from the CUDA Occupancy Calculator for compute capability
7.0 and later: registers are handed out per warp in units of 256, an SM has four partitions that
each hold a quarter of its registers, and shared memory is handed out in units of 128 bytes.
"""

from __future__ import annotations

from tilewright.gpu.model import Gpu
from tilewright.inspect.model import Occupancy

REGISTER_UNIT = 256
SHARED_UNIT = 128
PARTITIONS = 4


def occupancy(gpu: Gpu, *, registers: int, shared_bytes: int, block_size: int) -> Occupancy | None:
    """The four limits of a launch, in blocks, or None when not even one block fits.

    The shared-memory limit is taken of the SM's whole shared memory, which is what Nsight Compute
    shows for a block of more than 48 KB: Triton then asks the driver for the largest share of the
    L1. For a smaller block the driver may leave more to the L1 and Nsight Compute shows a lower
    limit, yet never one below the other three unless shared memory is the limiter at full size
    too: the blocks per SM, the occupancy and the waves are the same (76 launches read on an H200,
    tests/data/ncu_h200.json).

    Args:
        registers: per thread.
        shared_bytes: static and dynamic, per block, without what the driver reserves.
        block_size: threads.
    """
    warps = warps_per_block(gpu, block_size)
    limits = {
        "registers": register_limit(gpu, registers, warps),
        "shared_mem": gpu.shared_memory_per_sm_bytes // shared_allocation(gpu, shared_bytes),
        "warps": gpu.max_warps_per_sm // warps,
        "blocks": gpu.max_blocks_per_sm,
    }
    blocks = min(limits.values())
    if blocks == 0:
        return None
    limiter = min(limits, key=lambda name: limits[name])
    active = blocks * warps
    return Occupancy(
        limit_registers=limits["registers"],
        limit_shared_mem=limits["shared_mem"],
        limit_warps=limits["warps"],
        limit_blocks=limits["blocks"],
        blocks_per_sm=blocks,
        warps_per_sm=active,
        theoretical_pct=100.0 * active / gpu.max_warps_per_sm,
        limiter=limiter,
        next_step=_next_step(gpu, limits, registers, shared_bytes, warps),
    )


def waves(gpu: Gpu, grid_size: int, blocks_per_sm: int) -> float:
    """launch__waves_per_multiprocessor: how often the grid fills the whole GPU."""
    return grid_size / (blocks_per_sm * gpu.sms)


def warps_per_block(gpu: Gpu, block_size: int) -> int:
    return -(-block_size // gpu.warp_size)


def register_limit(gpu: Gpu, registers: int, warps: int) -> int:
    """Blocks of `warps` warps whose registers fit; each partition holds whole warps only."""
    per_warp = _round_up(max(registers, 1) * gpu.warp_size, REGISTER_UNIT)
    resident = gpu.registers_per_sm // PARTITIONS // per_warp * PARTITIONS
    return resident // warps


def shared_allocation(gpu: Gpu, shared_bytes: int) -> int:
    """Bytes one block takes of an SM's shared memory."""
    return _round_up(shared_bytes + gpu.shared_memory_reserved_bytes, SHARED_UNIT)


def _next_step(gpu: Gpu, limits: dict[str, int], registers: int, shared_bytes: int, warps: int) -> str:
    """Which changes, all together, make room for one more block."""
    wanted = min(limits.values()) + 1
    if limits["warps"] < wanted:
        if min(limits.values()) * warps >= gpu.max_warps_per_sm:
            return ""
        return f"{wanted} blocks need at most {gpu.max_warps_per_sm // wanted} warps a block, it has {warps}"
    if limits["blocks"] < wanted:
        return f"an SM holds at most {gpu.max_blocks_per_sm} blocks: more warps a block would fill it"
    changes: list[str] = []
    if limits["registers"] < wanted:
        fewer = next(
            (n for n in range(registers - 1, 15, -1) if register_limit(gpu, n, warps) >= wanted), None
        )
        if fewer is None:
            return f"{wanted} blocks of {warps} warps cannot share the register file: use fewer warps a block"
        changes.append(f"registers from {registers} to {fewer}")
    if limits["shared_mem"] < wanted:
        share = gpu.shared_memory_per_sm_bytes // wanted // SHARED_UNIT * SHARED_UNIT
        fits = share - gpu.shared_memory_reserved_bytes
        changes.append(f"shared memory from {shared_bytes} to {fits} bytes")
    return f"{wanted} blocks need " + " and ".join(changes)


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit
