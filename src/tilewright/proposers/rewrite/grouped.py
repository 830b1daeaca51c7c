"""Programs of a matrix product in an order that reuses the L2 cache.

Programs start in the order of their ids, the first axis fastest. Along a line of a tile grid they share one
operand and read all of the other. Taken in groups of GROUP lines, those that run at the same time cover a
compact block of tiles, and find more of both operands in L2.

Two axes, in the kernel alone:

    program = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
    band = 8 * tl.num_programs(0)
    first = program // band * 8
    lines = tl.minimum(tl.num_programs(1) - first, 8)
    tile_1 = first + program % band % lines
    tile_0 = program % band // lines

One id that `//` and `%` take apart is renumbered before, whole groups only:

    in_group = pid % (8 * columns)
    first = pid - in_group
    pid = tl.where(
        first + 8 * columns <= tl.num_programs(0), first + (in_group % 8 * columns + in_group // 8), pid
    )
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from tilewright.kernelfile import Kernel
from tilewright.kernelfile.scopes import fold, last_name
from tilewright.proposers.edit import Edits
from tilewright.proposers.rewrite.base import Declined, Inapplicable, View
from tilewright.proposers.rewrite.body import Body
from tilewright.proposers.rewrite.hosts import require_launched_alone
from tilewright.proposers.rewrite.names import fresh

GROUPS = (8, 4, 16)
LEAST_EXTENT = 16  # of an operand of tl.dot
ORDERED = ("inline_asm_elementwise", "debug_barrier")  # beside atomics: ways in which programs may wait


class Grouped:
    """A kernel with a tl.dot whose program ids are used as tile indices and as nothing else.

    Safe at every grid size, because either form maps the ids onto themselves, one to one: the same programs
    run, in another order. Left alone where programs may notice the order (atomics, loops that wait) and where
    ids are divided already.
    """

    name = "program order grouped for L2 reuse"
    stages = frozenset({"grid_and_parallel"})

    def choices(self, view: View, kernel: Kernel) -> Sequence[str]:
        """Lines of tiles in a group: those of GROUPS that the recorded grids have more of."""
        ids = _Ids(view, kernel)
        launches = view.launches(kernel)
        programs = max(launch.programs for launch in launches)
        if programs <= view.gpu.sms:
            raise Declined(f"its {programs} programs run on {view.gpu.sms} SMs at the same time")
        if ids.split is None:
            lines = max(launch.grid[1] if launch.grid[0] > 1 else 1 for launch in launches)
        else:
            lines = max(launch.grid[0] for launch in launches) // 2  # how many columns there are is not known
        found = tuple(str(group) for group in GROUPS if lines > group)
        if not found:
            raise Declined("its tile grid has too few lines to group")
        return found

    def apply(self, view: View, kernel: Kernel, choice: str) -> str:
        """Number the programs anew."""
        ids = _Ids(view, kernel)
        edits = Edits()
        if ids.split is None:
            _two_axes(ids, int(choice), edits)
        else:
            _one_axis(ids, ids.split, int(choice), edits)
        return view.edited(edits)


class _Ids:
    """Where a kernel asks for its program ids, and what it does with them.

    `split` holds the divisions of the one id of a kernel that has but one axis of tiles; None for two axes.

    Raises:
        Declined: they are not tile indices alone, or the order of programs may matter.
    """

    def __init__(self, view: View, kernel: Kernel) -> None:
        if not kernel.dots:
            raise Inapplicable("it holds no tl.dot")
        require_launched_alone(view, kernel)
        self.body = Body(view.node(kernel), view.file.source)
        self.tiles = {tile.name for tile in kernel.tiles}
        for name in (kernel.name, *kernel.calls):
            node = view.node(view.file.kernel(name))
            for call in (n for n in ast.walk(node) if isinstance(n, ast.Call)):
                called = last_name(call.func)
                if called.startswith("atomic") or called in ORDERED:
                    raise Declined(f"line {call.lineno}: with {called} the order of programs may matter")
                if called in ("program_id", "num_programs") and name != kernel.name:
                    raise Declined(f"line {call.lineno}: {name} asks for a program's id itself")
            for loop in (n for n in ast.walk(node) if isinstance(n, ast.While)):
                raise Declined(f"line {loop.lineno}: a while loop may wait for another program")
        self.calls: dict[int, list[ast.Call]] = {}
        for call in self.body.calls("program_id", "num_programs"):
            axis = fold(call.args[0] if call.args else call.keywords[0].value)
            if axis is None or not isinstance(axis.value, int):
                raise Declined(f"line {call.lineno}: the axis is not a literal")
            if axis.value < 2 and last_name(call.func) == "num_programs":
                raise Declined(f"line {call.lineno}: it asks how many programs there are")
            self.calls.setdefault(axis.value, []).append(call)
        self.split = self._split()
        if self.split is None:
            for call in (*self.calls.get(0, ()), *self.calls.get(1, ())):
                self._require_tile(call)
            if not {0, 1} <= set(self.calls):
                raise Inapplicable("it has one axis of tiles")

    def _split(self) -> list[ast.BinOp] | None:
        """The divisions of the one id there is."""
        calls = self.calls.get(0, [])
        if len(calls) != 1 or 1 in self.calls:
            return None
        uses = list(self._uses(calls[0]))
        divisions = [u for u in uses if isinstance(u, ast.BinOp) and isinstance(u.op, ast.FloorDiv | ast.Mod)]
        if not divisions:
            return None
        line = calls[0].lineno
        if len(divisions) != len(uses):
            raise Declined(f"line {line}: the program's id is used for more than two tile indices")
        split = {(type(use.op), ast.unparse(use.right)) for use in divisions}
        names = {use.left.id if isinstance(use.left, ast.Name) else "" for use in divisions}
        if len(split) != 2 or len({by for _, by in split}) != 1 or len(names) != 1 or "" in names:
            raise Declined(f"line {line}: the program's id is not taken apart by // and % of one count")
        for use in divisions:
            self._require_tile(use)
        return divisions

    def _require_tile(self, node: ast.expr) -> None:
        """Decline unless a value only ever places a tile: it is multiplied by a tile's extent."""
        for use in self._uses(node):
            match use:
                case ast.BinOp(left=left, op=ast.Mult(), right=right) if self._extent(left) or self._extent(
                    right
                ):
                    pass
                case _:
                    line = getattr(use, "lineno", node.lineno)
                    raise Declined(f"line {line}: {ast.unparse(node)} is more than the index of a tile")

    def _extent(self, node: ast.expr) -> bool:
        extent = fold(node)
        if extent is not None:
            return isinstance(extent.value, int) and extent.value >= LEAST_EXTENT
        return isinstance(node, ast.Name) and node.id in self.tiles

    def _uses(self, node: ast.expr) -> Iterator[ast.AST]:
        """What a value is used in, through `.to(…)` and a name that is bound once."""
        match self.body.parent(node):
            case ast.Attribute(attr="to") as attribute:
                call = self.body.parent(attribute)
                if isinstance(call, ast.Call):
                    yield from self._uses(call)
            case ast.Assign(targets=[ast.Name(id=name)]) if len(self.body.bindings(name)) == 1:
                for read in ast.walk(self.body.function):
                    if isinstance(read, ast.Name) and read.id == name and isinstance(read.ctx, ast.Load):
                        yield from self._uses(read)
            case ast.AST() as parent:
                yield parent
            case _:
                pass


def _two_axes(ids: _Ids, group: int, edits: Edits) -> None:
    function = ids.body.function
    tiles = [fresh(function, f"tile_{axis}") for axis in (0, 1)]
    program, band, first, lines = (fresh(function, n) for n in ("program", "band", "first", "lines"))
    for axis, tile in enumerate(tiles):
        edits.expressions |= {ids.body.place(call): tile for call in ids.calls[axis]}
    start = next(s for s in function.body if not isinstance(s, ast.Expr) or isinstance(s.value, ast.Call))
    edits.before[start.lineno] = [
        f"{program} = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)",
        f"{band} = {group} * tl.num_programs(0)",
        f"{first} = {program} // {band} * {group}",
        f"{lines} = tl.minimum(tl.num_programs(1) - {first}, {group})",
        f"{tiles[1]} = {first} + {program} % {band} % {lines}",
        f"{tiles[0]} = {program} % {band} // {lines}",
    ]


def _one_axis(ids: _Ids, divisions: list[ast.BinOp], group: int, edits: Edits) -> None:
    function = ids.body.function
    first = min(divisions, key=lambda use: (use.lineno, use.col_offset))
    statement = ids.body.statement(first)
    if statement not in function.body or not isinstance(first.left, ast.Name):
        raise Declined(
            f"line {first.lineno}: the program's id has no name, or is taken apart inside a branch"
        )
    program = first.left.id
    columns = ast.unparse(first.right)
    if not isinstance(first.right, ast.Name | ast.Constant):
        columns = f"({columns})"
    in_group, start = fresh(function, "in_group"), fresh(function, "first")
    edits.before[statement.lineno] = [
        f"{in_group} = {program} % ({group} * {columns})",
        f"{start} = {program} - {in_group}",
        f"{program} = tl.where(\n"
        f"    {start} + {group} * {columns} <= tl.num_programs(0),\n"
        f"    {start} + ({in_group} % {group} * {columns} + {in_group} // {group}),\n"
        f"    {program},\n"
        ")",
    ]
