"""Which data the caches should keep, said where it is loaded.

`tl.load(x_ptr + at)` → `tl.load(x_ptr + at, eviction_policy="evict_first")` where nothing reads the data
again, and `"evict_last"` where other programs will. Caches otherwise drop what has not been read for longest,
and a stream larger than the cache drives out operands that every program reads. No value changes.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from math import prod

from tilewright.kernelfile import Kernel
from tilewright.launches.model import Launch
from tilewright.proposers.edit import ArgumentEdit, Edits
from tilewright.proposers.rewrite.addresses import Places, Pointer, read_places
from tilewright.proposers.rewrite.base import Declined, View
from tilewright.proposers.rewrite.body import Body

FIRST, LAST = "streamed first", "shared last"
BOTH = f"{FIRST}, {LAST}"
POLICIES = {FIRST: "evict_first", LAST: "evict_last"}
TOLD = ("eviction_policy", "cache_modifier", "volatile")


class Eviction:
    """Loads that are the only ones of their data, and loads whose data several programs read.

    Streamed: one load of the kernel reads the tensor, never the same place twice, and no other launch is
    passed its memory. Shared: a place is read by four thirds of a program or more, and the tensor fits into
    the L2 cache. Both are found by following a few elements of every tile through the recorded launches.
    Safe always: a policy changes which line of the cache goes first, and no value.
    """

    name = "eviction policies"
    stages = frozenset({"advanced_memory"})

    def choices(self, view: View, kernel: Kernel) -> Sequence[str]:
        """Both where there is both; each on its own."""
        found = _policies(view, kernel, Body(view.node(kernel), view.file.source))
        kinds = tuple(kind for kind in (FIRST, LAST) if kind in found.values())
        return (BOTH, *kinds) if len(kinds) == 2 else kinds

    def apply(self, view: View, kernel: Kernel, choice: str) -> str:
        """Name the policies."""
        body = Body(view.node(kernel), view.file.source)
        edits = Edits()
        for load, kind in _policies(view, kernel, body).items():
            if kind in choice:
                policy = f'"{POLICIES[kind]}"'
                edits.calls[body.place(load)] = ArgumentEdit({"eviction_policy": policy})
        return view.edited(edits)


def _policies(view: View, kernel: Kernel, body: Body) -> dict[ast.Call, str]:
    """Loads to FIRST or LAST, at every launch the same.

    Raises:
        Declined: no load is either.
    """
    if any(view.file.kernel(callee).reads for callee in kernel.calls):
        raise Declined("a function that it calls loads for it")
    found: dict[ast.Call, set[str | None]] = {}
    for launch in view.launches(kernel):
        if launch.config in (None, 0):
            places = read_places(body.function, launch)
            for load in places:
                found.setdefault(load, set()).add(_kind(view, launch, load, places))
    kinds = {load: next(iter(all_)) for load, all_ in found.items() if len(all_) == 1}
    chosen = {load: kind for load, kind in kinds.items() if kind is not None}
    if not chosen:
        raise Declined("no load is certainly the only one of its data, or shared by programs and small")
    return chosen


def _kind(
    view: View, launch: Launch, load: ast.Call, places: dict[ast.Call, list[list[Places]]]
) -> str | None:
    """What a load is at one launch."""
    each = [frozenset[Pointer | None]().union(*met) for met in places[load]]
    read = frozenset[Pointer | None]().union(*each)
    names = {place[0] for place in read if place is not None}
    if None in read or len(names) != 1 or any(k.arg in TOLD for k in load.keywords):
        return None
    tensor = next(a for a in launch.arguments if a.name in names)
    alone = all(other is load or not _may_read(met, tensor.name) for other, met in places.items())
    again = sum(
        any(a.tensor == tensor.tensor for a in view.recording.launches[i].arguments if a.kind == "tensor")
        for i in view.recording.sequence
    )
    if alone and again == 1 and sum(len(one) for met in places[load] for one in met) == len(read):
        return FIRST
    fits = prod(tensor.shape) * tensor.itemsize <= view.gpu.l2_bytes
    return LAST if fits and 3 * sum(map(len, each)) >= 4 * len(read) else None


def _may_read(met: list[list[Places]], name: str) -> bool:
    return any(place is None or place[0] == name for one in met for places in one for place in places)
