"""The function that takes one CTA's part of a member through all steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from textwrap import indent

from tilewright.proposers.recurrence.ir import Name, Operand, Product, Stream
from tilewright.proposers.recurrence.spread import streamed as spread_streamed
from tilewright.proposers.recurrence.spread.body import Shown, Step, padded_gates, variable
from tilewright.proposers.recurrence.spread.helpers import TRITON
from tilewright.proposers.recurrence.spread.members import Member, Members, Run
from tilewright.proposers.recurrence.spread.plan import BYTES, Layout, chunks
from tilewright.proposers.recurrence.spread.reading import Reading

FAR = 8  # steps from which a stream is brought to L2: from there its loads do not hold up what others publish
NEXT = "tl.minimum(1, steps - 1)"  # the time after the first


def given(member: Member) -> list[str]:
    """What each member has of its own: where its states start, and its operands."""
    loop = member.loop
    return [f"{variable(s.name)}_start" for s in loop.states] + [
        f"{variable(o.name)}_values" for o in loop.operands
    ]


def flags_of(member: Member) -> list[str]:
    """Flags of the CTAs that a member waits for: its own, and those of the members it follows."""
    return ["own_flags", *(f"{variable(s)}_flags" for s in member.follows)]


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


@dataclass
class Function:
    """Writes the function that takes one CTA's part of a member through all steps.

    A step publishes what others wait for as soon as it is known, then does what is not urgent, asks for what
    the step after the next one needs, and waits for its own rows last. Loads between that wait and the
    product kept the product waiting, by up to a fifth of a step.
    """

    members: Members
    run: Run
    layout: Layout
    name: str
    function: str
    reading: Reading
    columns: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.member: Member = self.members.all[self.run.first]
        self.loop = self.member.loop
        self.hidden = self.member.hidden
        ahead = frozenset(self.member.outside if self.layout.piece else ())
        activation = "approximate_" if self.members.approximate else ""
        self.step = Step(self.hidden, self.name, activation, ahead=ahead)
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
            *self.step.early,
            "for step in range(steps):",
            *(f"    {line}" for line in inside),
            *after,
        ]
        parameters = [
            "cta, first_row, steps, batch",
            *(f"own_{p}" for p in range(len(self.member.published))),
            *(f"{variable(s)}_below" for s in self.member.follows),
            *(flags_of(self.member) if self.layout.piece else []),
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
        if self.layout.piece:
            lines.append(f"lane = tl.arange(0, {self.layout.lanes})")
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
        first, second = ("steps - 1", "tl.maximum(steps - 2, 0)") if self.loop.reverse else ("0", NEXT)
        for product in self._in_order():
            lines += self._first_product(product, first, second)
        for stream in self.member.outside:
            lines += self._stream(self.streams[stream], first, second)
        lines += self._stores()
        for result in self.member.results:
            if not result.every_step and result.source not in self.following:
                lines.append(
                    f"{variable(result.source)}_at_last = tl.zeros([{self.layout.rows}, {self.layout.units}],"
                    " tl.float32)"
                )
        return lines

    def _stores(self) -> list[str]:
        """Where this CTA's units of each value that leaves a step are stored, at time 0."""
        lines = [
            f"own_{position}_to = {self._place(f'own_{position}', BYTES[self.members.operand], self.width)}"
            for position in range(len(self.member.published))
        ]
        return lines + [
            f"{base}_to = {self._place(base, 4, self.hidden)}"
            for base, result in zip(results(self.member), self.member.results, strict=True)
            if result.every_step
        ]

    @property
    def _held(self) -> bool:
        """Whether each value of a step is in one thread: sums over warps are in all of them."""
        return self.split == 1

    def _place(self, base: str, size: int, width: int) -> str:
        place = f"row * {width} + unit"
        return f"{base}.to(tl.int64) + {size} * ({place})" if self._held else f"{base} + ({place})"

    def _at_time(self, base: str, size: int, width: int, time: str) -> str:
        return f"{base}_to + tl.cast({time}, tl.int64) * (batch * {width * (size if self._held else 1)})"

    def _inside(self) -> list[str]:
        """One step, and the products of the next one."""
        time = "time" if self.loop.reverse else "step"
        lines = ["time = steps - 1 - step"] if self.loop.reverse else []
        later = "tl.maximum(time - 2, 0)" if self.loop.reverse else "tl.minimum(step + 2, steps - 1)"
        self.step.lines = []
        for node in self.loop.nodes:
            self.step.node(node)
        lines += [*self.step.lines, *self._published(time)]
        if self.layout.piece:
            lines += spread_streamed.published_lines(self.name)
        own = [product for product in self._in_order() if product.left in self.following]
        below = [product for product in self._in_order() if product.left not in self.following]
        lines += self._results(time)
        kept = [(variable(a), self._whole(b, lines)) for a, b in self.loop.following if self._kept(a)]
        if kept:
            lines.append(f"{', '.join(a for a, _ in kept)} = {', '.join(b for _, b in kept)}")
        following = [f"later = {later}"] if below or self.member.outside else []
        following += [line for stream in self.member.outside for line in self._next(stream)]
        lines += [*following, *self.step.early]
        for product in below:
            lines += self._product(product)
        for product in below:
            lines += self._look(product, "later")
        if own and not below and not self.layout.piece:
            lines.append(self.reading.pause())
        for product in own:
            lines += self._look(product, time)
        for product in own:
            lines += self._arrive(product)
        for product in own:
            lines += self._multiply(product)
        return lines

    def _next(self, stream: str) -> list[str]:
        """Lines that go on to a stream's values of the next step and load those of the one after it."""
        name = variable(stream)
        return [
            f"{name} = {name}_next",
            f"{name}_next = {self._load_stream(self.streams[stream], 'later')}",
            *self._prefetched(self.streams[stream]),
        ]

    def _whole(self, name: str, lines: list[str]) -> str:
        """A value of a step as one expression; what takes it apart is added to the lines."""
        self.step.lines = []
        value = self.step.whole(name)
        lines += self.step.lines
        return value

    def _published(self, time: str) -> list[str]:
        lines: list[str] = []
        for position, name in enumerate(self.member.published):
            value = self._whole(name, lines)
            if self.width != self.hidden:
                value = f"tl.where(unit < {self.hidden}, {value}, 0.0)"
            bits = f"{self.name}_bits({value})"
            at = self._at_time(f"own_{position}", BYTES[self.members.operand], self.width, time)
            if self._held:
                lines.append(f"{self.name}_publish({at}, {bits}, live.to(tl.int32))")
            else:
                lines.append(f"tl.store({at}, {bits}, mask=live)")
        return lines

    def _results(self, time: str) -> list[str]:
        lines: list[str] = []
        for base, result in zip(results(self.member), self.member.results, strict=True):
            if not result.every_step and result.source in self.following:
                continue
            value = self._whole(self.following.get(result.source, result.source), lines)
            if not result.every_step:
                lines.append(f"{variable(result.source)}_at_last = {value}")
                continue
            at = self._at_time(base, 4, self.hidden, time)
            if self._held:
                self.step.helpers.add("store_like_if")
                lines.append(f"store_like_if({at}, {value}, mine.to(tl.int32))")
            else:
                lines.append(f"tl.store({at}, {value}, mask=mine)")
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

    def _stream(self, stream: Stream, first: str, second: str) -> list[str]:
        name = variable(stream.name)
        count = self.step.gates_of(stream.width, "a stream")
        at, mask = self._at(count)
        self._bind_held(stream.name, count, True)
        if self._like(stream):
            self.step.helpers.add("load_like")
            at = f"tl.where({mask}, {at}, 0)" if mask else at
            place = f"tl.minimum(row, batch - 1) * {name}_b + {at} * {name}_w"
            lines = [f"{name}_at = {name}_values.to(tl.int64) + 4 * ({place}).to(tl.int64)"]
        else:
            column = f" + {at} * {name}_w" if count else ""
            lines = [f"{name}_at = row * {name}_b{column}"]  # half the registers that addresses would take
        return [
            *lines,
            f"{name} = {self._load_stream(stream, first)}",
            f"{name}_next = {self._load_stream(stream, second)}",
        ]

    def _prefetched(self, stream: Stream) -> list[str]:
        """Bring to L2 what a later step loads in the layout of a product."""
        if not self._like(stream):
            return []
        self.step.helpers.add("prefetch")
        far = f"tl.maximum(time - {FAR}, 0)" if self.loop.reverse else f"tl.minimum(step + {FAR}, steps - 1)"
        name = variable(stream.name)
        return [f"prefetch({name}_at + 4 * ({far} * {name}_t).to(tl.int64))"]

    def _like(self, stream: Stream) -> str:
        """A product of as many gates, in whose layout the stream can be loaded; empty where there is none."""
        known = self.members.types.get(stream.value)
        if known is None or known.dtype != "float32" or self.layout.piece or not self._held:
            return ""
        gates = self.step.gates_of(stream.width, "a stream")
        for product in self.loop.products:
            if gates and padded_gates(gates) == padded_gates(product.width // self.hidden):
                return variable(product.name)
        return ""

    def _load_stream(self, stream: Stream, time: str) -> str:
        name = variable(stream.name)
        start = f"({time}) * {name}_t" if " " in time else f"{time} * {name}_t"
        if like := self._like(stream):
            return f"load_like({name}_at + 4 * ({start}).to(tl.int64), {like})"
        _, mask = self._at(self.step.gates_of(stream.width, "a stream"))
        masks = " & ".join(["live", *([mask] if mask else [])])
        place = f"{name}_values + ({name}_at + {start})"
        return f"tl.load({place}, mask={masks}, other=0){self._boolean(stream.value)}"

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
        axis = "[None, :, None]" if self.split > 1 else "[:, None]"
        for part, (first, count) in enumerate(chunks(inner, self.split)):
            rows = self.reading.along(first, count, axis)
            mask = f", mask={rows} < {inner}, other=0" if first + count > inner else ""
            lines.append(
                f"{name}_stationary_{part} = {self.name}_kept("
                f"tl.load({name}_from + ({rows}) * {columns}{mask}))"
            )
        return lines

    def _first_product(self, product: Product, first: str, second: str) -> list[str]:
        name, inner = variable(product.left), self._inner(product)
        if product.left in self.following:
            if self.layout.piece:
                return self._streamed(product, f"{name}_start + row * {self.hidden}", self.hidden)
            started = self.reading.start(name, f"{name}_start", inner, self.hidden)
            return [
                *started,
                *self._dots(product),
                *self.reading.addresses(name, self._region(product), inner),
            ]
        before = [] if self.layout.piece else self.reading.addresses(name, self._region(product), inner)
        return [
            *before,
            *self._look(product, first),
            *self._product(product),
            *self._look(product, second),
        ]

    def _region(self, product: Product) -> str:
        """The variable that holds where a product's left operand is published."""
        name = variable(product.left)
        return f"own_{self.member.own[product.left]}" if product.left in self.following else f"{name}_below"

    def _look(self, product: Product, time: str) -> list[str]:
        name, inner = variable(product.left), self._inner(product)
        if self.layout.piece:
            step = f"steps - ({time})" if self.loop.reverse else f"({time}) + 1"
            at = f"{self._region(product)} + (({time}) * batch + row) * {inner}"
            return [f"{name}_at = {at}", f"{name}_step = {step}"]
        return self.reading.look(name, inner, time)

    def _arrive(self, product: Product) -> list[str]:
        name, inner = variable(product.left), self._inner(product)
        if self.layout.piece:
            own = product.left in self.following
            follows = None if own else self.member.follows[product.left]
            ctas = self.layout.ctas[self.run.first if follows is None else follows.member]
            flags = "own_flags" if own else f"{name}_flags"
            return spread_streamed.wait_lines(self.name, flags, ctas, f"{name}_step")
        return self.reading.arrive(name, inner)

    def _multiply(self, product: Product) -> list[str]:
        name, inner = variable(product.left), self._inner(product)
        if self.layout.piece:
            at = f"{name}_at.to(tl.pointer_type({TRITON[self.members.operand]}))"
            return self._streamed(product, at, inner)
        return [*self.reading.rows(name, inner), *self._dots(product)]

    def _product(self, product: Product) -> list[str]:
        return [*self._arrive(product), *self._multiply(product)]

    def _dots(self, product: Product) -> list[str]:
        self._bind_held(product.name, max(1, self.step.gates_of(product.width, "a product")), True)
        return self.reading.product(
            variable(product.name), variable(product.left), self._inner(product), self._dot_option
        )

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
