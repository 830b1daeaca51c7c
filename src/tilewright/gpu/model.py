"""What the rest of tilewright needs to know about a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Gpu:
    """One GPU model. Sizes in bytes, rates dense (no structured sparsity).

    Args:
        name: as it is shown, "RTX 4090".
        architecture: "Ada Lovelace".
        compute_capability: 89 for 8.9; the number Triton's GPUTarget takes.
        sms: streaming multiprocessors.
        memory_bandwidth_gbs: device memory, GB/s (1e9 bytes).
        tflops: dense peak by operand type, TFLOP/s: "fp32" (no tensor cores), "tf32", "fp16",
            "bf16", "fp8", "int8" where the chip has them; accumulation in float32.
        clock_mhz: boost clock of the SMs.
        memory_bytes: device memory.
        l2_bytes: L2 cache shared by all SMs.
        registers_per_sm: 32-bit registers in one SM's register file.
        shared_memory_per_sm_bytes: shared memory one SM can hold for its resident blocks.
        shared_memory_per_block_bytes: the most one block may ask for (opt-in limit).
        shared_memory_reserved_bytes: what the driver takes of each block's share (1024 since cc 8.0).
        source: where the figures come from.
    """

    name: str
    architecture: str
    compute_capability: int
    sms: int
    memory_bandwidth_gbs: float
    tflops: Mapping[str, float]
    clock_mhz: float
    memory_bytes: int
    l2_bytes: int
    shared_memory_per_sm_bytes: int
    shared_memory_per_block_bytes: int
    max_warps_per_sm: int
    max_blocks_per_sm: int
    source: str
    registers_per_sm: int = 65536
    max_registers_per_thread: int = 255
    max_threads_per_block: int = 1024
    warp_size: int = 32
    shared_memory_reserved_bytes: int = 1024
    aliases: tuple[str, ...] = field(default=())

    @property
    def max_threads_per_sm(self) -> int:
        return self.max_warps_per_sm * self.warp_size
