"""Products and sums of too few programs to keep a GPU busy: several share each; see `shared_loop`."""

from __future__ import annotations

from collections.abc import Sequence

from tilewright.kernelfile import Kernel
from tilewright.proposers.rewrite.base import View
from tilewright.proposers.rewrite.products import product_loop, sum_loop
from tilewright.proposers.rewrite.shared_loop import SharedLoop

READERS = 4  # programs on each SM that add up what they read


class SplitK:
    """A kernel whose one loop adds up a tl.dot and whose one store writes the sum, or what follows from it.

    Safe at every size: the shares cover the loop's turns once, an empty share adds zeros, and what advances
    by the same amount every turn is advanced by a share's first turn. The output is allocated just before the
    launch and dense, so that partial results laid out alike can be added element by element.
    """

    name = "split-K where a matmul leaves SMs idle"
    stages = frozenset({"grid_and_parallel"})

    def choices(self, view: View, kernel: Kernel) -> Sequence[str]:
        """SPLIT, largest first: programs × SPLIT no more than the SMs, FEWEST_TURNS turns or more each."""
        return SharedLoop(view, kernel, product_loop).choices(view.gpu.sms)

    def apply(self, view: View, kernel: Kernel, choice: str) -> str:
        """Share the loop, widen the grid, and add the parts."""
        return SharedLoop(view, kernel, product_loop).edited(choice)


class SplitSum:
    """A kernel without a product whose one loop adds up what it reads, and whose one store writes the sum, or
    what `tl.sum` makes of it.

    Safe at every size, as `SplitK` is: a sum along an axis of the parts is a part of that sum. One program an
    SM does not ask memory for as much as it can give, so there may be several.
    """

    name = "the turns of a sum shared where programs are few"
    stages = frozenset({"grid_and_parallel"})

    def choices(self, view: View, kernel: Kernel) -> Sequence[str]:
        """SPLIT, largest first: programs × SPLIT up to READERS an SM, FEWEST_TURNS turns or more each."""
        return SharedLoop(view, kernel, sum_loop, finishing=False).choices(READERS * view.gpu.sms)

    def apply(self, view: View, kernel: Kernel, choice: str) -> str:
        """Share the loop, widen the grid, and add the parts."""
        return SharedLoop(view, kernel, sum_loop, finishing=False).edited(choice)
