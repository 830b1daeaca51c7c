"""The Python function that checks, allocates and launches a spread group."""

from __future__ import annotations

from tilewright.proposers.recurrence.emit.emitted import Emitted, Packed
from tilewright.proposers.recurrence.ir import Product
from tilewright.proposers.recurrence.spread.body import padded_gates, variable
from tilewright.proposers.recurrence.spread.function import given, inner_of, prefixes
from tilewright.proposers.recurrence.spread.members import Member, Members, Run
from tilewright.proposers.recurrence.spread.plan import MOST_REGISTERS, Layout

TORCH = {"fp16": "torch.float16", "bf16": "torch.bfloat16", "fp32": "torch.float32"}
BITS = {"fp16": "torch.int16", "bf16": "torch.int16", "fp32": "torch.int32"}
MOST_ELEMENTS = 2**31  # of one tensor, since addresses are computed in 32 bits


def wrapper(members: Members, layout: Layout, name: str, kernels: str, helpers: tuple[str, ...]) -> Emitted:
    """The wrapper, and everything the module writer needs to know of it."""
    packed = [
        _packed(members, layout, run, product, position, f"{name}_weight_{number}_{position}")
        for number, run in enumerate(members.runs)
        for position, product in enumerate(members.all[run.first].loop.products)
    ]
    values: list[str] = []
    for member in members.all:
        for value in _values(member):
            if value not in values:
                values.append(value)
    names = {value: variable(value) for value in values}
    parameters = [*names.values(), *(p.name for p in packed)]
    total = sum(layout.ctas)
    columns = prefixes(members, layout)[-1]
    first = members.all[0]
    loop = first.loop
    outside = [s for m in members.all for s in m.loop.streams if s.name in m.outside]
    lines = []
    if outside:
        lines.append(f"steps, batch = {names[outside[0].value]}.shape[:2]")
    else:
        lines.append(f"steps, batch = {loop.steps}, {loop.batch}")
    anchor = names[outside[0].value] if outside else parameters[0]
    lines.append(f"device = {anchor}.device")
    for value, width in dict.fromkeys((s.value, s.width) for s in outside):
        shape = f"(steps, batch, {width})"
        said = f"{names[value]}: expected {{{shape}}}, got {{tuple({names[value]}.shape)}}"
        lines += [f"if {names[value]}.shape != {shape}:", f'    raise ValueError(f"{said}")']
    widest = max([columns, *(s.width for s in outside)])
    lines += [
        f"if steps * batch * {widest} >= {MOST_ELEMENTS}:",
        '    raise ValueError(f"{steps} steps of {batch} rows are more than 32-bit addresses reach")',
        f"grid = ({total}, triton.cdiv(batch, {layout.rows}))",
        "if torch.cuda.is_available():  # CTAs wait for one another, so all of them must be running",
        "    sms = torch.cuda.get_device_properties(device).multi_processor_count",
        "    if grid[0] * grid[1] > sms:",
        '        raise RuntimeError(f"a batch of {batch} needs {grid[0] * grid[1]} SMs, this GPU has {sms}")',
        f"size = steps * batch * {columns}",
        *_exchange(layout, BITS[members.operand], total),
    ]
    returned: list[str] = []
    results: list[str] = []
    arguments = ["published", *(["flags"] if layout.piece else [])]
    weights = iter(packed)
    for number, run in enumerate(members.runs):
        member = members.all[run.first]
        arguments += [next(weights).name for _ in member.loop.products]
        for index in range(run.first, run.first + run.count):
            one = members.all[index].loop
            arguments += [f"{names[s.initial]}.contiguous()" for s in one.states]
            arguments += [f"{names[o.value]}.contiguous()" for o in one.operands]
            assert len(given(member)) == len(one.states) + len(one.operands)
        for stream in (s for s in member.loop.streams if s.name in member.outside):
            value = names[stream.value]
            arguments += [value, f"*{value}.stride()"]
        for position, result in enumerate(member.results):
            tensor = f"{'every' if result.every_step else 'last'}_{number}_{position}"
            shape = "steps, batch" if result.every_step else "batch"
            lead = f"{run.count}, " if run.count > 1 else ""
            lines.append(
                f"{tensor} = torch.empty({lead}{shape}, {member.hidden}, dtype=torch.float32, device=device)"
            )
            arguments.append(tensor)
            for offset in range(run.count):
                results.append(members.all[run.first + offset].results[position].name)
                returned.append(f"{tensor}[{offset}]" if run.count > 1 else tensor)
    arguments += [
        "steps",
        "batch",
        f"num_warps={layout.warps}",
        "num_stages=1",
        "launch_cooperative_grid=True",
        *([f"maxnreg={MOST_REGISTERS}"] if layout.crowded else []),
    ]
    listed = ",\n    ".join(arguments)
    lines += [f"{name}_kernel[grid](\n    {listed},\n)"]
    lines += [f"return ({', '.join(returned)},)"]
    body = "\n".join(f"    {line}" for text in lines for line in text.split("\n"))
    text = f'def {name}({", ".join(parameters)}):\n    """{_doc(members, layout)}"""\n{body}\n'
    return Emitted(
        kernels=kernels,
        wrapper=text,
        function=name,
        arguments=(*values, *(p.name for p in packed)),
        results=tuple(results),
        step_us=layout.step_us,
        helpers=helpers,
        notes=_notes(members, layout),
        packed=tuple(packed),
        free=frozenset({"steps", "batch"}),
    )


def _exchange(layout: Layout, kind: str, ctas: int) -> list[str]:
    """Lines that allocate what CTAs publish, and how they tell one another of it."""
    if not layout.piece:
        return [f"published = torch.full((size,), -1, dtype={kind}, device=device)"]
    return [
        f"published = torch.empty((size,), dtype={kind}, device=device)",
        f"flags = torch.zeros((grid[1] * {ctas},), dtype=torch.int32, device=device)",
    ]


def _values(member: Member) -> list[str]:
    loop = member.loop
    streams = [s.value for s in loop.streams if s.name in member.outside]
    return [*streams, *(s.initial for s in loop.states), *(o.value for o in loop.operands)]


def _packed(members: Members, layout: Layout, run: Run, product: Product, position: int, name: str) -> Packed:
    """Weights as CTAs read them: [member and CTA, inner, columns], padded with zeros."""
    member = members.all[run.first]
    ctas, units = layout.ctas[run.first], layout.units
    gates = product.width // member.hidden
    held = padded_gates(gates)
    inner = product.inner
    padded_inner = inner_of(layout, member, run.first, product)
    weights = tuple(
        members.all[index].loop.products[position].weight for index in range(run.first, run.first + run.count)
    )
    stacked = f"torch.stack([{', '.join(weights)}])"
    padding = (0, padded_inner - inner, 0, ctas * units - member.hidden, 0, held - gates)
    shaped = f"{stacked}.view({run.count}, {gates}, {member.hidden}, {inner})"
    if any(padding):
        shaped = f"torch.nn.functional.pad({shaped}, {padding})"
    low = min(2, held)
    shape = (run.count, held // low, low, ctas, units, padded_inner)
    ordered = f"{shaped}.view{shape}.permute(0, 3, 5, 1, 4, 2)"
    flat = f"reshape({run.count * ctas}, {padded_inner}, {held * units})"
    expression = f"{ordered}.{flat}.to({TORCH[members.operand]}).contiguous()"
    return Packed(name, weights, expression)


def _doc(members: Members, layout: Layout) -> str:
    count = len(members.all)
    loops = "one recurrence" if count == 1 else f"{count} recurrences side by side"
    return f"{loops.capitalize()} in one launch of {sum(layout.ctas)} CTAs for every {layout.rows} rows."


def _notes(members: Members, layout: Layout) -> tuple[str, ...]:
    each = ", ".join(dict.fromkeys(str(count) for count in layout.ctas))
    return (
        f"spread: {len(members.all)} loops over {layout.total} CTAs ({each} a loop and batch tile), each"
        f" {layout.units} hidden units, {layout.warps} warps"
        + (" that share the columns of the state among them" if layout.split > 1 else ""),
        (
            f"weights read from L2 every step, {layout.stages} pieces of {layout.piece} columns on their way"
            if layout.piece
            else f"weights in {layout.registers} registers of each thread"
        )
        + f", as {members.operand}; about {layout.shared_bytes // 1024} KiB of shared memory",
        f"a step: about {layout.step_us:.1f} us (estimated)",
    )
