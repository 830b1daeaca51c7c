"""What a tensor holds as one number, computed where it lies: to see that inputs and parameters stay put.

A cell could send another number than that of what it holds, as it could send other bytes: it was given the
right ones. So this is as good as the bytes, which take seconds to come over where they are many.
"""

from __future__ import annotations

from typing import Any

import torch

INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32}
PIECE = 2**17  # elements at a time: more leave a processor's cache, fewer keep a GPU waiting for launches
ODD = 0x5851F42D4C957F2D  # of Knuth's MMIX generator


def print_of(tensor: torch.Tensor, key: int) -> dict[str, Any]:
    """Its dtype, its shape, and a sum of its bits modulo 2^64, those of each place times a number of its own.

    These numbers are odd, so one changed element always shows; that several cancel out is a chance of 2^-32.

    Args:
        key: of the numbers, below 2^62; drawn anew for each comparison.
    """
    flat = tensor.detach().resolve_conj().resolve_neg().contiguous().view(-1)
    bits = flat.view(INTEGERS[min(flat.element_size(), 4)])
    generator = torch.Generator().manual_seed(key)
    numbers = torch.randint(-(2**63), 2**63 - 1, (min(PIECE, len(bits)),), generator=generator) | 1
    numbers = numbers.to(bits.device)
    total = torch.zeros((), dtype=torch.int64, device=bits.device)
    for piece in bits.split(PIECE):
        total = total * ODD + (numbers[: len(piece)] * piece).sum()
    dtype = str(tensor.dtype).removeprefix("torch.")
    return {"dtype": dtype, "shape": list(tensor.shape), "sum": int(total)}
