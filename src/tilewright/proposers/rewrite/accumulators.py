"""A second accumulator for the loop of a matrix product.

`acc = tl.dot(a, b, acc)` waits for the turn before it. Where an SM has no other program to run meanwhile,
that wait is the loop's time. Two accumulators that take turns halve the chain:

    for start in tl.range(0, k, BK, loop_unroll_factor=2):
        …
        acc = tl.dot(a, b, acc)
        acc, acc_2 = acc_2, acc
    acc += acc_2

Two turns are unrolled into one, so that the exchange is one of names and moves no register.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence

from tilewright.kernelfile import Kernel
from tilewright.proposers.edit import Edits
from tilewright.proposers.rewrite.base import Declined, View
from tilewright.proposers.rewrite.body import Body
from tilewright.proposers.rewrite.names import fresh
from tilewright.proposers.rewrite.products import evaluated, product_loop, recorded_turns, recorded_values

FEWEST_TURNS = 4
MOST_REGISTERS = 64  # a thread may spend on the second accumulator, of the 255 it can have at most
TWO = "two accumulators"


class Accumulators:
    """A kernel that adds up one tl.dot a turn, from zeros in float32.

    Safe at every number of turns: what the loop adds goes to one accumulator or the other, and their sum is
    the same sum in another order. The loop's body stays one piece of text; Triton's unroller takes care of a
    last turn that is left over.
    """

    name = "a second accumulator chain where dependent dots set the latency"
    stages = frozenset({"advanced_memory"})

    def choices(self, view: View, kernel: Kernel) -> Sequence[str]:
        """`TWO`, where the recorded programs have an SM each and registers are left."""
        body = Body(view.node(kernel), view.file.source)
        product = product_loop(body)
        _require_plain_range(product.turns)
        launch = min(view.launches(kernel), key=lambda one: one.config or 0)
        if launch.programs > view.gpu.sms:
            raise Declined(
                f"its {launch.programs} programs share {view.gpu.sms} SMs and hide each other's waits"
            )
        turns = recorded_turns(body, product, launch)
        if turns < FEWEST_TURNS:
            raise Declined(f"its loop takes {turns} turns, too few for two chains")
        values = recorded_values(launch)
        assert isinstance(product.zeros.value, ast.Call)
        shape = [evaluated(node, values) for node in getattr(product.zeros.value.args[0], "elts", ())]
        elements = math.prod(extent or 0 for extent in shape) if shape else 0
        registers = elements / (32 * launch.num_warps)
        if not 0 < registers <= MOST_REGISTERS:
            raise Declined(
                f"line {product.zeros.lineno}: a second accumulator takes {registers:.0f} registers"
            )
        return (TWO,)

    def apply(self, view: View, kernel: Kernel, choice: str) -> str:
        """Add it."""
        body = Body(view.node(kernel), view.file.source)
        product = product_loop(body)
        _require_plain_range(product.turns)
        first, second = product.accumulator, fresh(body.function, f"{product.accumulator}_2")
        inner = ", ".join(ast.unparse(node) for node in (*product.turns.args, *product.turns.keywords))
        edits = Edits()
        edits.expressions[body.place(product.turns)] = f"tl.range({inner}, loop_unroll_factor=2)"
        edits.after[product.zeros.lineno] = [f"{second} = {ast.unparse(product.zeros.value)}"]
        edits.after[product.update.lineno] = [f"{first}, {second} = {second}, {first}"]
        edits.after[product.loop.lineno] = [f"{first} += {second}"]
        return view.edited(edits)


def _require_plain_range(turns: ast.Call) -> None:
    """Decline a loop that is unrolled or taken apart already."""
    for keyword in turns.keywords:
        if keyword.arg in (None, "loop_unroll_factor", "warp_specialize", "flatten"):
            raise Declined(f"line {turns.lineno}: its range is given {ast.unparse(keyword)}")
