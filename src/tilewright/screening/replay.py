"""The launches of some kernels in a forward, recorded with their arguments and made again by themselves.

What else the forward does, other kernels, operators and the host's work between them, is the same for all
candidates that differ in these kernels only, and its noise would hide what they gain.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch

from tilewright.judge.means.spirit import launching

MOST_LAUNCHES = 16  # that the host gets ahead of the device with; of more some are made, evenly spaced


@dataclass(frozen=True)
class Replay:
    """Recorded launches, in order. Their arguments stay alive with it.

    Args:
        weight: of how many launches in the forward each of these stands.
    """

    launches: tuple[Callable[[], Any], ...]
    weight: float

    def __call__(self) -> None:
        for launch in self.launches:
            launch()


def recorded(forward: Callable[[], Any], kernels: Collection[str]) -> Replay | None:
    """Run a forward and keep its launches of these kernels; None where it makes none.

    The forward should have run before, so that neither compilation nor autotuning is among the launches.
    """
    found: list[Callable[[], Any]] = []

    def launch(name: str, go: Callable[[], Any], tensors: list[torch.Tensor]) -> Any:
        if name in kernels:
            found.append(go)
        return go()

    with torch.no_grad(), launching(launch):
        forward()
    if not found:
        return None
    count = min(len(found), MOST_LAUNCHES)
    chosen = [found[number * len(found) // count] for number in range(count)]
    return Replay(tuple(chosen), len(found) / count)
