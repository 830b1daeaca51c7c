"""The whole recurrence in one program per batch tile, its weights stationary in registers (Triton).

Where other products feed the loop or read it, the same launch may compute them: see `stationary.together`.

A value [B, W] of a step is held transposed, as [warps, R, 8]: row r of warp w is column w * R + r of the
value, the last axis the rows of the batch tile. A product is one batched tl.dot, a warp a batch entry:
[warps, R, K] @ [warps, K, 8] with the left value broadcast over warps. Batched dots become mma.sync on
every target, whose smallest tile (16×8×16) wastes nothing at 8 rows of batch, where wgmma reads 64 rows
of weight for each 8 columns.

Every value keeps the layout of that product's accumulator. What has no layout of its own is given it by
a `like` operand: loads of streams, states, biases, and of the weight itself, whose `like` is a product of
zeros. A weight loaded so is already the left operand of mma.sync and stays in registers; the one
exchange of a step is that of the left value through shared memory.

Where the operands of products are rounded to TF32, float16 or bfloat16, tanh and sigmoid are the
hardware's tanh.approx.f32: within 2^-11 of the magnitude of tanh, 2^-12 of sigmoid, which is the rounding
of the operands again, and exact at the ends (-1, 0, 1). In float32 they are made of ex2 and rcp, within 2e-7.
"""

from __future__ import annotations

from tilewright.gpu.model import Gpu
from tilewright.proposers.recurrence import ir
from tilewright.proposers.recurrence.emit.emitted import Emitted, Packed
from tilewright.proposers.recurrence.emit.variables import renamed
from tilewright.proposers.recurrence.plan.step_time import stationary_us
from tilewright.proposers.recurrence.stationary import together, workers
from tilewright.proposers.recurrence.stationary.around import Around
from tilewright.proposers.recurrence.stationary.kernel import Kernel
from tilewright.proposers.recurrence.stationary.plan import TILE, Block, Plan, plan
from tilewright.proposers.recurrence.stationary.slices import sink_slices
from tilewright.proposers.recurrence.stationary.writer import plain


def emit(
    group: ir.Group,
    types: dict[str, ir.Tensor],
    gpu: Gpu,
    precision: str,
    name: str,
    around: Around | None = None,
    tiled: frozenset[str] = frozenset(),
) -> Emitted:
    """One kernel per member, launched side by side in one grid.

    Args:
        around: products that the launch takes along.
        tiled: streams that lie in tiles; none where the launch takes products along.

    Raises:
        ir.Declined: the weights do not fit the registers of an SM, a member reads another's result,
            or a step mixes columns other than by a product.
    """
    return assembled(Kernel, group, gpu, precision, name, around, tiled, workers.TEMPLATES)


def assembled(
    kind: type[Kernel],
    group: ir.Group,
    gpu: Gpu,
    precision: str,
    name: str,
    around: Around | None,
    tiled: frozenset[str],
    templates: together.Templates,
    imports: tuple[str, ...] = (),
) -> Emitted:
    """The group's kernel in the dialect that `kind` writes, with the function that launches it.

    Raises:
        ir.Declined: see `emit`.
    """
    if around and together.WORDS & {plain(value) for value in _values(group.members[0], around)}:
        around = None  # they are words of the launching function
    if len(group.members) != 1:
        raise ir.Declined("one program per batch tile runs one recurrence", group.members[0].line)
    member = renamed(sink_slices(group.members[0]))
    planned = plan(ir.Group((member,)), gpu, precision)
    streamed = sum(4 * member.steps * member.batch * stream.width for stream in member.streams)
    kernel = kind(
        member,
        planned.blocks[0],
        planned,
        name + ("_loop" if around else "_kernel"),
        around,
        tiled=tiled,
        far=2 * streamed > gpu.l2_bytes,
    )
    source = together.together(kernel, around, templates, name) if around else kernel.source()
    packed = tuple(
        Packed(argument, (block.product.weight,), _packing(block, planned))
        for argument, block in kernel.packed
    )
    packed += (together.packed_products(around, name),) if around else ()
    arguments, wrapper, results = _function(kernel, around, name, tuple(one.name for one in packed))
    return Emitted(
        kernels=source,
        wrapper=wrapper,
        function=name,
        arguments=arguments,
        results=results,
        step_us=stationary_us(
            planned.instructions(0), kernel.programs, kernel.dialect, gpu, together=around is not None
        ),
        helpers=tuple(sorted(kernel.helpers | (templates.helpers if around else set()))),
        imports=imports,
        notes=(
            *((_said(around),) if around else ()),
            f"{kernel.programs} program(s) of {planned.warps} warps, {TILE} rows of batch each, "
            "weights stationary in registers",
            *(
                ("tanh and sigmoid by tanh.approx.f32: within 2^-11, as the products' operands are rounded",)
                if any(name.removeprefix("gluon_").startswith("approximate_") for name in kernel.helpers)
                else ()
            ),
            f"registers a thread: {planned.weight_registers} for weights, "
            f"about {planned.value_registers} for the values of a step",
        ),
        packed=packed,
        tiled=kernel.tiled,
        free=frozenset({"steps"}) if kernel.steps_given else frozenset(),
        covers=around.covers if around else frozenset(),
        functions=(together.GRID_FUNCTION.format(sms=gpu.sms),) if around else (),
    )


def _function(
    kernel: Kernel, around: Around | None, name: str, packed: tuple[str, ...]
) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    """The Python function that allocates and launches: what it takes, its text, what it returns."""
    member, programs = kernel.member, kernel.programs
    given = [around.before.left] if around else []
    given += [state.initial for state in member.states] + [operand.value for operand in member.operands]
    given += [] if around else [stream.value for stream in member.streams]
    arguments = tuple(dict.fromkeys(given)) + packed
    device = f"device={given[0]}.device"
    doc = f"All steps in {programs} program(s) of {kernel.plan.warps} warps"
    lines = [f"def {name}({', '.join(arguments)}):"]
    if around:
        table = f"{name}_compiled = {{}}  # by device, sizes, and what addresses are multiples of"
        lines = [table, "", "", *lines]
        lines.append(f'    """{doc}, the products around them in the others."""')
        lines.append(f"    steps = {plain(given[0])}.shape[0]")
        steps, taken = "steps", [result for result in member.results if result.name in around.returned]
    else:
        lines.append(f'    """{doc}."""')
        steps, taken = str(member.steps), list(member.results)
        if kernel.steps_given:
            steps = f"{plain(member.streams[0].value)}.shape[0]"
    widths = {item.name: item.width for item in (*member.states, *member.body)}
    results = [result.name for result in taken]
    for result in taken:
        time = f"{steps}, " if result.every_step else ""
        shape = f"({time}{member.batch}, {widths[result.source]})"
        lines.append(f"    {plain(result.name)} = torch.empty({shape}, {device})")
    if around and around.after:
        shape = f"(steps, {member.batch}, {around.outputs})"
        lines.append(f"    {plain(around.after.name)} = torch.empty({shape}, {device})")
        results.append(around.after.name)
    if around:
        lines += together.launch(kernel, around, name)
    else:
        lines.append(f"    {name}_kernel[({programs},)](")
        lines += [f"        {argument}," for argument in kernel.arguments]
        lines += [f"        num_warps={kernel.plan.warps},", "        num_stages=1,", "    )"]
    lines.append(f"    return ({', '.join(map(plain, results))},)")
    return arguments, "\n".join(lines) + "\n", tuple(results)


def _values(member: ir.Recurrence, around: Around) -> list[str]:
    """Values of the network that the launching function names."""
    given = [state.initial for state in member.states] + [operand.value for operand in member.operands]
    results = [result.name for result in member.results]
    return [around.before.left, *given, *results, *([around.after.name] if around.after else [])]


def _said(around: Around) -> str:
    """The note on what the launch takes along."""
    after = " and the one after it" if around.after else ""
    return f"one launch: programs beside the loop's compute the product before it{after} as it runs"


def _packing(block: Block, planned: Plan) -> str:
    """The block's rows, padded to tiles, in the operands' format: [rows, K] or [parts, rows, K].

    A single row is repeated instead, so that every thread computes the column that others broadcast.
    """
    rows = planned.warps * planned.rows(block.width)
    inner = planned.warps * planned.rows(block.product.inner)
    rest = block.product.weight
    if block.width < block.product.width:
        rest = f"{rest}[{block.first}:{block.first + block.width}]"
    if block.width == 1:
        rest = f"{rest}.expand({rows}, -1)"
    width = rows if block.width == 1 else block.width
    if (rows, inner) != (width, block.product.inner):
        pads = (0, inner - block.product.inner, 0, rows - width)
        rest = f"torch.nn.functional.pad({rest}, {pads})"
    parts = []
    for _ in range(block.format.parts):
        parts.append(f"({rest}).to(torch.{block.format.dtype})")
        rest = f"({rest} - {parts[-1]}.float())"
    return parts[0] + ".contiguous()" if len(parts) == 1 else f"torch.stack([{', '.join(parts)}])"
