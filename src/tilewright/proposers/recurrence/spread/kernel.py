"""The kernels of a spread group: one function for each run of members, and the one that is launched."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from textwrap import indent

from tilewright.proposers.recurrence.ir import Name, Operand, Product, Stream
from tilewright.proposers.recurrence.spread import streamed as spread_streamed
from tilewright.proposers.recurrence.spread.body import Shown, Step, padded_gates, variable
from tilewright.proposers.recurrence.spread.helpers import (
    TRITON,
    arrived_helper,
    bits_helper,
    gates_helper,
)
from tilewright.proposers.recurrence.spread.members import Member, Members, Run, form
from tilewright.proposers.recurrence.spread.plan import BYTES, Layout, chunks


def kernels(members: Members, layout: Layout, name: str) -> tuple[str, tuple[str, ...]]:
    """The source of all @triton.jit functions, and the helpers of `ops` that they call."""
    texts: dict[tuple[object, ...], tuple[str, str]] = {}
    helpers: set[str] = set()
    splits: set[int] = set()
    loads: set[int] = set()
    calls: list[str] = []
    start = 0
    for number, run in enumerate(members.runs):
        member = members.all[run.first]
        key = form(member, members.types)
        if key not in texts:
            function = f"{name}_steps" if len(members.runs) == 1 else f"{name}_steps_{len(texts)}"
            writer = Function(members, run, layout, name, function)
            texts[key] = (function, writer.text())
            helpers |= writer.step.helpers
            splits |= writer.step.splits
            loads |= writer.loads
        end = start + layout.ctas[run.first] * run.count
        calls.append(_branch(members, layout, run, number, texts[key][0], start, end))
        start = end
    parameters = ",\n    ".join(["published", *launch_parameters(members), "steps", "batch"])
    rows = f"first_row = tl.program_id(1) * {layout.rows}"
    launched = (
        f"@triton.jit\ndef {name}_kernel(\n    {parameters},\n):\n"
        f'    """Every CTA takes its part of one member through all steps."""\n'
        f"    cta = tl.program_id(0)\n    {rows}\n    cells = steps * batch\n{''.join(calls)}"
    )
    parts = [gates_helper(name, count) for count in sorted(splits) if count > 1]
    if layout.piece:
        parts.append(spread_streamed.arrived_helper(name, layout, BYTES[members.operand]))
    parts += [
        arrived_helper(name, members.operand, count, 3 if layout.split > 1 else 2) for count in sorted(loads)
    ]
    parts += [bits_helper(name, members.operand), *(text for _, text in texts.values()), launched]
    return "\n\n".join(parts), tuple(sorted(helpers))


def launch_parameters(members: Members) -> list[str]:
    """Parameters of the launched kernel between `published` and the sizes."""
    return [p for number, run in enumerate(members.runs) for p in run_parameters(members, run, number)]


def run_parameters(members: Members, run: Run, number: int) -> list[str]:
    """What one run is given: weights and results for all its members together, the rest for each."""
    member = members.all[run.first]
    loop = member.loop
    names = [f"{variable(p.name)}_weight_{number}" for p in loop.products]
    for index in range(run.first, run.first + run.count):
        names += [f"{base}_{index}" for base in given(member)]
    for stream in member.outside:
        names += [f"{variable(stream)}_{part}_{run.first}" for part in ("values", "t", "b", "w")]
    return [*names, *(f"{result}_{number}" for result in results(member))]


def given(member: Member) -> list[str]:
    """What each member has of its own: where its states start, and its operands."""
    loop = member.loop
    return [f"{variable(s.name)}_start" for s in loop.states] + [
        f"{variable(o.name)}_values" for o in loop.operands
    ]


def results(member: Member) -> list[str]:
    return [f"{variable(r.source)}_{'steps' if r.every_step else 'last'}" for r in member.results]


def prefixes(members: Members, layout: Layout) -> list[int]:
    """Columns of the published buffer that lie before each member's."""
    before = [0]
    for member, ctas in zip(members.all, layout.ctas, strict=True):
        before.append(before[-1] + len(member.published) * ctas * layout.units)
    return before


def inner_of(layout: Layout, member: Member, number: int, product: Product) -> int:
    """Columns of the value that a product of member `number` reads, with the padding of whole CTAs."""
    follows = member.follows.get(product.left)
    return layout.ctas[number if follows is None else follows.member] * layout.units


def tile_columns(layout: Layout, member: Member, product: Product) -> int:
    """Columns of a product's result in one CTA: its units, for each gate of a power of two of gates."""
    return padded_gates(product.width // member.hidden) * layout.units


def _branch(
    members: Members, layout: Layout, run: Run, number: int, function: str, start: int, end: int
) -> str:
    """The part of the launched kernel that calls the function of one run."""
    member = members.all[run.first]
    ctas = layout.ctas[run.first]
    before = prefixes(members, layout)
    stride = len(member.published) * ctas * layout.units
    lines: list[str] = []
    index = "" if run.count == 1 else f" + member * {stride}"
    if run.count > 1:
        behind = f"(cta - {start})" if start else "cta"
        lines += [f"member = {behind} // {ctas}"]
        for base in given(member):
            lines.append(f"{base} = {base}_{run.first}")
            for offset in range(1, run.count):
                lines += [f"if member == {offset}:", f"    {base} = {base}_{run.first + offset}"]
    place = f"cta - {start}" if start else "cta"
    arguments = [f"({place}) % {ctas}" if run.count > 1 else place, "first_row", "steps", "batch"]
    width = ctas * layout.units
    for position in range(len(member.published)):
        arguments.append(f"published + cells * ({before[run.first] + position * width}{index})")
    for follows in member.follows.values():
        lower = members.all[follows.member]
        width = layout.ctas[follows.member] * layout.units
        assert follows.published < len(lower.published)
        arguments.append(f"published + cells * ({before[follows.member] + follows.published * width}{index})")
    for product in member.loop.products:
        size = ctas * inner_of(layout, member, run.first, product) * tile_columns(layout, member, product)
        arguments.append(
            f"{variable(product.name)}_weight_{number}" + (f" + member * {size}" if run.count > 1 else "")
        )
    arguments += given(member) if run.count > 1 else [f"{base}_{run.first}" for base in given(member)]
    for stream in member.outside:
        arguments += [f"{variable(stream)}_{part}_{run.first}" for part in ("values", "t", "b", "w")]
    for base, result in zip(results(member), member.results, strict=True):
        values = f"cells * {member.hidden}" if result.every_step else f"batch * {member.hidden}"
        arguments.append(f"{base}_{number}" + (f" + member * ({values})" if run.count > 1 else ""))
    listed = ",\n        ".join(arguments)
    call = f"{function}(\n        {listed},\n    )"
    last = run is members.runs[-1]
    if len(members.runs) == 1:
        return indent("\n".join([*lines, call.replace("\n    ", "\n")]) + "\n", "    ").replace(
            "\n        ", "\n        "
        )
    condition = "else:" if last else f"{'if' if number == 0 else 'elif'} cta < {end}:"
    return f"    {condition}\n" + indent("\n".join([*lines, call]) + "\n", "        ").replace(
        "\n            )", "\n        )"
    )


@dataclass
class Function:
    """Writes the function that takes one CTA's part of a member through all steps."""

    members: Members
    run: Run
    layout: Layout
    name: str
    function: str
    loads: set[int] = field(default_factory=set)
    columns: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.member: Member = self.members.all[self.run.first]
        self.loop = self.member.loop
        self.hidden = self.member.hidden
        self.step = Step(self.hidden, self.name)
        self.width = self.layout.ctas[self.run.first] * self.layout.units
        self.split = self.layout.split
        self.following = dict(self.loop.following)
        self.streams = {stream.name: stream for stream in self.loop.streams}

    def text(self) -> str:
        before = self._before()
        inside = self._inside()
        after = [
            f"tl.store({base} + row * {self.hidden} + unit, {self._final(r.source)}, mask=mine)"
            for base, r in zip(results(self.member), self.member.results, strict=True)
            if not r.every_step
        ]
        lines = [
            *self._places(),
            *before,
            "for step in range(steps):",
            *(f"    {line}" for line in inside),
            *after,
        ]
        parameters = [
            "cta, first_row, steps, batch",
            *(f"own_{p}" for p in range(len(self.member.published))),
            *(f"{variable(s)}_below" for s in self.member.follows),
            *(f"{variable(p.name)}_weight" for p in self.loop.products),
            *given(self.member),
            *(
                ", ".join(f"{variable(s)}_{p}" for p in ("values", "t", "b", "w"))
                for s in self.member.outside
            ),
            *results(self.member),
        ]
        head = f"@triton.jit\ndef {self.function}(\n    " + ",\n    ".join(parameters) + ",\n):\n"
        doc = (
            f'    """{self.layout.units} of {self.hidden} hidden units, {self.layout.rows} rows of the batch,'
            f' all steps{", last to first" if self.loop.reverse else ""}."""\n'
        )
        return head + doc + indent("\n".join(lines) + "\n", "    ")

    def _places(self) -> list[str]:
        """Rows, units and columns that this CTA holds."""
        units = self.layout.units
        whole = self.width == self.hidden
        lines = [
            f"row = first_row + tl.arange(0, {self.layout.rows})[:, None]",
            f"unit = cta * {units} + tl.arange(0, {units})[None, :]",
            "live = row < batch",
            "mine = live" if whole else f"mine = live & (unit < {self.hidden})",
        ]
        for gates in sorted(self.columns):
            lines += [
                f"column = tl.arange(0, {gates * units})[None, :]  # of a tile of {gates} gates",
                f"gate_{gates} = column // {2 * units} * 2 + column % 2",
                f"unit_{gates} = cta * {units} + column % {2 * units} // 2",
            ]
        return lines

    def _before(self) -> list[str]:
        """Everything that is read once, and the products of the first step."""
        lines: list[str] = []
        for operand in self.loop.operands:
            lines += self._operand(operand)
        for state in self.loop.states:
            name = variable(state.name)
            if self._kept(state.name):
                lines.append(
                    f"{name} = tl.load({name}_start + row * {self.hidden} + unit, mask=mine, other=0.0)"
                )
            self.step.bind(state.name, Shown((name,), None, 1, True, True))
        for product in self.loop.products:
            lines += self._weights(product)
        for stream in self.member.outside:
            lines += self._stream(self.streams[stream])
        first = "steps - 1" if self.loop.reverse else "0"
        for product in self._in_order():
            lines += self._first_product(product, first)
        for result in self.member.results:
            if not result.every_step and result.source not in self.following:
                lines.append(
                    f"{variable(result.source)}_at_last = tl.zeros([{self.layout.rows}, {self.layout.units}],"
                    " tl.float32)"
                )
        return lines

    def _inside(self) -> list[str]:
        """One step, and the products of the next one."""
        time = "time" if self.loop.reverse else "step"
        lines = ["time = steps - 1 - step"] if self.loop.reverse else []
        following = "tl.maximum(time - 1, 0)" if self.loop.reverse else "tl.minimum(step + 1, steps - 1)"
        lines.append(f"next_time = {following}")
        self.step.lines = []
        for stream in self.member.outside:
            lines.append(f"{variable(stream)}_next = {self._load_stream(self.streams[stream], 'next_time')}")
        for node in self.loop.nodes:
            self.step.node(node)
        for position, name in enumerate(self.member.published):
            value = self.step.whole(name)
            if self.width != self.hidden:
                value = f"tl.where(unit < {self.hidden}, {value}, 0.0)"
            where = f"own_{position} + ({time} * batch + row) * {self.width} + unit"
            self.step.lines.append(f"tl.store({where}, {self.name}_bits({value}), mask=live)")
        for base, result in zip(results(self.member), self.member.results, strict=True):
            source = self.following.get(result.source, result.source)
            if result.every_step:
                where = f"{base} + ({time} * batch + row) * {self.hidden} + unit"
                self.step.lines.append(f"tl.store({where}, {self.step.whole(source)}, mask=mine)")
            elif result.source not in self.following:
                self.step.lines.append(f"{variable(result.source)}_at_last = {self.step.whole(source)}")
        lines += self.step.lines
        kept = [(variable(a), self.step.whole(b)) for a, b in self.loop.following if self._kept(a)]
        if kept:
            lines.append(f"{', '.join(a for a, _ in kept)} = {', '.join(b for _, b in kept)}")
        for stream in self.member.outside:
            lines.append(f"{variable(stream)} = {variable(stream)}_next")
        for product in self._in_order():
            lines += self._next_product(product, time)
        return lines

    def _in_order(self) -> list[Product]:
        """Products of the layer below first: their operand is there already, as a rule."""
        return sorted(self.loop.products, key=lambda product: product.left in self.following)

    def _kept(self, state: str) -> bool:
        """Whether a CTA needs its units of a state in registers."""
        read = any(Name(state) in node.args for node in self.loop.nodes)
        passed_on = state in self.following.values()
        return read or passed_on or any(r.source == state and not r.every_step for r in self.member.results)

    def _final(self, source: str) -> str:
        return variable(source) if source in self.following else f"{variable(source)}_at_last"

    def _operand(self, operand: Operand) -> list[str]:
        name = variable(operand.name)
        width = operand.shape[-1] if operand.shape else 1
        count = self.step.gates_of(width, "an operand") if operand.shape else 0
        rows = len(operand.shape) == 2 and operand.shape[0] > 1
        boolean = self._boolean(operand.value)
        if not operand.shape:
            self.step.bind(operand.name, Shown((name,), None, 0, False, False))
            return [f"{name} = tl.load({name}_values){boolean}"]
        at, mask = self._at(count)
        pointer = f"{name}_values" + (f" + row * {width}" if rows else "") + (f" + {at}" if count else "")
        if not rows and not count:
            self.step.bind(operand.name, Shown((name,), None, 0, False, False))
            return [f"{name} = tl.load({pointer}){boolean}"]
        masks = [m for m in ("live" if rows else "", mask) if m]
        masked = f", mask={' & '.join(masks)}, other=0" if masks else ""
        self._bind_held(operand.name, count, rows)
        return [f"{name} = tl.load({pointer}{masked}){boolean}"]

    def _bind_held(self, name: str, count: int, rows: bool) -> None:
        text = variable(name)
        shown = (
            Shown((), text, count, rows, True)
            if count > 1
            else Shown((text,), None, count, rows, bool(count))
        )
        self.step.bind(name, shown)

    def _at(self, count: int) -> tuple[str, str]:
        """The column of a value of `count` gates that each column here stands for, and which exist."""
        if count == 0:
            return "0", ""
        padded_units = self.width != self.hidden
        if count == 1:
            return "unit", f"(unit < {self.hidden})" if padded_units else ""
        gates = padded_gates(count)
        self.columns.add(gates)
        masks = [f"(gate_{gates} < {count})"] if gates != count else []
        masks += [f"(unit_{gates} < {self.hidden})"] if padded_units else []
        return f"(gate_{gates} * {self.hidden} + unit_{gates})", " & ".join(masks)

    def _boolean(self, value: str) -> str:
        known = self.members.types.get(value)
        return " != 0" if known is not None and known.dtype == "bool" else ""

    def _stream(self, stream: Stream) -> list[str]:
        name = variable(stream.name)
        count = self.step.gates_of(stream.width, "a stream")
        at, _ = self._at(count)
        column = f" + {at} * {name}_w" if count else ""
        self._bind_held(stream.name, count, True)
        first = "steps - 1" if self.loop.reverse else "0"
        return [
            f"{name}_at = {name}_values + row * {name}_b{column}",
            f"{name} = {self._load_stream(stream, first)}",
        ]

    def _load_stream(self, stream: Stream, time: str) -> str:
        name = variable(stream.name)
        _, mask = self._at(self.step.gates_of(stream.width, "a stream"))
        masks = " & ".join(["live", *([mask] if mask else [])])
        start = f"({time}) * {name}_t" if " " in time else f"{time} * {name}_t"
        return f"tl.load({name}_at + {start}, mask={masks}, other=0){self._boolean(stream.value)}"

    def _inner(self, product: Product) -> int:
        return inner_of(self.layout, self.member, self.run.first, product)

    def _weights(self, product: Product) -> list[str]:
        name = variable(product.name)
        columns = tile_columns(self.layout, self.member, product)
        inner = self._inner(product)
        across = "[None, None, :]" if self.split > 1 else "[None, :]"
        lines = [f"{name}_from = {name}_weight + cta * {inner * columns} + tl.arange(0, {columns}){across}"]
        if self.layout.piece:
            return lines
        for part, (first, count) in enumerate(self._chunks(product)):
            rows = self._along(first, count, "[None, :, None]" if self.split > 1 else "[:, None]")
            mask = f", mask={rows} < {inner}, other=0" if first + count > inner else ""
            lines.append(f"{name}_stationary_{part} = tl.load({name}_from + ({rows}) * {columns}{mask})")
        return lines

    def _chunks(self, product: Product) -> tuple[tuple[int, int], ...]:
        return chunks(self._inner(product), self.split)

    def _along(self, first: int, count: int, axis: str) -> str:
        """Columns first … first + count of a state, shared among warps where they are split."""
        text = f"tl.arange(0, {count // self.split}){axis}"
        if self.split > 1:
            text = f"tl.arange(0, {self.split})[:, None, None] * {count // self.split} + {text}"
        return f"{first} + {text}" if first else text

    def _each(self, name: str) -> str:
        """A [rows, 1] value as the rows of a tile of the left operand."""
        return f"{name}[None, :, :]" if self.split > 1 else name

    def _first_product(self, product: Product, time: str) -> list[str]:
        if product.left not in self.following:
            return self._product(product, self._arrive(product, time))
        name = variable(product.left)
        if self.layout.piece:
            return self._streamed(product, f"{name}_start + row * {self.hidden}", self.hidden)
        lines: list[str] = []
        live, row = self._each("live"), self._each("row")
        for part, (first, count) in enumerate(self._chunks(product)):
            columns = self._columns(first, count)
            mask = live if first + count <= self.hidden else f"{live} & ({columns} < {self.hidden})"
            start = f"tl.load({name}_start + {row} * {self.hidden} + {columns}, mask={mask}, other=0.0)"
            lines.append(f"{name}_row_{part} = {start}.to({TRITON[self.members.operand]})")
        return self._product(product, lines)

    def _next_product(self, product: Product, time: str) -> list[str]:
        own = product.left in self.following
        return self._product(product, self._arrive(product, time if own else "next_time"))

    def _arrive(self, product: Product, time: str) -> list[str]:
        """Lines that wait for the rows of a published value."""
        own = product.left in self.following
        name = variable(product.left)
        region = f"own_{self.member.own[product.left]}" if own else f"{name}_below"
        inner = self._inner(product)
        if self.layout.piece:
            lines = [
                f"{name}_at = {region} + (({time}) * batch + row) * {inner}",
                f"{self.name}_all_arrived({name}_at, live, {inner})",
            ]
            at = f"{name}_at.to(tl.pointer_type({TRITON[self.members.operand]}))"
            return [*lines, *self._streamed(product, at, inner)]
        lines = [f"{name}_at = {region} + (({time}) * batch + {self._each('row')}) * {inner}"]
        parts = enumerate(self._chunks(product))
        for (_, beyond), group in groupby(parts, key=lambda part: (part[1][1], sum(part[1]) > inner)):
            same = list(group)
            self.loads.add(len(same))
            targets = ", ".join(f"{name}_row_{i}" for i, _ in same)
            pointers = ", ".join(f"{name}_at + {self._columns(*chunk)}" for _, chunk in same)
            live = self._each("live") + (f" & ({self._columns(*same[0][1])} < {inner})" if beyond else "")
            lines.append(f"{targets} = {self.name}_arrived_{len(same)}({pointers}, {live})")
        return lines

    def _columns(self, first: int, count: int) -> str:
        """Columns of the left operand that one load brings."""
        return self._along(first, count, "[None, None, :]" if self.split > 1 else "[None, :]")

    def _streamed(self, product: Product, source: str, inner: int) -> list[str]:
        self._bind_held(product.name, max(1, self.step.gates_of(product.width, "a product")), True)
        return spread_streamed.product_lines(
            variable(product.name),
            variable(product.left),
            source,
            inner,
            tile_columns(self.layout, self.member, product),
            self.members.operand,
            self.layout,
            self._dot_option,
        )

    @property
    def _dot_option(self) -> str:
        precision = self.members.input_precision
        return f', input_precision="{precision}"' if precision else ""

    def _product(self, product: Product, lines: list[str]) -> list[str]:
        if self.layout.piece:
            return lines
        count = self.step.gates_of(product.width, "a product")
        name = variable(product.name)
        left = variable(product.left)
        option = self._dot_option
        total = f"{name}_parts" if self.split > 1 else name
        for part in range(len(self._chunks(product))):
            onto = f", {total}" if part else ""
            lines.append(f"{total} = tl.dot({left}_row_{part}, {name}_stationary_{part}{onto}{option})")
        if self.split > 1:
            lines.append(f"{name} = tl.sum({total}, axis=0)  # of the parts that the warps computed")
        self._bind_held(product.name, max(1, count), True)
        return lines
