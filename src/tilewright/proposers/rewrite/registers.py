"""Rows that fit one tile, loaded once and kept in registers between passes.

A kernel that goes over a row several times (largest value, sum, result) loads it several times. Where the row
is one tile, every loop takes one turn, and what the first pass loaded is still there:

    if ONE_TILE:                             ONE_TILE=one_tile
        start = 0                            BLOCK=max(1024, triton.next_power_of_2(n)) if one_tile else 1024
        loaded = tl.load(x_ptr + start + tl.arange(0, BLOCK), mask=…, other=0.0)
        total += tl.sum(loaded)
    else:
        for start in range(0, n, BLOCK):  # as it was
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Sequence

from tilewright.kernelfile import Kernel
from tilewright.kernelfile.scopes import last_name
from tilewright.proposers.edit import ArgumentEdit, Edits
from tilewright.proposers.rewrite.base import Declined, Inapplicable, View
from tilewright.proposers.rewrite.body import Body, argument
from tilewright.proposers.rewrite.hosts import DESCRIBING, HostLaunch, host_launch
from tilewright.proposers.rewrite.meaning import bodies_of, meaning
from tilewright.proposers.rewrite.names import fresh
from tilewright.proposers.rewrite.products import recorded_values

MOST_ELEMENTS = 8192  # of a row: 64 registers of each of 128 threads
ONE_TILE = "one tile"
SHAPES = frozenset({"arange", "zeros", "full", "range"})


class RowsInRegisters:
    """A kernel whose loops all go over the same row in tiles of the same extent, and load some of it again.

    Safe because a loop of one turn is its body, and a second load of the same addresses, with nothing stored
    before it, is the first one's value. Which path is taken is decided at the launch. Lanes beyond the row
    appear only where the loops had some too: in a row that is no multiple of the tile. A longer row, and one
    that is a multiple but no power of two, take the loops as they were.
    """

    name = "reductions kept in registers between passes"
    stages = frozenset({"memory_access"})

    def choices(self, view: View, kernel: Kernel) -> Sequence[str]:
        """`ONE_TILE`, where a recorded launch would take that path."""
        passes = _Passes(view, kernel)
        for launch in view.launches(kernel):
            values = recorded_values(launch)
            size, block = values.get(passes.size, 0), values.get(passes.block, 0)
            if block and 0 < size <= MOST_ELEMENTS and (size & (size - 1) == 0 or size % block):
                return (ONE_TILE,)
        raise Declined(
            f"no recorded row fits one tile: at most {MOST_ELEMENTS} elements, and a power of two or no "
            f"multiple of {passes.block}"
        )

    def apply(self, view: View, kernel: Kernel, choice: str) -> str:
        """Write the path of one tile, and choose it at the launch."""
        passes = _Passes(view, kernel)
        edits = Edits()
        flag = fresh(passes.body.function, "ONE_TILE")
        default = passes.body.function.args.defaults
        edits.parameters[kernel.name] = [f"{flag}: tl.constexpr" + (" = False" if default else "")]
        passes.edit_loops(edits, flag, view.file.source)
        passes.edit_launch(edits, flag)
        return view.edited(edits)


class _Passes:
    """The loops over the row, and which loads repeat which.

    Raises:
        Declined: a kernel of another form.
    """

    def __init__(self, view: View, kernel: Kernel) -> None:
        self.view = view
        self.kernel = kernel
        self.body = Body(view.node(kernel), view.file.source)
        function = self.body.function
        self.loops = [s for s in function.body if isinstance(s, ast.For)]
        every = [n for n in ast.walk(function) if isinstance(n, ast.For | ast.While)]
        if len(self.loops) < 2 or len(every) != len(self.loops):
            raise Inapplicable("it does not go over a row in several loops, one after another")
        ranges = {self._range(loop) for loop in self.loops}
        if len(ranges) != 1:
            raise Declined("its loops go over different things")
        ((self.size, self.block),) = ranges
        tile = next((tile for tile in kernel.tiles if tile.name == self.block), None)
        if tile is None or tile.by_program or kernel.autotune is not None:
            raise Declined(f"{self.block} is more than a tile's extent")
        self._require_extent_alone()
        if why := meaning(kernel, tile, bodies_of(view.file, kernel)):
            raise Declined(why)
        for part in ast.walk(function):
            if isinstance(part, ast.Subscript) and any(_is_none(n) for n in ast.walk(part.slice)):
                raise Declined(f"line {part.lineno}: its tiles have two dimensions")
        self.names = {(n.lineno, n.col_offset): n for n in ast.walk(function) if isinstance(n, ast.Name)}
        self.first = self._repeated()
        self.launch: HostLaunch = host_launch(view, kernel)
        if self.block in self.launch.site.grid.meta:
            raise Declined(f"line {self.launch.site.line}: the grid reads {self.block}")
        self.size_text = self._given(self.size)
        self.block_text = self._given(self.block)

    def _range(self, loop: ast.For) -> tuple[str, str]:
        """The size and the block of `for start in range(0, size, BLOCK)`, both parameters."""
        match loop:
            case ast.For(
                target=ast.Name(),
                iter=ast.Call(
                    func=function, args=[ast.Constant(value=0), ast.Name(id=size), ast.Name(id=block)]
                ),
            ) if last_name(function) == "range" and {size, block} <= set(self.body.parameters):
                if not (self.body.bindings(size) or self.body.bindings(block)):
                    return size, block
            case _:
                pass
        raise Declined(f"line {loop.lineno}: the loop does not go over a row in tiles")

    def _require_extent_alone(self) -> None:
        """Decline a kernel that does more with the block than tiles of the row: it is to be any size."""
        for node in ast.walk(self.body.function):
            if not (isinstance(node, ast.Name) and node.id == self.block):
                continue
            above = self.body.parent(node)
            if above is not None and ast.unparse(above) == f"{self.size} % {self.block}":
                above = self.body.parent(above)
                if above is not None and ast.unparse(above) == f"{self.size} % {self.block} == 0":
                    continue  # whether the tiles fit, which holds for a row that is one tile as well
            while isinstance(above, ast.Tuple | ast.List):
                above = self.body.parent(above)
            if not isinstance(above, ast.Call) or last_name(above.func) not in SHAPES:
                raise Declined(f"line {node.lineno}: {self.block} is more than a tile's extent")
        for call in self.body.calls("load", "store"):
            pointer = argument(call, "pointer")
            names = ast.walk(self.body.followed(pointer)) if pointer is not None else ()
            outside = not set(self.body.loops(call)) & set(self.loops)
            if outside and any(isinstance(n, ast.Name) and n.id == self.block for n in names):
                raise Declined(f"line {call.lineno}: {self.block} elements are accessed outside of the loops")

    def _repeated(self) -> dict[ast.Call, ast.Call]:
        """Each load that can be spared, with the load of an earlier pass that it repeats."""
        if any(self.view.file.kernel(callee).writes for callee in self.kernel.calls):
            raise Declined("a function that it calls stores")
        stores = [
            (c.lineno, c.col_offset)
            for c in ast.walk(self.body.function)
            if isinstance(c, ast.Call) and (last_name(c.func) == "store" or "atomic" in last_name(c.func))
        ]
        seen: dict[tuple[str, str], ast.Call] = {}
        first: dict[ast.Call, ast.Call] = {}
        for load in self.body.calls("load"):
            if not set(self.body.loops(load)) & set(self.loops) or any(
                k.arg == "volatile" for k in load.keywords
            ):
                continue
            if any(store < (load.lineno, load.col_offset) for store in stores):
                continue
            if self.body.statement(load) not in [s for loop in self.loops for s in loop.body]:
                continue  # inside a branch
            key = (self._text(argument(load, "pointer")), self._text(argument(load, "mask")))
            if key in seen:
                first[load] = seen[key]
            else:
                seen[key] = load
        if not first:
            raise Declined("no pass loads again what one before it has loaded")
        return first

    def _text(self, node: ast.expr | None) -> str:
        """An expression of a pass, equal for two passes where it has equal values in a first turn."""
        if node is None:
            return ""
        followed = copy.deepcopy(self.body.followed(node))
        for name in (n for n in ast.walk(followed) if isinstance(n, ast.Name)):
            if self.body.loop(name) in self.loops:
                name.id = "0"
            elif where := re.fullmatch(r"(\w+)@(\d+):(\d+)", name.id):
                definition = self.body.definition(self.names[int(where[2]), int(where[3])])
                if definition is not None:
                    name.id = f"{where[1]} of line {definition.statement.lineno}"
        return ast.unparse(followed)

    def _given(self, parameter: str) -> str:
        """What the launch passes, as text that can be written twice."""
        node = self.launch.argument(parameter)
        if node is None:
            raise Declined(f"line {self.launch.site.line}: {parameter} is not passed in the call itself")
        for part in ast.walk(node):
            plain = isinstance(part, ast.Call) and last_name(part.func) in DESCRIBING | {
                "min",
                "next_power_of_2",
            }
            if isinstance(part, ast.Call | ast.Lambda | ast.Starred | ast.NamedExpr) and not plain:
                raise Declined(f"line {node.lineno}: {ast.unparse(node)} is computed in the call")
        return ast.unparse(node)

    def edit_loops(self, edits: Edits, flag: str, source: str) -> None:
        """Each loop behind a condition, with its body as the other way."""
        function = self.body.function
        held: dict[ast.Call, str] = {}
        for load in self.first.values():
            if load not in held:
                taken = ast.Module(
                    body=[function, *(ast.Expr(ast.Name(n)) for n in held.values())], type_ignores=[]
                )
                held[load] = fresh(taken, "loaded")
        for loop in self.loops:
            statements: list[str] = [f"{ast.unparse(loop.target)} = 0"]
            for statement in loop.body:
                for load, name in held.items():
                    if self.body.statement(load) is statement:
                        statements.append(f"{name} = {ast.unparse(load)}")
                statements.append(ast.unparse(self._spared(statement, held)))
            lines = "\n".join(statements).splitlines()
            indent = loop.col_offset
            as_it_was = source.splitlines()[loop.lineno - 1 : loop.end_lineno]
            edits.instead[loop.lineno] = [
                "\n".join([
                    f"if {flag}:",
                    *(f"    {line}" for line in lines),
                    "else:",
                    *(f"    {line[indent:] if not line[:indent].strip() else line}" for line in as_it_was),
                ])
            ]  # fmt: skip

    def _spared(self, statement: ast.stmt, held: dict[ast.Call, str]) -> ast.stmt:
        """A statement with values in the place of loads."""
        at = {(load.lineno, load.col_offset, load.end_col_offset): load for load in (*held, *self.first)}
        return _Spared(at, held, self.first).visit(copy.deepcopy(statement))  # type: ignore[no-any-return]

    def edit_launch(self, edits: Edits, flag: str) -> None:
        """The tile's extent and the flag, from the row's size."""
        size, block = self.size_text, self.block_text
        fits = fresh(self.launch.function, "one_tile")
        node = self.launch.argument(self.block)
        assert node is not None
        whole = f"triton.next_power_of_2({size})"
        edits.before[self.launch.statement.lineno] = [
            f"{fits} = 0 < {size} <= {MOST_ELEMENTS} and ({size} == {whole} or {size} % {block} != 0)"
        ]
        edits.expressions[self.launch.names.place(node)] = f"max({block}, {whole}) if {fits} else {block}"
        edits.calls[self.launch.site.place] = ArgumentEdit(set={flag: fits})


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


class _Spared(ast.NodeTransformer):
    """Puts names of values in the place of loads.

    Args:
        at: loads by their place.
        held: the names of the first loads.
        first: a repeated load to the first one.
    """

    def __init__(
        self,
        at: dict[tuple[int, int, int | None], ast.Call],
        held: dict[ast.Call, str],
        first: dict[ast.Call, ast.Call],
    ) -> None:
        self.at = at
        self.held = held
        self.first = first

    def visit_Call(self, node: ast.Call) -> ast.AST:
        load = self.at.get((node.lineno, node.col_offset, node.end_col_offset))
        if load is None or last_name(node.func) != "load":
            return self.generic_visit(node)
        before = self.first.get(load, load)
        value = ast.Name(self.held[before])
        mask, other = argument(load, "mask"), argument(load, "other")
        was = argument(before, "other")
        if (
            load is before
            or other is None
            or mask is None
            or (was and ast.unparse(was) == ast.unparse(other))
        ):
            return value
        where = ast.Attribute(ast.Name("tl"), "where")
        return ast.Call(where, [copy.deepcopy(mask), value, copy.deepcopy(other)], [])
