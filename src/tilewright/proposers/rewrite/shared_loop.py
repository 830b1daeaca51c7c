"""A kernel whose programs share the loop that adds up among SPLIT of them.

A product with few tiles and a long inner dimension leaves SMs idle, and so does a sum along the longer axis.
One more axis of the grid gives every tile SPLIT programs. Each sums its share of the loop's turns and stores
a partial result in float32; a second kernel, written into the file, adds them in a fixed order:

    split = tl.program_id(2)                             parts = torch.empty((4, *out.shape), …)
    out_ptr += split.to(tl.int64) * part_elements        kernel[(*grid, 4)](a, b, parts, …)
    share = tl.cdiv(tl.cdiv(k, BK), SPLIT)               add_parts[…](parts, out, out.numel(), …)
    for tile in range(split * share, …):

Where more than a cast happens to the sum before it is stored, the second kernel does that too (`epilogue`).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tilewright.kernelfile import Kernel
from tilewright.kernelfile.scopes import fold, last_name
from tilewright.proposers.edit import ArgumentEdit, Edits
from tilewright.proposers.rewrite.base import Declined, View
from tilewright.proposers.rewrite.body import Body, argument
from tilewright.proposers.rewrite.effects import UNFILLED
from tilewright.proposers.rewrite.epilogue import Epilogue
from tilewright.proposers.rewrite.hosts import host_launch, only_described
from tilewright.proposers.rewrite.names import fresh, names_in
from tilewright.proposers.rewrite.products import SumLoop, recorded_turns

SPLITS = (32, 16, 8, 4, 2)
FEWEST_TURNS = 2  # of one share: fewer, and nothing is left to overlap
MOVING = frozenset({
    "trans", "T", "permute", "reshape", "view", "ravel", "flip", "gather", "join", "interleave",
    "cat", "split",
})  # fmt: skip
ADD_PARTS = '''\
@triton.jit
def {name}(parts_ptr, out_ptr, elements, SPLIT: tl.constexpr, BLOCK: tl.constexpr):
    """out = the sum of SPLIT partial results, in their order."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < elements
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for _ in tl.static_range(SPLIT):
        total += tl.load(parts_ptr + at, mask=inside, other=0.0)
        parts_ptr += elements
    tl.store(out_ptr + at, total{cast}, mask=inside)
'''


@dataclass(frozen=True)
class Added:
    """What the parameters added to the kernel are called."""

    elements: str
    split: str


class SharedLoop:
    """The loop that adds up, its store and its launch.

    Args:
        loop_of: finds that loop.
        finishing: whether more than a cast may happen to the sum.

    Raises:
        Declined: a kernel of another form.
    """

    def __init__(
        self, view: View, kernel: Kernel, loop_of: Callable[[Body], SumLoop], *, finishing: bool = True
    ) -> None:
        self.view = view
        self.kernel = kernel
        self.body = Body(view.node(kernel), view.file.source)
        self.sum = loop_of(self.body)
        function, loop = self.body.function, self.sum.loop
        if self.sum.block is not function.body:
            raise Declined(f"line {loop.lineno}: the loop that adds up is inside another statement")
        for node in ast.walk(function):
            if isinstance(node, ast.For | ast.While | ast.Return) and node is not loop:
                raise Declined(f"line {node.lineno}: it has another loop, or returns early")
        self.tail = function.body[function.body.index(loop) + 1 :]
        self.stepped = list(self._stepped())
        self.output = self._output()
        self.element_type = f"{self.output}.dtype.element_ty"
        self._require_any_type()
        self.store = self._stored()
        self.cast, self.part = self._cast()
        if self.part is None and not finishing:
            raise Declined("more than a cast happens to the sum before it is stored")
        self.launch = host_launch(view, kernel)
        self.epilogue = self._epilogue() if self.part is None else None
        self.axis, self.grid = self._grid()
        self.given = self._allocated()

    def choices(self, most: int) -> tuple[str, ...]:
        """SPLIT, largest first.

        Args:
            most: programs that are wanted.
        """
        launch = min(self.view.launches(self.kernel), key=lambda one: one.config or 0)
        turns = recorded_turns(self.body, self.sum, launch)
        if launch.programs * 2 > most:
            raise Declined(
                f"its {launch.programs} programs are more than half of the {most} that keep SMs busy"
            )
        fits = [s for s in SPLITS if launch.programs * s <= most and turns >= FEWEST_TURNS * s]
        if not fits:
            raise Declined(f"the {turns} turns of its loop are too few to share")
        return tuple(map(str, fits))

    def edited(self, choice: str) -> str:
        """The file with the loop shared, the grid widened, and the parts added."""
        edits = Edits()
        self.edit_launch(edits, choice, self.edit_kernel(edits))
        return self.view.edited(edits)

    def _stepped(self) -> Iterator[ast.AugAssign]:
        """The names that advance by the same amount in every turn."""
        body, loop = self.body, self.sum.loop
        inside: dict[str, list[ast.stmt]] = {}
        for name in names_in(loop):
            for statement in (binding.statement for binding in body.bindings(name)):
                if statement is loop or loop in body.loops(statement):
                    inside.setdefault(name, []).append(statement)
        bound = set(inside)
        for name in sorted(bound - {self.sum.accumulator}):
            match inside[name]:
                case [ast.AugAssign(op=ast.Add(), value=amount) as step] if step in loop.body:
                    names = names_in(amount)
                    if names & bound or any(isinstance(n, ast.Call) for n in ast.walk(amount)):
                        raise Declined(f"line {step.lineno}: {name} does not advance by the same every turn")
                    yield step
                    continue
                case _:
                    pass
            for node in ast.walk(loop):
                match node:
                    case ast.Name(id=read, ctx=ast.Load()) if read == name and body.definition(node) is None:
                        raise Declined(f"line {node.lineno}: {name} is carried from turn to turn")
                    case _:
                        pass
        for node in (n for statement in self.tail for n in ast.walk(statement)):
            if isinstance(node, ast.Name) and node.id in bound - {self.sum.accumulator}:
                raise Declined(f"line {node.lineno}: {node.id} is used after the loop as well")

    def _require_any_type(self) -> None:
        """Decline where what is computed before the sum follows the output's type: the parts have another."""
        for node in ast.walk(self.body.function):
            if not isinstance(node, ast.Attribute) or names_in(node.value) != {self.output}:
                continue
            if self.body.statement(node) not in self.tail:
                raise Declined(f"line {node.lineno}: asks for the output's type before the sum is there")

    def _stored(self) -> ast.Call:
        """The one store."""
        stores = list(self.body.calls("store"))
        if len(stores) != 1 or any(self.view.file.kernel(callee).writes for callee in self.kernel.calls):
            raise Declined("it does not store exactly once")
        (store,) = stores
        if not any(isinstance(s, ast.Expr) and s.value is store for s in self.tail):
            raise Declined(f"line {store.lineno}: the sum is not stored right after the loop")
        for statement in self.tail:
            if not isinstance(statement, ast.Assign | ast.AugAssign | ast.Expr):
                raise Declined(f"line {statement.lineno}: what happens to the sum depends on the way taken")
        return store

    def _cast(self) -> tuple[ast.expr | None, ast.expr | None]:
        """The type that the sum is cast to where it is stored, and the sum; None where more happens to it."""
        changes = [binding.statement for binding in self.body.bindings(self.sum.accumulator)]
        if any(statement in changes for statement in self.tail):
            return None, None
        value = argument(self.store, "value")
        if self._adds_up(value):
            return None, value
        match self._behind(value):
            case ast.Call(func=ast.Attribute(value=summed, attr="to"), args=[kind]) if self._adds_up(summed):
                known = ast.unparse(kind).startswith("tl.") or ast.unparse(kind) == self.element_type
                return kind, summed if known else None
            case _:
                return None, None

    def _adds_up(self, value: ast.expr | None) -> bool:
        """Whether this is the accumulator, or its sum along an axis: of parts it is a part of the whole's."""
        match self._behind(value):
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="tl"), attr="sum"),
                args=[ast.Name(id=name), *rest],
                keywords=keywords,
            ):
                others = [*rest, *(keyword.value for keyword in keywords)]
                return name == self.sum.accumulator and all(isinstance(one, ast.Constant) for one in others)
            case ast.Name(id=name):
                return name == self.sum.accumulator
            case _:
                return False

    def _epilogue(self) -> Epilogue:
        """What happens to the sum.

        Raises:
            Declined: it does not stay where it is: a mask that fits where results are stored need not fit
                where the sum is.
        """
        helpers = [self.view.node(self.view.file.kernel(name)) for name in self.kernel.calls]
        for node in (n for part in (*self.tail, *helpers) for n in ast.walk(part)):
            if isinstance(node, ast.Attribute | ast.Name) and last_name(node) in MOVING:
                raise Declined(f"line {node.lineno}: {last_name(node)} moves what is computed from the sum")
        return Epilogue(self.body, self.sum, self.store, self.tail, self.output, self.launch)

    def _behind(self, value: ast.expr | None) -> ast.expr | None:
        """What a name of the tail was assigned there."""
        if isinstance(value, ast.Name):
            bindings = [b for b in self.body.bindings(value.id) if b.statement in self.tail]
            if len(bindings) == 1 and bindings[0].value is not None and value.id != self.sum.accumulator:
                return bindings[0].value
            if bindings:
                return None
        return value

    def _output(self) -> str:
        if len(self.kernel.writes) != 1 or set(self.kernel.writes) & set(self.kernel.reads):
            raise Declined("it does not write exactly one tensor that it does not read")
        (output,) = self.kernel.writes
        for launch in self.view.launches(self.kernel):
            if not any(a.name == output and a.kind == "tensor" for a in launch.arguments):
                raise Declined(f"{output} is no pointer")
        return output

    def _grid(self) -> tuple[int, str]:
        """The first axis that is free, and the grid with a place `{split}` for one program more along it."""
        grid = self.launch.grid
        parts = self._axes(grid)
        axis = len(parts.elts) if isinstance(parts, ast.Tuple) else 3
        if axis > 2 or any(isinstance(e, ast.Starred) for e in getattr(parts, "elts", ())):
            raise Declined(f"line {self.launch.site.line}: its grid has no free axis, or is not written out")
        for name in (self.kernel.name, *self.kernel.calls):
            for call in ast.walk(self.view.node(self.view.file.kernel(name))):
                if isinstance(call, ast.Call) and last_name(call.func) in ("program_id", "num_programs"):
                    asked = fold(call.args[0] if call.args else call.keywords[0].value)
                    if asked is None or asked.value == axis:
                        raise Declined(f"line {call.lineno}: it asks for axis {axis} of the grid")
        match grid:
            case ast.Tuple():
                return axis, f"({', '.join(map(ast.unparse, grid.elts))}, {{split}})"
            case ast.Lambda(args=arguments, body=ast.Tuple(elts=elements)):
                return (
                    axis,
                    f"lambda {ast.unparse(arguments)}: ({', '.join(map(ast.unparse, elements))}, {{split}})",
                )
            case _:
                called = isinstance(self._bound(grid), ast.Tuple)
                return axis, f"(*{ast.unparse(grid)}, {{split}})" if called else (
                    f"lambda meta: (*{ast.unparse(grid)}(meta), {{split}})"
                )

    def _axes(self, grid: ast.expr) -> ast.expr | None:
        match self._bound(grid):
            case ast.Lambda(body=body):
                return body
            case ast.FunctionDef(body=[ast.Return(value=value)]):
                return value
            case ast.Tuple() as found:
                return found
            case _:
                return None

    def _bound(self, grid: ast.expr) -> ast.AST | None:
        """What the grid's name stands for; the grid itself where it has none."""
        if not isinstance(grid, ast.Name):
            return grid
        only = self.launch.scope.only(grid.id)
        if only is not None:
            return only[1]
        found = self.launch.scope.find(grid.id)
        inner = [
            n for n in ast.walk(self.launch.function) if isinstance(n, ast.FunctionDef) and n.name == grid.id
        ]
        return inner[0] if found and len(found[1]) == 1 and len(inner) == 1 else None

    def _allocated(self) -> ast.Name:
        """The argument that the output is, allocated for this launch."""
        launch = self.launch
        line = launch.site.line
        given = launch.argument(self.output)
        only = launch.scope.only(given.id) if isinstance(given, ast.Name) else None
        if not isinstance(given, ast.Name) or only is None or not isinstance(only[1], ast.Call):
            raise Declined(f"line {line}: the output is not a tensor allocated for this launch")
        index = next(i for i, s in enumerate(launch.block) if s is launch.statement)
        before = launch.block[:index]
        made = [i for i, s in enumerate(before) if isinstance(s, ast.Assign) and s.value is only[1]]
        if last_name(only[1].func) not in UNFILLED or not made:
            raise Declined(f"line {line}: {given.id} is not allocated without values right before the launch")
        between = [*before[made[0] + 1 :], launch.statement]
        if not only_described(between, given.id, but=[given]):
            raise Declined(f"line {line}: {given.id} is used between its allocation and the launch")
        return given

    def edit_kernel(self, edits: Edits) -> Added:
        body, summing, function = self.body, self.sum, self.body.function
        split, share, first = (fresh(function, name) for name in ("split", "share", "first_turn"))
        added = Added(fresh(function, "part_elements"), fresh(function, "SPLIT"))
        default = function.args.defaults or function.args.kw_defaults
        edits.parameters[self.kernel.name] = (
            [f"{added.elements}=0", f"{added.split}: tl.constexpr = 1"]
            if default
            else [added.elements, f"{added.split}: tl.constexpr"]
        )
        start = next(s for s in function.body if not isinstance(s, ast.Expr) or isinstance(s.value, ast.Call))
        edits.before[start.lineno] = [
            f"{split} = tl.program_id({self.axis})",
            f"{self.output} += {split}.to(tl.int64) * {added.elements}",
        ]
        stop, step = ast.unparse(summing.stop), ast.unparse(summing.step)
        turns = stop if step == "1" else f"tl.cdiv({stop}, {step})"
        edits.before.setdefault(summing.loop.lineno, []).extend([
            f"{share} = tl.cdiv({turns}, {added.split})",
            f"{first} = {split} * {share}",
            *(
                f"{ast.unparse(s.target)} += {first}.to(tl.int64) * ({ast.unparse(s.value)})"
                for s in self.stepped
            ),
        ])  # fmt: skip
        if step == "1":
            ends = [first, f"tl.minimum({first} + {share}, {stop})"]
        else:
            ends = [f"{first} * {step}", f"tl.minimum(({first} + {share}) * {step}, {stop})", step]
        rest = [ast.unparse(k) for k in summing.turns.keywords]
        edits.expressions[body.place(summing.turns)] = (
            f"{ast.unparse(summing.turns.func)}({', '.join([*ends, *rest])})"
        )
        value = argument(self.store, "value")
        assert value is not None
        if self.epilogue is not None:
            edits.expressions[body.place(value)] = summing.accumulator
            for statement in self.tail:
                kept = statement in self.epilogue.needed_to_store or statement is body.statement(self.store)
                if not kept:
                    edits.instead[statement.lineno] = []
        elif self.part is not None and ast.unparse(value) != ast.unparse(self.part):
            edits.expressions[body.place(value)] = ast.unparse(self.part)
            for statement in self.tail:
                match statement:
                    case ast.Assign(targets=[ast.Name(id=name)]) if name == ast.unparse(value):
                        if self._reads(name) == 1:
                            edits.instead[statement.lineno] = []
                    case _:
                        pass
        return added

    def _reads(self, name: str) -> int:
        nodes = [n for n in ast.walk(self.body.function) if isinstance(n, ast.Name) and n.id == name]
        return sum(isinstance(node.ctx, ast.Load) for node in nodes)

    def edit_launch(self, edits: Edits, choice: str, added: Added) -> None:
        launch, out = self.launch, self.given.id
        parts = fresh(launch.function, "parts")
        second, its_launch = self._second(choice, added, parts)
        edits.functions[self.kernel.name] = second
        edits.expressions[launch.names.place(self.given)] = parts
        edits.expressions[launch.names.place(launch.grid)] = self.grid.format(split=choice)
        edits.calls[launch.site.place] = ArgumentEdit(
            set={added.elements: f"{out}.numel()", added.split: choice}
        )
        edits.before[launch.statement.lineno] = [
            f"{parts} = torch.empty(({choice}, *{out}.shape), device={out}.device, dtype=torch.float32)"
        ]
        edits.after[launch.statement.lineno] = [its_launch]

    def _second(self, choice: str, added: Added, parts: str) -> tuple[str, str]:
        """The kernel that makes the output of the parts, and its launch."""
        out = self.given.id
        if self.epilogue is not None:
            name = fresh(self.view.tree, f"{self.kernel.name}_finish")
            options = [f"{added.elements}={out}.numel()", f"{added.split}={choice}"]
            text = self.epilogue.text(name, added.elements, added.split)
            return text, self.epilogue.call(name, parts, options)
        name, cast = fresh(self.view.tree, "add_parts"), ""
        if self.cast is not None:
            kind = ast.unparse(self.cast)
            cast = f".to({'out_ptr.dtype.element_ty' if kind == self.element_type else kind})"
        blocks = f"{name}[(triton.cdiv({out}.numel(), 1024),)]"
        return (
            ADD_PARTS.format(name=name, cast=cast),
            f"{blocks}({parts}, {out}, {out}.numel(), SPLIT={choice}, BLOCK=1024)",
        )
