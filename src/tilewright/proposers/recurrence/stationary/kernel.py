"""The text of one member's kernel: see `stationary.emit` for how values are held."""

from __future__ import annotations

from tilewright.proposers.recurrence import ir
from tilewright.proposers.recurrence.ops import OPS
from tilewright.proposers.recurrence.stationary.around import Around
from tilewright.proposers.recurrence.stationary.board import BoardWriter
from tilewright.proposers.recurrence.stationary.plan import TILE, Block, Plan
from tilewright.proposers.recurrence.stationary.writer import plain

FAR = 16  # steps from which a stream is brought to L2


class Kernel(BoardWriter):
    """Writes one kernel.

    Args:
        tiled: streams that lie in tiles, as `emitted.Emitted` has it.
        far: whether L2 would not hold the streams until the loop comes to them: each step has a later one's
            brought there.

    Attributes:
        packed: (wrapper argument, block) of each weight.
    """

    def __init__(
        self,
        member: ir.Recurrence,
        blocks: tuple[Block, ...],
        plan: Plan,
        name: str,
        around: Around | None = None,
        *,
        tiled: frozenset[str] = frozenset(),
        far: bool = False,
    ) -> None:
        super().__init__(member, plan, name)
        self.blocks = blocks
        self.around = around
        self.tiled = tiled
        self._far = far and self._prefetches
        self._lines_of_streams: list[tuple[str, str]] = []
        self._columns: dict[str, int] = {}
        self.programs = -(-member.batch // TILE)
        self.packed: list[tuple[str, Block]] = []
        self._text: dict[str, str] = {}  # of a value: a variable, or a constant
        self._width = {item.name: item.width for item in (*member.states, *member.streams, *member.body)}
        self._width |= {o.name: o.shape[-1] for o in member.operands if o.shape}
        self._weights: dict[tuple[object, ...], str] = {}  # of a block: the variables that hold its weight
        self._given: set[tuple[str, str]] = set()
        self._reduced: set[str] = set()
        self._held: dict[str, int] = {}
        self._multiplied = {product.name for product in member.products}
        self._multiplied |= {n.name for n in member.nodes if n.op == "slice" and _names(n) & self._multiplied}
        self._summed: dict[str, str] = {}  # nodes that a product accumulates onto their other argument
        self._waiting: list[tuple[ir.Result, str]] = []
        self._streams: list[tuple[str, str, str, bool]] = []

    def source(self) -> str:
        """The kernel, decorated."""
        self._axes()
        if self.around:
            self.parameters += self._shared_parameters()
        elif self.steps_given:
            count = f"{plain(self.member.streams[0].value)}.shape[0]"
            self._parameter("steps", count, constant=True)  # one more register held would spill
        if self.member.batch % TILE:
            self._add(f"read = {self._tl}.minimum(column, {self.member.batch - 1})")
        self._values_before()
        if not self.around:
            self._streams_before()
        for block in self.blocks:
            if block.weight not in self._weights:
                self._weights[block.weight] = self._weight(len(self._weights), block)
        if self.around:  # the weights come while the first tiles of the stream are computed
            self._streams_before()
        self._known_before = frozenset(self._text)
        self._loop()
        self._last_step()
        head = f"@{self._decorator}\ndef {self.name}({', '.join(self.parameters)}):\n"
        doc = f'    """All steps of {TILE} rows of batch a program; the weights stay in registers."""\n'
        return head + doc + "\n".join(self._lines) + "\n"

    def _loop(self) -> None:
        if self.around:
            first, end = self._epochs()
            self._add(f"for step in range({first}, {end}):")
        else:
            self._add(f"for step in range({'steps' if self.steps_given else self.member.steps}):")
        self._depth += 1
        self._step("tl.cast(step, tl.int64)")
        self._depth = 1

    @property
    def steps_given(self) -> bool:
        """Whether the kernel is handed the number of steps, which a stream says."""
        return bool(self.around) or (self._takes_any_steps and bool(self.member.streams))

    @property
    def _last(self) -> str:
        """The number of the last step, as an expression."""
        return "(steps - 1)" if self.steps_given else str(self.member.steps - 1)

    def _step(self, number: str) -> None:
        """One step; `number` counts from 0, as int64."""
        last = self._last
        self._given.clear()
        if self.member.reverse:
            self._add(f"now = {last} - {number}")
            self._add(f"ahead = {self._tl}.maximum(now - 1, 0)")
        else:
            self._add(f"now = {number}")
            self._add(f"ahead = {self._tl}.minimum(now + 1, {last})")
        for variable, at, stride, paired in self._streams:
            place = f"{at} + ahead * {self._bytes(stride)}"
            loaded = self._loaded(place, variable, paired=paired)
            self._add(f"{variable}_ahead = {loaded}")
        if self._lines_of_streams:
            far = f"maximum(now - {FAR}, 0)" if self.member.reverse else f"minimum(now + {FAR}, {last})"
            self._add(f"far = {self._tl}.{far}")
            for line, stride in self._lines_of_streams:
                self._add(self._use("prefetch", f"{line} + far * {self._bytes(stride)}"))
        self._waiting = self._late()
        if self._waiting:
            before = f"minimum(now + 1, {last})" if self.member.reverse else "maximum(now - 1, 0)"
            self._add(f"before = {self._tl}.{before}")
        for item in self.member.body:
            if isinstance(item, ir.Product):
                self._product(item)
            else:
                self._node(item)
        self._every_step()
        for state, source in self.member.following:
            same = self.plan.rows(self._held_as(state)) == self.plan.rows(self._held_as(source))
            if source not in self._reduced and not same:
                raise ir.Declined(f"state {state} is one column for wider values", self.member.line)
        moves = [
            (self._text[state], self._in_every_row(source, self._held_as(state)))
            for state, source in self.member.following
        ]
        moves += [(variable, f"{variable}_ahead") for variable, *_ in self._streams]
        moves = [(to, source) for to, source in moves if to != source]
        if moves:
            self._add(", ".join(to for to, _ in moves) + " = " + ", ".join(source for _, source in moves))

    # Before the loop

    def _values_before(self) -> None:
        member = self.member
        for state in member.states:
            name = f"{plain(state.name)}_start"
            self._pointer(name, plain(state.initial), state.width, "b", "w")
            held_as = self._held_as(state.name)
            self._bring(state.name, self._address(name, state.width, 0, held_as, batch=True), held_as)
        for operand in member.operands:
            name = f"{plain(operand.name)}_given"
            if not operand.shape:
                self._parameter(name, plain(operand.value))
                self._text[operand.name] = plain(operand.name)
                self._add(f"{plain(operand.name)} = {self._tl}.load({name})")
                continue
            columns = operand.shape[-1]
            self._pointer(name, plain(operand.value), columns, *("b", "w")[-len(operand.shape) :])
            for key, first, width in self._pieces(operand.name, operand.shape[-1]):
                held_as = self._held_as(key)
                address = self._address(name, width, first, held_as, batch=len(operand.shape) == 2)
                self._bring(key, address, held_as)

    def _streams_before(self) -> None:
        member = self.member
        for stream in member.streams:
            name = f"{plain(stream.name)}_all"
            stride = f"{name}_t"
            paired = self.around is not None or stream.value in self.tiled
            if paired:
                stride = str(self.programs * stream.width * TILE)
            if self.around:
                name = "stream"
                self._awaited("0")
            elif paired:
                self._parameter(name, plain(stream.value))
            else:
                self._pointer(name, plain(stream.value), stream.width, "t", "b", "w")
            for key, first, width in self._pieces(stream.name, stream.width):
                at = f"{plain(key)}_at"
                held_as = self._held_as(key)
                address = (
                    self._of_tiles(name, stream, first, width, held_as, self._lane())
                    if paired
                    else self._address(name, width, first, held_as, batch=True)
                )
                self._add(f"{at} = {address}")
                first_read = f"{at} + {self._last} * {self._bytes(stride)}" if member.reverse else at
                self._bring(key, first_read, held_as, paired=paired)
                self._streams.append((self._text[key], at, stride, paired))
                if self._far and paired:
                    line = self._of_tiles(name, stream, first, width, held_as, "0")
                    self._add(f"{plain(key)}_line = {line}")
                    self._lines_of_streams.append((f"{plain(key)}_line", stride))
        self._place_of_result()

    def _bring(self, value: str, address: str, width: int, *, paired: bool = False) -> None:
        """Load a value in the accumulator's layout of a width."""
        self._text[value] = plain(value)
        self._add(f"{plain(value)} = {self._loaded(address, self._like(width), paired=paired)}")

    def _held_as(self, name: str) -> int:
        """The width of the layout a value is held in: a single column in every row of what reads it."""
        if self._width[name] > 1 or name in self._held:
            return self._held.get(name, self._width[name])
        self._held[name] = 1
        if name in self._multiplied:  # held as the product gives it
            return 1
        readers = [n for n in self.member.nodes if ir.Name(name) in n.args and n.op in OPS]
        after = [state for state, source in self.member.following if source == name]
        widths = {self._held_as(other) for other in (*(n.name for n in readers), *after)} - {1}
        if len({self.plan.rows(width) for width in widths}) > 1:
            raise ir.Declined(f"{name} is one column for values of several widths", self.member.line)
        self._held[name] = max(widths, default=1)
        return self._held[name]

    def _pieces(self, name: str, width: int) -> list[tuple[str, int, int]]:
        """(value, first column, width) of what is read of a stream or an operand."""
        readers = [n for n in self.member.nodes if ir.Name(name) in n.args]
        cuts = [n for n in readers if n.op == "slice"]
        found = [(n.name, int(n.args[1]), int(n.args[2])) for n in cuts]  # type: ignore[arg-type]
        products = any(product.left == name for product in self.member.products)
        if products or len(cuts) < len(readers) or not readers:
            found.append((name, 0, width))
        return found

    def _weight(self, number: int, block: Block) -> str:
        """Bring the rows of a weight that a block multiplies by; returns what its variables are called."""
        name, argument = self._packed(number, block)
        inner = self.plan.warps * self.plan.rows(block.product.inner)
        every = self._every_row(block.width)
        like = self._like(block.width, inner)
        at = f"{name}_at"
        self._add(f"{at} = {argument}.to(tl.int64) + 2 * ({every} * {inner} + ")
        self._lines[-1] += f"tl.arange(0, {inner})[None, None, :]).to(tl.int64)"
        helper = "load_half_like" if block.format.dtype == "float16" else "load_bfloat16_like"
        size = 2 * self.plan.warps * self.plan.rows(block.width) * inner
        for part in range(block.format.parts):
            place = f"{at} + {part * size}" if part else at
            self._add(f"{name}_{part} = {self._use(helper, place, like)}")
        return name

    def _packed(self, number: int, block: Block) -> tuple[str, str]:
        """What the variables of a block's weight are called, and the parameter that it comes in."""
        whole = block.width == block.product.width
        name = f"{plain(block.product.name)}_weight" + ("" if whole else f"_{block.first}_{block.width}")
        self.packed.append((f"{self.name}_weight{number}", block))
        return name, self._parameter(f"{name}_packed", f"{self.name}_weight{number}")

    # In the loop

    def _product(self, product: ir.Product) -> None:
        for block in (b for b in self.blocks if b.product == product):
            name = self._weights[block.weight]
            parts = self._shared(product, block)
            whole = block.width == product.width
            result = plain(product.name) + ("" if whole else f"_{block.first}_{block.width}")
            onto = None
            if (sum_of_both := self._sum(block)) is not None:
                node, addend = sum_of_both
                result, onto = plain(node.name), self._text[addend]
                self._summed[node.name] = result
            if block.format.parts > 1:
                onto = self._correction(result, name, parts, onto, block)
            self._multiply(result, f"{name}_0", parts[0], onto, block)
            if block.width == 1:  # every row of the weight is the same: so is every row of the result
                self._add(f"{result} = {self._one_row(result)}")
            self._text[f"{product.name}[{block.first}:{block.width}]"] = result
            if whole:
                self._text[product.name] = result
            if product.width == 1:
                self._reduced.add(product.name)

    def _correction(self, result: str, weight: str, parts: list[str], onto: str | None, block: Block) -> str:
        """What the product of the first parts is added to: `onto` and the products of all other parts.

        The rest of an infinity is no number, and neither is what it is multiplied into: nothing is added
        there, so that the product of the first parts stays the infinity that it is.
        """
        name, onto_it = f"{result}_correction", None
        for i, j in block.format.terms[:-1]:
            self._multiply(name, f"{weight}_{i}", parts[j], onto_it, block)
            onto_it = name
        self._add(f"{name} = {self._tl}.where({name} == {name}, {name}, 0.0)")
        if onto is None:
            return name
        self._add(f"{name} = {onto} + {name}")
        return name

    def _multiply(self, result: str, weight: str, value: str, onto: str | None, block: Block) -> None:
        self._add(f"{result} = tl.dot({weight}, {value}" + (f", acc={onto})" if onto else ")"))

    def _sum(self, block: Block) -> tuple[ir.Node, str] | None:
        """The one node that reads a block, where it adds a value known before the product, and that value."""
        product, cut = block.product, (block.first, block.width)
        names = {
            n.name for n in self.member.nodes if n.op == "slice" and n.args == (ir.Name(product.name), *cut)
        }
        if block.width == product.width:
            names.add(product.name)
        readers = [n for n in self.member.nodes if n.name not in names and names & _names(n)]
        leaving = {source for _, source in self.member.following} | {r.source for r in self.member.results}
        if block.width == 1 or len(readers) != 1 or readers[0].op != "add" or names & leaving:
            return None
        body = self.member.body
        known = self._known_before | {item.name for item in body[: body.index(product)]}
        for other in _names(readers[0]) - names:
            if other in known and self._width.get(other) == block.width and other not in self._reduced:
                return readers[0], other
        return None

    def _shared(self, product: ir.Product, block: Block) -> list[str]:
        """The left value as the right operand of the dots, one for each part."""
        dtype = block.format.dtype
        left, stem = self._in_every_row(product.left), f"{plain(product.left)}_{dtype}"
        names = [f"{stem}_{part}" for part in range(block.format.parts)]
        if (product.left, dtype) in self._given:
            return names
        self._given.add((product.left, dtype))
        if self.plan.rows(self._held_as(product.left)) != self.plan.rows(product.inner):
            raise ir.Declined(f"{product.left} is one column for wider values", self.member.line)
        if not self._full(product.inner):
            row = self._every_row(product.inner)
            self._add(f"{stem} = {self._tl}.where({row} < {product.inner}, {left}, 0.0)")
            left = stem
        for part, name in enumerate(names):
            self._add(f"{name} = {left}.to({self._tl}.{dtype})")
            if part + 1 < len(names):
                self._add(f"{stem}_rest{part} = {left} - {name}.to({self._tl}.float32)")
                left = f"{stem}_rest{part}"
        self._exchange(names, product.inner)
        for result, state in self._waiting:
            self._store(result, self._text[state], "before")
        self._waiting = []
        return names

    def _exchange(self, names: list[str], width: int) -> None:
        """Give every warp all rows of values: [warps, K, 8]."""
        warps, inner = self.plan.warps, self.plan.warps * self.plan.rows(width)
        for name in names:
            flat = f"tl.reshape({name}, ({inner}, {TILE}))[None, :, :]"
            self._add(f"{name} = tl.broadcast_to({flat}, ({warps}, {inner}, {TILE}))")

    def _node(self, node: ir.Node) -> None:
        name = plain(node.name)
        if node.name in self._summed:
            self._text[node.name] = self._summed[node.name]
            return
        if node.op == "slice":
            self._slice(node)
            return
        if node.op in ("row_mean", "row_var", "row_max"):
            self._reduction(node, name)
            return
        operation = OPS.get(node.op)
        if operation is None:
            raise ir.Declined(f"{node.op} has no meaning in a step", self.member.line)
        self._check_widths(node)
        arguments = [self._argument(argument) for argument in node.args]
        if operation.helped:
            kind = "approximate_" if self.plan.approximate else ""
            expression = self._use(f"{kind}{node.op}", *arguments)
        else:
            expression = operation.triton.format(*arguments).replace("tl.", f"{self._tl}.")
        self._text[node.name] = name
        self._add(f"{name} = {expression}")

    def _check_widths(self, node: ir.Node) -> None:
        """A reduction is held as one row and broadcasts; what is loaded with width 1 does not."""
        names = [argument.name for argument in node.args if isinstance(argument, ir.Name)]
        if names and all(name in self._reduced for name in names):
            self._reduced.add(node.name)
        held = self.plan.rows(self._held_as(node.name))
        for name in names:
            if name not in self._width or name in self._reduced:
                continue
            if self.plan.rows(self._held_as(name)) != held:
                raise ir.Declined(f"{name} has one column for all of {node.name}", self.member.line)

    def _argument(self, argument: object) -> str:
        if isinstance(argument, ir.Name):
            return self._text[argument.name]
        return repr(float(argument)) if isinstance(argument, int) else repr(argument)

    def _slice(self, node: ir.Node) -> None:
        source, first, width = node.args
        assert isinstance(source, ir.Name)
        if node.name in self._known_before:  # read so from memory
            return
        block = self._text.get(f"{source.name}[{first}:{width}]")
        if block is None and (first, width) == (0, self._width[source.name]):
            block = self._text[source.name]
        if width == 1:
            self._reduced.add(node.name)
            if block is None:
                row, value = self._every_row(self._held_as(source.name)), self._text[source.name]
                block = plain(node.name)
                picked = f"{self._tl}.where({row} == {first}, {value}, 0.0)"
                self._add(f"{block} = {self._over_columns('sum', picked)}")
        if block is None:
            raise ir.Declined(f"columns of {source.name} are moved to other columns", self.member.line)
        self._text[node.name] = block

    def _reduction(self, node: ir.Node, name: str) -> None:
        source = node.args[0]
        assert isinstance(source, ir.Name)
        self._reduced.add(node.name)
        width, value = self._width[source.name], self._text[source.name]

        def over_columns(kind: str, text: str, beyond: str) -> str:
            if not self._full(width):
                text = f"{self._tl}.where({self._every_row(width)} < {width}, {text}, {beyond})"
            return self._over_columns(kind, text)

        def mean(text: str) -> str:
            return f"{over_columns('sum', text, '0.0')} / {width}"

        whole = over_columns("max", value, 'float("-inf")') if node.op == "row_max" else mean(value)
        self._add(f"{name} = {whole}")
        if node.op == "row_var":
            self._add(f"{name}_off = {value} - {name}")
            self._add(f"{name} = {mean(f'{name}_off * {name}_off')}")
        self._text[node.name] = name

    def _in_every_row(self, name: str, width: int = 1) -> str:
        """A value as all rows of a width hold it, where it is held as one row."""
        text = self._text[name]
        if name not in self._reduced:
            return text
        return f"{self._tl}.where({self._every_row(width)} >= 0, {text}, {text})"

    # What leaves the loop

    def _late(self) -> list[tuple[ir.Result, str]]:
        """Results of every step that are stored one step late, with the state that holds them then."""
        if not self._stores_late or not self.blocks:
            return []
        leaving = self._leaving()
        states = {source: state for state, source in self.member.following}
        states |= {state.name: state.name for state in self.member.states}
        return [(r, states[r.source]) for r in leaving if r.every_step and r.source in states]

    def _leaving(self) -> list[ir.Result]:
        """Results that are stored: all but those which only a product of the same launch reads."""
        if self.around is None:
            return list(self.member.results)
        wanted = self.around.returned | {self.around.result}
        return [result for result in self.member.results if result.name in wanted]

    def _every_step(self) -> None:
        following = dict(self.member.following)
        states = {state.name for state in self.member.states}
        late = [result for result, _ in self._late()]
        for result in self._leaving():
            is_state = result.source in states
            if result not in late and (result.every_step or not is_state):
                source = following[result.source] if is_state else result.source
                self._store(result, self._in_every_row(source))

    def _last_step(self) -> None:
        for result, state in self._late():
            self._store(result, self._text[state], "0" if self.member.reverse else self._last)
        states = {state.name for state in self.member.states}
        for result in self._leaving():
            if not result.every_step and result.source in states:
                self._store(result, self._text[result.source])

    def _store(self, result: ir.Result, value: str, when: str = "now") -> None:
        if self.around and result.name == self.around.result:
            place = {"now": "(now + 1)", "before": "now"}.get(when, "steps")
            self._add(self._published(place, value))
            if result.name not in self.around.returned:
                return
        width, batch = self._width[result.source], self.member.batch
        name = f"{plain(result.name)}_out"
        self._parameter(name, plain(result.name))
        row = self._every_row(self._held_as(result.source))
        offset = f"column * {width} + {row}"
        if result.every_step:
            offset += f" + {when} * {batch * width}"
        conditions = [] if self._full(width) else [f"({row} < {width})"]
        conditions += [] if batch % TILE == 0 else [f"(column < {batch})"]
        self._add(self._stored(name, offset, value, " & ".join(conditions)))


def _names(node: ir.Node) -> set[str]:
    return {argument.name for argument in node.args if isinstance(argument, ir.Name)}
