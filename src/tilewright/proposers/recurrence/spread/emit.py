"""Plans (b) and (c): a group's weights spread over several CTAs, in one launch that lasts for all steps.

Each CTA owns a few hidden units, all their gates, and the rows of the weights that belong to them, which it
keeps in registers. What it computes for its units goes to global memory, at an address of its own for every
step; every CTA of the member reads it from there, and so do the CTAs of the member above. No barrier: the
buffer is filled beforehand with a bit pattern that no number has, and a reader loads until it is gone. So a
value is its own flag, nothing is overwritten, and no order between different addresses is relied on.

Values are published with st.relaxed, from the registers that hold them, and read in words of 64 bits, each of
several values: volatile loads at first, then ld.relaxed in a loop for words that lack one. What is stored
once and whole is not seen in part: GPUs keep to that, although PTX promises it only for accesses
of one size. `function.Function` says in which order a step does what, `reading` how it reads.

Where weights are read from L2 every step (`streamed`), so are states, by copies that no thread sees. There a
CTA counts its steps in a flag, which it releases and others acquire.
"""

from __future__ import annotations

from tilewright.gpu.model import Gpu
from tilewright.proposers.recurrence.emit.emitted import Emitted
from tilewright.proposers.recurrence.ir import Group, Tensor
from tilewright.proposers.recurrence.spread import plan as spread_plan
from tilewright.proposers.recurrence.spread import streamed as spread_streamed
from tilewright.proposers.recurrence.spread.kernel import kernels
from tilewright.proposers.recurrence.spread.members import network
from tilewright.proposers.recurrence.spread.wrapper import wrapper


def emit(
    group: Group,
    types: dict[str, Tensor],
    gpu: Gpu,
    precision: str,
    name: str,
    wanted: frozenset[str] | None = None,
    layout: spread_plan.Layout | None = None,
    *,
    streamed: bool = False,
    place: int = 0,
) -> Emitted:
    """Kernels and wrapper for a group.

    Args:
        types: of the network's values.
        precision: "float32", "tf32", "float16" or "bfloat16", of the products' operands.
        name: of the wrapper; kernels are called after it.
        wanted: results that are read outside the group; all where not given.
        layout: instead of the one chosen for the GPU.
        streamed: weights are read from L2 every step instead of staying in registers.
        place: of the layout among those that fit, where none is given; 0 is expected to be the fastest.

    Raises:
        Declined: a CTA would need columns that another one holds, or the group does not fit the GPU.
    """
    members = network(group, types, precision, wanted)
    if layout is None:
        if streamed:
            layout = spread_streamed.choose(group, gpu, members.operand_bytes)
        else:
            layout = spread_plan.choose(group, gpu, members.operand_bytes, members.copies, place)
    text, helpers = kernels(members, layout, name)
    return wrapper(members, layout, name, text, helpers)
