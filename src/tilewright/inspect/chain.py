"""The longest chain of launches in which each needs what the one before it wrote. For workers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from tilewright.launches.recorder import Event, View

Access = tuple[frozenset[str], frozenset[str]]  # pointer parameters read, and written


def longest_chain(events: Sequence[Event], access: Mapping[int, Access]) -> int:
    """Launches on the longest chain of true dependences (a read of what was written before).

    Operators of PyTorch pass a dependence on without being counted.

    Args:
        events: in the order they happened.
        access: for each distinct launch, what its kernel reads and writes. A launch without an
            entry (it did not compile) is taken to read and write all its tensors.
    """
    writers: dict[int, list[tuple[View, int]]] = defaultdict(list)
    longest = 0
    for event in events:
        reads, writes = _touched(event, access)
        needed = [
            depth for view in reads for written, depth in writers[view.storage] if written.overlaps(view)
        ]
        depth = max(needed, default=0) + (event.launch is not None)
        longest = max(longest, depth)
        for view in writes:
            kept = [(written, d) for written, d in writers[view.storage] if written != view]
            writers[view.storage] = [*kept, (view, depth)]
    return longest


def _touched(event: Event, access: Mapping[int, Access]) -> tuple[list[View], list[View]]:
    if event.launch is None:
        return list(event.reads), list(event.writes)
    views = event.views
    reads, writes = access.get(event.launch, (frozenset(views), frozenset(views)))
    return [views[n] for n in views if n in reads], [views[n] for n in views if n in writes]
