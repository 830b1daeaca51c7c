"""Fresh memory filled with values that no right answer contains, so that work left undone shows.

Two fills take turns, because each passes unseen where the other does not: NaN spreads through arithmetic but
is dropped by a maximum, the finite value is kept by a maximum and wrong in a sum.

On a GPU addresses cannot be watched. There each allocation may lie between two guard zones, whose bytes are
looked at afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from tilewright.judge.means.operators import OperatorMode

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
FINITE = -7.4e8  # a value that no answer holds by chance; float16 takes its own lowest
ALIGNMENT = 512  # bytes; of CUDA's caching allocator, so that a guard zone changes no alignment
CANARY = 0xA5
MOST_GUARDED_BYTES = 2**33  # guarded memory is kept until it was looked at
CACHED_BYTES = (256 * 2**20, 2**20, 2**12)


def poison_value(dtype: torch.dtype, *, finite: bool = False) -> float | int | bool:
    """What uninitialised memory of a dtype is filled with.

    Args:
        finite: -7.4e8, or the lowest value of a narrower type, instead of NaN; for integers the lowest
            instead of the largest value; False instead of True.
    """
    if dtype == torch.bool:
        return not finite
    if dtype.is_floating_point or dtype.is_complex:
        return max(FINITE, float(torch.finfo(dtype).min)) if finite else float("nan")
    return int(torch.iinfo(dtype).min if finite else torch.iinfo(dtype).max)


def poison(memory: torch.Tensor, *, finite: bool = False) -> None:
    """Fill a tensor in place; meta and fake tensors have no memory and are left alone."""
    if _has_memory(memory):
        memory.fill_(poison_value(memory.dtype, finite=finite))


def _has_memory(tensor: torch.Tensor) -> bool:
    return tensor.device.type in ("cpu", "cuda") and tensor.numel() > 0


@dataclass
class Guards:
    """Tensors that lie between two zones of known bytes.

    Args:
        size_bytes: of each zone; rounded up so that tensors stay aligned to 512 bytes.
    """

    size_bytes: int
    _buffers: list[tuple[str, torch.Tensor]] = field(default_factory=list)
    _kept_bytes: int = 0

    def __post_init__(self) -> None:
        self.size_bytes = -(-self.size_bytes // ALIGNMENT) * ALIGNMENT

    def room_like(self, tensor: torch.Tensor, name: str = "") -> torch.Tensor:
        """An uninitialised tensor of the same form between two zones; itself where it has no memory.

        Args:
            tensor: gives shape, strides, dtype and device.
            name: what messages call it; by default its form.
        """
        size = tensor.untyped_storage().nbytes() if tensor.device.type in ("cpu", "cuda") else 0
        if not tensor.numel() or not size or self._kept_bytes + size > MOST_GUARDED_BYTES:
            return tensor
        whole = size + 2 * self.size_bytes
        buffer = torch.empty(-(-whole // ALIGNMENT) * ALIGNMENT, dtype=torch.uint8, device=tensor.device)
        buffer.fill_(CANARY)
        self._kept_bytes += size
        form = f"a {str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
        self._buffers.append((name or form, buffer[:whole]))
        inner = buffer[self.size_bytes : self.size_bytes + size].view(tensor.dtype)
        return inner.as_strided(
            tensor.shape, tensor.stride(), inner.storage_offset() + tensor.storage_offset()
        )

    def broken(self) -> list[str]:
        """A line for each zone that something has written to; the zones are then let go."""
        found: list[str] = []
        for name, buffer in self._buffers:
            for side, zone in (
                ("before the start", buffer[: self.size_bytes].flip(0)),
                ("after the end", buffer[-self.size_bytes :]),
            ):
                written = (zone != CANARY).nonzero()
                if len(written):
                    near, count = int(written[0]) + 1, len(written)
                    found.append(f"{count} bytes written {side} of {name}, the nearest {near} bytes off")
        self._buffers.clear()
        self._kept_bytes = 0
        return found


class Filled(OperatorMode):
    """Every uninitialised tensor comes filled with one ordinary number, such as 0 or 1.

    Fresh memory holds zeros by chance, so that work left undone is sometimes right; under two fills it is
    right only where nobody needs it.

    Args:
        uneven: with 0 to 12 times the number in turn, like memory that others have used.
    """

    def __init__(self, value: float, *, uneven: bool = False) -> None:
        super().__init__()
        self.value = value
        self.uneven = uneven

    def operator(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        out = func(*args, **kwargs)
        if func.overloadpacket in ALLOCATIONS and _has_memory(out):
            out.fill_(self.value)
            if self.uneven:
                out.copy_((torch.arange(out.numel(), device=out.device) % 13 * self.value).reshape(out.shape))
        return out


class Poisoned(OperatorMode):
    """Every uninitialised tensor comes filled, and between guard zones if wanted.

    Args:
        finite: see `poison_value`.
        guard_bytes: of each of the two zones; 0: none. Under the interpreter leave them out: memory
            inside a zone belongs to a live storage, so the watch over addresses would let it pass.
    """

    def __init__(self, *, finite: bool = False, guard_bytes: int = 0) -> None:
        super().__init__()
        self.finite = finite
        self.guards = Guards(guard_bytes) if guard_bytes else None

    def operator(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        out = func(*args, **kwargs)
        if func.overloadpacket in ALLOCATIONS:
            if self.guards is not None:
                out = self.guards.room_like(out)
            poison(out, finite=self.finite)
        return out

    def broken_guards(self) -> list[str]:
        """What was written outside of tensors since the last call; wait for the device first."""
        return self.guards.broken() if self.guards is not None else []


def poison_cache() -> None:
    """Leave NaN in the memory that CUDA's caching allocator hands out next (0xFF bytes are NaN)."""
    blocks = [torch.empty(size, dtype=torch.uint8, device="cuda") for size in CACHED_BYTES]
    for block in blocks:
        block.fill_(255)


def poison_free_memory(*, finite: bool = False) -> int:
    """Fill every block that CUDA's caching allocator holds and nobody uses; returns how many bytes.

    What a forward allocates afterwards is then poisoned without a dispatch mode that costs time. The
    allocator cuts blocks at multiples of 512 bytes, so every element of up to 8 bytes that is handed out
    holds a whole pattern: NaN in every floating-point type, or FINITE in float32 (and some finite number
    in the others). Waits for the device before and after: a block may be free for the host while
    kernels still use it.
    """
    if not torch.cuda.is_initialized():
        return 0
    torch.cuda.synchronize()
    filled = 0
    for segment in torch.cuda.memory_snapshot():
        with torch.cuda.device(segment["device"]):
            for address, size in free_blocks(segment):
                words = torch.as_tensor(_Memory(address, size), device="cuda")
                if finite:
                    words.view(torch.float32).fill_(FINITE)
                else:
                    words.fill_(-1)
                filled += size
    torch.cuda.synchronize()
    return filled


def free_blocks(segment: dict[str, Any]) -> list[tuple[int, int]]:
    """Address and size in bytes of the inactive blocks of one segment of `torch.cuda.memory_snapshot`.

    Blocks follow one another from the segment's address on. One that waits for an event of another
    stream (active_pending_free) is in use.
    """
    address = int(segment["address"])
    found: list[tuple[int, int]] = []
    for block in segment["blocks"]:
        if block["state"] == "inactive":
            found.append((address, int(block["size"])))
        address += int(block["size"])
    return found


class _Memory:
    """Memory on the device as 32-bit integers, by the protocol that torch.as_tensor reads."""

    def __init__(self, address: int, size_bytes: int) -> None:
        self.__cuda_array_interface__ = {
            "data": (address, False),
            "shape": (size_bytes // 4,),
            "strides": None,
            "typestr": "<i4",
            "version": 3,
        }
