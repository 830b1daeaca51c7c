"""Where the numbers come from that a forward's kernels read and its outputs hold.

A number is accounted for when it was in memory as the forward began, or a torch operator or a kernel wrote
it. Any other was computed by means that nobody counts: numpy, a library behind ctypes, Python itself,
operators called where no mode sees them. Which door it was does not matter: what memory holds is compared,
before and after. Only where kernels are interpreted, since there it is known what they read and write.
"""

from __future__ import annotations

import contextlib
import ctypes
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from tilewright.judge.interpreted.memory import Region, Watch, live, regions, tensors
from tilewright.judge.means.operators import OperatorMode
from tilewright.judge.means.spirit import launching


class Origins(OperatorMode):
    """Follows one forward.

    Args:
        watch: sees what kernels read and write.
    """

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch
        # Start of a storage to its end and the digest of its bytes.
        self._known: dict[int, tuple[int, int]] = {}
        self._unseen = 0
        self._launching = False

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Inside the block operators and launches are followed."""
        self._wrote(("", tensor) for tensor in live())
        with launching(self._launched), self:
            yield

    def unseen(self, outputs: Iterable[Any]) -> int:
        """Bytes read by kernels and operators, or among these outputs, that neither of them had written."""
        self._read(regions(("", value) for value in outputs if isinstance(value, torch.Tensor)))
        return self._unseen

    def operator(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._launching:  # the interpreter moves tensors about with operators of its own
            return func(*args, **kwargs)
        given = [("", tensor) for tensor in tensors([*args, *kwargs.values()])]
        self._read(regions(given))
        out = func(*args, **kwargs)
        self._wrote([*(given if func._schema.is_mutable else ()), *(("", tensor) for tensor in tensors(out))])
        return out

    def _launched(self, name: str, go: Any, given: list[torch.Tensor]) -> Any:
        held = {region.start: _held(region) for region in regions((name, tensor) for tensor in given)}
        self._watch.reads.clear()
        self._watch.writes.clear()
        self._launching = True
        try:
            return go()
        finally:
            self._launching = False
            for start, region in self._watch.reads.items():
                if start in held or start not in self._watch.writes:
                    self._account(region, held.get(start) or _held(region))
            self._known.update((start, _held(region)) for start, region in self._watch.writes.items())

    def _read(self, read: Iterable[Region]) -> None:
        for region in read:
            self._account(region, _held(region))

    def _account(self, region: Region, holds: tuple[int, int]) -> None:
        if self._known.get(region.start) != holds:
            self._unseen += region.end - region.start
            self._known[region.start] = holds

    def _wrote(self, written: Iterable[tuple[str, torch.Tensor]]) -> None:
        self._known.update((region.start, _held(region)) for region in regions(written))


def _held(region: Region) -> tuple[int, int]:
    """Where a storage ends and the digest of what it holds."""
    size = region.end - region.start
    return region.end, zlib.crc32((ctypes.c_char * size).from_address(region.start))
