"""Plan (b): a group's weights spread over several CTAs, in one launch that lasts for all steps.

Each CTA owns a few hidden units, all their gates, and the rows of the weights that belong to them, which it
keeps in registers. What it computes for its units goes to global memory, at an address of its own for every
step; every CTA of the member reads it from there, and so do the CTAs of the member above. There is no
barrier: the buffer is filled beforehand with a bit pattern that is never published, and a reader loads
until it is gone.

Why that is enough in PTX's memory model: a value is published by one relaxed store of a 32-bit word at GPU
scope, and polled by volatile loads, which are relaxed too, of whole words (a vector counts as its
elements). Two values of half precision share a word, from two rows that one thread holds, so that no load
is wider than the store it meets. Each word is written once. So a word is its own flag: a reader that does
not see the pattern sees the value, and no order between different words is relied on. The fill is an
earlier kernel of the same stream, so it comes before every store. Progress needs all CTAs resident, which a
cooperative launch ensures.
"""

from __future__ import annotations

from tilewright.gpu.model import Gpu
from tilewright.proposers.recurrence import spread_plan
from tilewright.proposers.recurrence.emitted import Emitted
from tilewright.proposers.recurrence.ir import Group, Tensor
from tilewright.proposers.recurrence.spread_kernel import kernels
from tilewright.proposers.recurrence.spread_members import network
from tilewright.proposers.recurrence.spread_wrapper import wrapper


def emit(
    group: Group,
    types: dict[str, Tensor],
    gpu: Gpu,
    precision: str,
    name: str,
    wanted: frozenset[str] | None = None,
    layout: spread_plan.Layout | None = None,
) -> Emitted:
    """Kernels and wrapper for a group.

    Args:
        types: of the network's values.
        precision: "float32", "tf32", "float16" or "bfloat16", of the products' operands.
        name: of the wrapper; kernels are called after it.
        wanted: results that are read outside the group; all where not given.
        layout: instead of the one chosen for the GPU.

    Raises:
        Declined: a CTA would need columns that another one holds, or the group does not fit the GPU.
    """
    members = network(group, types, precision, wanted)
    chosen = layout or spread_plan.choose(group, gpu, members.operand_bytes)
    text, helpers = kernels(members, chosen, name)
    return wrapper(members, chosen, name, text, helpers)
