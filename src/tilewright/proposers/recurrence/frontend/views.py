"""Views as (shape, strides, offset) into the value they are views of, and back into calls. Worker side.

Every value counts as stored row by row, so two views are the same exactly when these numbers are, however
they were written, and a read at step t of a loop is an offset that is affine in t.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch

from tilewright.proposers.recurrence.frontend.simplify import VIEWS
from tilewright.proposers.recurrence.frontend.tape import invoke
from tilewright.proposers.recurrence.ir import Call, Name, Network, Tensor


@dataclass(frozen=True)
class View:
    """Elements offset + Σ index·stride of `root`; a dimension of size 1 has stride 0."""

    root: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    @property
    def pattern(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self.shape, self.strides


class Views:
    """The view that each value of a network of calls is."""

    def __init__(self, network: Network) -> None:
        self._views: dict[str, View] = {}
        self._metas: dict[str, torch.Tensor] = {}
        self._types = network.types
        for call in network.statements:
            if isinstance(call, Call) and call.target in VIEWS:
                self._place(call)

    def __getitem__(self, name: str) -> View:
        view = self._views.get(name)
        if view is None:
            view = self._views[name] = whole(name, self._types[name].shape)
        return view

    def is_view(self, name: str) -> bool:
        return self[name].root != name

    def _place(self, call: Call) -> None:
        source = cast(Name, call.args[0]).name
        meta = self._metas.get(source)
        if meta is None:
            meta = torch.empty(self._types[source].shape, device="meta")
        try:
            if call.target == "aten.reshape.default":
                placed = meta.view(cast("tuple[int, ...]", call.args[1]))
            else:
                placed = invoke(call, lambda name: meta)[0]
        except (RuntimeError, ValueError):  # a reshape that has to copy: a value of its own
            return
        self._metas[call.name] = placed
        self._views[call.name] = view_of(self[source].root, placed)


def view_of(root: str, tensor: torch.Tensor) -> View:
    shape = tuple(tensor.shape)
    strides = tuple(0 if n == 1 else s for n, s in zip(shape, tensor.stride(), strict=True))
    return View(root, shape, strides, int(tensor.storage_offset()))


def whole(name: str, shape: tuple[int, ...]) -> View:
    """A value as a view of itself."""
    strides = row_strides(shape)
    return View(name, shape, tuple(0 if n == 1 else s for n, s in zip(shape, strides, strict=True)), 0)


def row_strides(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def take(tensor: torch.Tensor, shape: Sequence[int], strides: Sequence[int], offset: int) -> torch.Tensor:
    """The view (shape, strides, offset) of a tensor counted as stored row by row, by plain view operators."""
    kind = Tensor(tuple(tensor.shape))
    if whole("", kind.shape) == View("", tuple(shape), tuple(strides), offset):
        return tensor
    taken = _sliced(tensor, shape, strides, offset)
    if taken is None:
        taken = _refined(tensor, shape, strides, offset)
    if taken is None:
        taken = torch.as_strided(tensor.contiguous(), list(shape), list(strides), offset)
    return taken


def _sliced(
    tensor: torch.Tensor, shape: Sequence[int], strides: Sequence[int], offset: int
) -> torch.Tensor | None:
    """As slices, selects, a permutation and an expand, where every dimension of the view lies in one
    dimension of the tensor."""
    sizes = tuple(tensor.shape)
    base = row_strides(sizes)
    starts = [offset // stride % size if size else 0 for size, stride in zip(sizes, base, strict=True)]
    lies: dict[int, int] = {}  # dimension of the tensor → dimension of the view
    for j, (n, s) in enumerate(zip(shape, strides, strict=True)):
        if n == 1 or s == 0:
            continue
        found = [i for i, (m, b) in enumerate(zip(sizes, base, strict=True)) if m > 1 and b <= s < b * m]
        if not found or found[0] in lies or s % base[found[0]]:
            return None
        i = found[0]
        if starts[i] + (n - 1) * (s // base[i]) >= sizes[i]:
            return None
        lies[i] = j
    if len(shape) == len(sizes):  # a dimension cut to one element stays where it is
        for i in range(len(sizes)):
            if i not in lies and shape[i] == 1:
                lies[i] = i
    for i in reversed(range(len(sizes))):
        if i not in lies:
            tensor = tensor.select(i, starts[i])
            continue
        step = max(1, strides[lies[i]] // base[i])
        stop = starts[i] + (shape[lies[i]] - 1) * step + 1
        if (starts[i], stop, step) != (0, sizes[i], 1):
            tensor = torch.ops.aten.slice.Tensor(tensor, i, starts[i], stop, step)
    order = [lies[i] for i in sorted(lies)]
    present = sorted(order)
    if order != present:
        tensor = tensor.permute([order.index(j) for j in present])
    for j in range(len(shape)):
        if j not in present:
            tensor = tensor.unsqueeze(j)
    return tensor if tuple(tensor.shape) == tuple(shape) else tensor.expand(tuple(shape))


def _refined(
    tensor: torch.Tensor, shape: Sequence[int], strides: Sequence[int], offset: int
) -> torch.Tensor | None:
    """The same after splitting the tensor's dimensions where the view's begin and end, and with the
    pieces of a dimension of the view merged afterwards."""
    steps = {1, *row_strides(tensor.shape), *(s for n, s in zip(shape, strides, strict=True) if n > 1 and s)}
    split = _split_at(tensor, _pieces(tensor, steps))
    taken = None if split is None else _sliced(split, shape, strides, offset)
    if taken is not None:
        return taken
    ends = {s * n for n, s in zip(shape, strides, strict=True) if n > 1 and s > 0}
    pieces = _pieces(tensor, steps | ends)
    split = _split_at(tensor, pieces)
    if split is None:
        return None
    fine_shape: list[int] = []
    fine_strides: list[int] = []
    for n, s in zip(shape, strides, strict=True):
        inner = (
            [(b // a, a) for a, b in reversed(pieces) if s <= a and b <= s * n]
            if n > 1 and s > 0
            else [(n, 0)]
        )
        fine_shape += [size for size, _ in inner]
        fine_strides += [stride for _, stride in inner]
    taken = _sliced(split, fine_shape, fine_strides, offset)
    return None if taken is None else taken.reshape(tuple(shape))


def _pieces(tensor: torch.Tensor, strides: set[int]) -> list[tuple[int, int]]:
    """The stride and the extent of a dimension for each of these strides, the smallest first."""
    return list(pairwise(sorted({*strides, tensor.numel()})))


def _split_at(tensor: torch.Tensor, pieces: list[tuple[int, int]]) -> torch.Tensor | None:
    """The tensor with these dimensions; None where a stride does not divide the next, or lies beyond it."""
    beyond = bool(pieces) and pieces[-1][1] != tensor.numel()
    if beyond or any(extent % stride for stride, extent in pieces):
        return None
    return tensor.reshape([extent // stride for stride, extent in reversed(pieces)])
