"""Fresh memory filled with values that no right answer contains, so that work left undone shows."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
ALLOCATIONS = frozenset(
    {
        aten.empty,
        aten.empty_like,
        aten.empty_strided,
        aten.new_empty,
        aten.new_empty_strided,
        aten.empty_permuted,
    }
)
CACHED_BYTES = 256 * 2**20


class Poisoned(TorchDispatchMode):  # type: ignore[misc]  # torch carries no types here
    """Every uninitialised tensor comes filled: NaN for floating point, the largest value for integers."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket in ALLOCATIONS:
            poison(out)
        return out


def poison(memory: torch.Tensor) -> None:
    """Fill a tensor in place; meta and fake tensors have no memory and are left alone."""
    if memory.device.type in ("cpu", "cuda") and memory.numel():
        if memory.is_floating_point() or memory.is_complex():
            memory.fill_(float("nan"))
        else:
            memory.fill_(True if memory.dtype == torch.bool else torch.iinfo(memory.dtype).max)


def poison_cache() -> None:
    """Leave NaN in the memory that CUDA's caching allocator hands out next (0xFF bytes are NaN)."""
    blocks = [torch.empty(size, dtype=torch.uint8, device="cuda") for size in (CACHED_BYTES, 2**20, 2**12)]
    for block in blocks:
        block.fill_(255)
