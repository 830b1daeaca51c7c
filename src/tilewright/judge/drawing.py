"""Random numbers for large tensors, drawn by all processors.

torch fills a tensor on the CPU from one generator, and so with one thread: 2.7 GB of parameters take it
two to three seconds, each time a side is built. Here such a tensor is filled piece by piece, each piece from
a generator of its own, seeded from torch's. So the numbers depend on torch's seed alone, and two sides that
draw from one seed still draw alike, however many processors there are.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from tilewright.judge.means.operators import OperatorMode

LARGE = 2**24  # elements; a tenth of a second to draw
PIECE = 2**20
MOST_SEED = 2**62

aten = torch.ops.aten
FILLING = frozenset({aten.uniform_.default, aten.normal_.default})
MAKING = {aten.rand.default: aten.uniform_.default, aten.randn.default: aten.normal_.default}


class SharedDraws(OperatorMode):
    """Inside it torch.rand, torch.randn, uniform_ and normal_ fill large tensors on the CPU by pieces."""

    def operator(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if func in FILLING and kwargs.get("generator") is None and _divisible(args[0]):
            return _filled(args[0], func, args[1:])
        on_cpu = torch.device(kwargs.get("device") or "cpu").type == "cpu"
        if func in MAKING and on_cpu and math.prod(args[0]) >= LARGE:
            return _filled(aten.empty.memory_format(*args, **kwargs), MAKING[func], ())
        return func(*args, **kwargs)


def _divisible(tensor: torch.Tensor) -> bool:
    return bool(tensor.device.type == "cpu" and tensor.numel() >= LARGE and tensor.is_contiguous())


def _filled(tensor: torch.Tensor, fill: Any, arguments: tuple[Any, ...]) -> torch.Tensor:
    """The tensor, filled in place."""
    seed = int(torch.randint(MOST_SEED, ()))
    pieces = tensor.detach().view(-1).split(PIECE)

    def fill_one(number: int) -> None:
        fill(pieces[number], *arguments, generator=torch.Generator().manual_seed(seed + number))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(fill_one, range(len(pieces))))
    return tensor
