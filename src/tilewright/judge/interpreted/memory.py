"""Every address that a kernel touches under Triton's interpreter, checked against the live tensors.

The interpreter reads and writes the memory of its own process, so an index past the end of a tensor is a
wrong value on a good day and somebody else's data on a bad one. All of its accesses pass through four
functions of the extension module (loads, stores, two atomics), block pointers, descriptors and
`assembly`'s own loads and stores included; those four are wrapped here. Addresses carry no origin: one that
strays from its tensor right into another live one is not seen.

triton-viz's sanitizer (3.0) does not serve instead: it wraps kernels by a decorator in their source, knows
the arguments of a launch only, and asks for z3, flask, pyarrow and cairo.
"""

from __future__ import annotations

import gc
import inspect
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import triton
from torch._subclasses.fake_tensor import FakeTensor
from triton.runtime import interpreter

from tilewright.judge.interpreted.cooperative import BATON

OWN_FOLDERS = (str(Path(triton.__file__).parent), str(Path(__file__).parent))


class StrayAccess(Exception):
    """A kernel reads or writes memory that belongs to no live tensor."""


@dataclass(frozen=True)
class Region:
    """The memory of one storage: addresses start ≤ a < end, and what to call it."""

    start: int
    end: int
    name: str


@dataclass
class Watch:
    """What the wrapped functions share.

    Attributes:
        strays: a line for each stray access so far, also where the candidate caught the exception.
        kernel: the kernel launched last.
        regions: the storages of its arguments.
        others: all other live storages, once one of them was asked for in this launch.
        reads, writes: the storages that kernels may have read and written since somebody emptied them, by
            where they start.
    """

    strays: list[str] = field(default_factory=list)
    kernel: str = ""
    regions: list[Region] = field(default_factory=list)
    others: list[Region] | None = None
    reads: dict[int, Region] = field(default_factory=dict)
    writes: dict[int, Region] = field(default_factory=dict)

    def launched(self, kernel: str, arguments: dict[str, Any]) -> None:
        """Take note of a launch and of the storages it is given."""
        self.kernel = kernel
        self.regions = list(regions((name, t) for name, value in arguments.items() for t in tensors(value)))
        self.others = None

    def check(self, access: str, addresses: np.ndarray[Any, Any], mask: Any, size: int) -> None:
        """Raise unless all addresses whose mask is set, `size` bytes from each, lie in live tensors.

        Raises:
            StrayAccess: some do not.
        """
        if BATON.alone:  # values mean nothing then, and addresses are computed from values
            return
        lanes = addresses
        if mask is not None:
            lanes = addresses[np.broadcast_to(np.asarray(mask, dtype=bool), addresses.shape)]
        if not lanes.size:
            return
        low, high = int(lanes.min()), int(lanes.max()) + size
        for region in self.regions:
            if region.start <= low and high <= region.end:
                self._touched(access, [region])
                return
        self._touched(access, self.regions)
        stray = _outside(lanes, size, self.regions)
        if stray.size:
            if self.others is None:
                self.others = list(regions(("a tensor that the kernel was not given", t) for t in live()))
            self._touched(access, self.others)
            stray = _outside(stray, size, self.others)
        if stray.size:
            self.strays.append(self._told(access, stray, size))
            raise StrayAccess(self.strays[-1])

    def _touched(self, access: str, regions: Iterable[Region]) -> None:
        """Take note of what an access may concern."""
        for region in regions:
            if access != "writes":
                self.reads.setdefault(region.start, region)
            if access != "reads":
                self.writes.setdefault(region.start, region)

    def _told(self, access: str, stray: np.ndarray[Any, Any], size: int) -> str:
        """Which kernel, line and operation, and how far from which tensor."""
        told = f"{self.kernel}{_line()} {access} {stray.size} element{'s' * (stray.size > 1)}"
        by_distance = [
            (distance, region.name, side)
            for region in self.regions
            for distance, side in (
                (int(stray.max()) + size - region.end, "past the end of"),
                (region.start - int(stray.min()), "before the start of"),
            )
            if distance > 0
        ]
        if not by_distance:
            return f"{told} outside of all tensors"
        distance, name, side = min(by_distance)
        return f"{told} up to {distance} bytes {side} {name}"


WATCH = Watch()


def install() -> Watch:
    """Watch all accesses of this process's interpreter from now on. Once for a process."""
    extension = interpreter._interpreter
    load, store = extension.load, extension.store
    rmw, cas = extension.atomic_rmw, extension.atomic_cas

    def checked_load(address: Any, mask: Any, other: Any, dtype: Any) -> Any:
        WATCH.check("reads", address, mask, np.dtype(dtype).itemsize)
        return load(address, mask, other, dtype)

    def checked_store(address: Any, value: Any, mask: Any) -> Any:
        WATCH.check("writes", address, mask, value.itemsize)
        return store(address, value, mask)

    def checked_rmw(operation: Any, address: Any, value: Any, mask: Any, order: Any) -> Any:
        WATCH.check("changes atomically", address, mask, value.itemsize)
        return rmw(operation, address, value, mask, order)

    def checked_cas(address: Any, old: Any, new: Any, order: Any) -> Any:
        WATCH.check("changes atomically", address, None, new.itemsize)
        return cas(address, old, new, order)

    extension.load, extension.store = checked_load, checked_store
    extension.atomic_rmw, extension.atomic_cas = checked_rmw, checked_cas
    interpreter.GridExecutor._init_args_hst = _noting(interpreter.GridExecutor._init_args_hst)
    return WATCH


def _noting(original: Callable[..., Any]) -> Callable[..., Any]:
    def on_host(executor: Any, args: Any, kwargs: Any) -> Any:
        on_host_args, on_host_kwargs = original(executor, args, kwargs)
        names = list(inspect.signature(executor.fn).parameters)
        arguments = {**dict(zip(names, on_host_args, strict=False)), **on_host_kwargs}
        WATCH.launched(executor.fn.__name__, arguments)
        return on_host_args, on_host_kwargs

    return on_host


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """The tensors in one argument of a launch: plain, reinterpreted, in tuples, behind a descriptor."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors(item)
    elif hasattr(value, "base"):  # triton's TensorWrapper and TensorDescriptor
        yield from tensors(value.base)


def regions(named: Iterable[tuple[str, torch.Tensor]]) -> Iterator[Region]:
    """One region for each storage in the memory of this process."""
    seen: set[int] = set()
    for name, tensor in named:
        if isinstance(tensor, FakeTensor) or tensor.device.type != "cpu" or tensor.layout != torch.strided:
            continue
        storage = tensor.untyped_storage()
        start = storage.data_ptr()
        if start and start not in seen:
            seen.add(start)
            yield Region(start, start + storage.nbytes(), name)


def live() -> Iterator[torch.Tensor]:
    """All tensors that Python code can still reach, and some that it has just dropped."""
    for thing in gc.get_objects():
        if issubclass(type(thing), torch.Tensor):  # isinstance would ask objects that only pose as others
            yield thing


def _outside(addresses: np.ndarray[Any, Any], size: int, within: list[Region]) -> np.ndarray[Any, Any]:
    """Those of the addresses that no region holds with all their bytes."""
    if not within:
        return addresses
    ordered = sorted((region.start, region.end) for region in within)
    starts, ends = (np.array(column, dtype=np.uint64) for column in zip(*ordered, strict=True))
    flat = addresses.reshape(-1).astype(np.uint64, copy=False)
    before = np.searchsorted(starts, flat, side="right")
    held = (before > 0) & (flat + np.uint64(size) <= ends[np.maximum(before, 1) - 1])
    stray: np.ndarray[Any, Any] = flat[~held]
    return stray


def _line() -> str:
    """ " line 12" of the innermost function that is neither Triton's nor the judge's; empty without one."""
    for frame, line in traceback.walk_stack(None):
        if not frame.f_code.co_filename.startswith(OWN_FOLDERS):
            return f" line {line}"
    return ""
