"""What a kernel does with its parameters: which it reads, writes, tiles by.

A flow-insensitive reading: every name stands for the set of parameters that reach it through any
assignment. Too large a set is the safe side; a value that was loaded no longer stands for the
pointer it came from.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tilewright.kernelfile.model import Tile
from tilewright.kernelfile.scopes import FunctionNode, last_name

PROGRAM = "@program"  # stands for tl.program_id among the parameters
LOADS = frozenset({"load"})
STORES = frozenset({"store"})
BOUNDS = frozenset({"range", "static_range", "cdiv", "min", "max"})
SHAPED = frozenset({"zeros", "full", "make_block_ptr", "make_tensor_descriptor"})
Reached = frozenset[str]
NOTHING: Reached = frozenset()


@dataclass
class Uses:
    """What one jit function does with its own parameters."""

    reads: set[str] = field(default_factory=set)
    writes: set[str] = field(default_factory=set)
    sizes: set[str] = field(default_factory=set)
    extents: set[str] = field(default_factory=set)  # reach tl.arange or a tile's shape
    by_program: set[str] = field(default_factory=set)
    by_loop: set[str] = field(default_factory=set)
    persistent: set[str] = field(default_factory=set)
    scaled: set[str] = field(default_factory=set)  # multiplied or compared, so no pointer
    calls: set[str] = field(default_factory=set)
    loops: bool = False

    def tiles(self, constexprs: tuple[str, ...]) -> tuple[Tile, ...]:
        return tuple(
            Tile(name, name in self.by_program, name in self.by_loop, name in self.persistent)
            for name in constexprs
            if name in self.extents
        )


class Flow:
    """Uses of every jit function of a file, helpers read before the kernels that call them."""

    def __init__(self, functions: Mapping[str, FunctionNode]) -> None:
        self._functions = functions
        self._done: dict[str, Uses] = {}
        self._active: set[str] = set()

    def uses(self, name: str) -> Uses:
        if name not in self._done:
            if name in self._active:  # recursion, which Triton does not have
                return Uses()
            self._active.add(name)
            self._done[name] = _Reader(self._functions[name], self).read()
            self._active.discard(name)
        return self._done[name]

    def helper(self, call: ast.Call) -> FunctionNode | None:
        return self._functions.get(last_name(call.func))


class _Reader:
    """Reads one function."""

    def __init__(self, node: FunctionNode, flow: Flow) -> None:
        self.node = node
        self.flow = flow
        arguments = node.args
        self.parameters = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        self.constexprs = frozenset(
            a.arg
            for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
            if is_constexpr(a.annotation)
        )
        self.aliases = self._aliases()
        self.reached: dict[str, Reached] = {name: frozenset({name}) for name in self.parameters}
        self.found = Uses()

    def read(self) -> Uses:
        while self._spread():
            pass
        for node in ast.walk(self.node):
            match node:
                case ast.Call():
                    self._call(node)
                case ast.BinOp():
                    self._arithmetic(node)
                case ast.Compare():
                    self._comparison(node)
                case ast.For():
                    self.found.loops = True
                    self._loop(node)
                case ast.While():
                    self.found.loops = True
                case ast.AugAssign() if isinstance(node.op, ast.Add):
                    self.found.by_loop |= self._constant(node.value) or NOTHING
                case _:
                    pass
        for uses in (self.found.reads, self.found.writes):
            uses -= self.found.scaled | self.found.sizes | self.constexprs | {PROGRAM}
        self.found.sizes -= self.constexprs | {PROGRAM}
        return self.found

    def _spread(self) -> bool:
        """One pass over the assignments; True when a name now stands for more."""
        grown = False
        for node in ast.walk(self.node):
            for target, value in assignments(node):
                reach = self.reach(value)
                for leaf in ast.walk(target):
                    if isinstance(leaf, ast.Name):
                        before = self.reached.get(leaf.id, NOTHING)
                        if not reach <= before:
                            self.reached[leaf.id] = before | reach
                            grown = True
        return grown

    def reach(self, node: ast.AST) -> Reached:
        """Parameters that an expression's value is computed from, loaded data left out."""
        if isinstance(node, ast.Name):
            return self.reached.get(node.id, NOTHING)
        if isinstance(node, ast.Call):
            name = last_name(node.func)
            if name in LOADS:
                return NOTHING
            if name == "program_id":
                return frozenset({PROGRAM})
        reach = NOTHING
        for child in ast.iter_child_nodes(node):
            reach |= self.reach(child)
        return reach

    def _constant(self, node: ast.AST) -> Reached | None:
        """The constexprs of an expression made of nothing else, None for any other expression."""
        if any(isinstance(n, ast.Call) and last_name(n.func) == "arange" for n in ast.walk(node)):
            return None
        reach = self.reach(node)
        return reach if reach and reach <= self.constexprs else None

    def _call(self, node: ast.Call) -> None:
        name = last_name(node.func)
        arguments = [*node.args, *(k.value for k in node.keywords)]
        base = node.func.value if isinstance(node.func, ast.Attribute) else None
        described = self.reach(base) if base is not None else NOTHING  # desc.load(…), desc.store(…)
        first = described | (self.reach(node.args[0]) if node.args else self._pointer_keyword(node))
        if name in LOADS:
            self.found.reads |= first
        elif name in STORES:
            self.found.writes |= first
        elif name.startswith("atomic") or name == "inline_asm_elementwise":
            every = described | frozenset().union(*map(self.reach, arguments))
            touched = every if name == "inline_asm_elementwise" else first
            self.found.reads |= touched
            self.found.writes |= touched
        elif name == "arange" and len(arguments) >= 2:
            self.found.extents |= self.reach(arguments[1]) & self.constexprs
        elif name in SHAPED:
            shapes = [a for a in arguments if isinstance(a, ast.Tuple | ast.List)]
            for shape in shapes:
                for part in shape.elts:
                    self.found.extents |= self._constant(part) or NOTHING
        elif name in BOUNDS:
            for argument in arguments:
                self.found.sizes |= self.reach(argument)
        if (helper := self.flow.helper(node)) is not None:
            self._helper_call(node, helper)

    def _pointer_keyword(self, node: ast.Call) -> Reached:
        return frozenset().union(*(self.reach(k.value) for k in node.keywords if k.arg == "pointer"))

    def _helper_call(self, node: ast.Call, helper: FunctionNode) -> None:
        inner = self.flow.uses(helper.name)
        self.found.calls |= {helper.name} | inner.calls
        self.found.loops |= inner.loops
        given = {a: self.reach(v) for a, v in bind_call(node, helper)}
        for mine, theirs in (
            (self.found.reads, inner.reads),
            (self.found.writes, inner.writes),
            (self.found.sizes, inner.sizes),
            (self.found.extents, inner.extents),
            (self.found.by_loop, inner.by_loop),
            (self.found.by_program, inner.by_program),
            (self.found.scaled, inner.scaled),
        ):
            for parameter in theirs:
                mine |= given.get(parameter, NOTHING)
        if any(PROGRAM in reach for reach in given.values()):
            for parameter in inner.extents:
                self.found.by_program |= given.get(parameter, NOTHING) & self.constexprs

    def _arithmetic(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.Mult):
            for extent, index in ((node.left, node.right), (node.right, node.left)):
                constant = self._constant(extent)
                if constant and PROGRAM in self.reach(index):
                    self.found.by_program |= constant
        if not isinstance(node.op, ast.Add | ast.Sub):
            self.found.scaled |= self._plain(node.left) | self._plain(node.right)
        if isinstance(node.op, ast.FloorDiv | ast.Mod | ast.Div):
            self.found.sizes |= self._plain(node.left) | self._plain(node.right)

    def _comparison(self, node: ast.Compare) -> None:
        if any(isinstance(n, ast.Constant) and n.value is None for n in node.comparators):
            return  # `pointer is not None`
        for side in (node.left, *node.comparators):
            self.found.scaled |= self._plain(side)
            self.found.sizes |= self._plain(side)

    def _plain(self, node: ast.AST) -> Reached:
        """Parameters that stand in an expression by name, their own or another, outside calls."""
        if isinstance(node, ast.Call):
            return NOTHING
        if isinstance(node, ast.Name):
            name = node.id
            while name in self.aliases:
                name = self.aliases[name]
            return frozenset({name}) & frozenset(self.parameters)
        return frozenset().union(*map(self._plain, ast.iter_child_nodes(node)))

    def _aliases(self) -> dict[str, str]:
        """Names that stand for another one, as in `rows = M` or `rows = tl.cast(M, tl.int64)`."""
        found: dict[str, str] = {}
        for node in ast.walk(self.node):
            for target, value in assignments(node):
                source = _uncast(value)
                if (
                    isinstance(target, ast.Name)
                    and isinstance(source, ast.Name)
                    and target.id not in self.parameters
                    and source.id in (*self.parameters, *found)
                ):
                    found.setdefault(target.id, source.id)
        return found

    def _loop(self, node: ast.For) -> None:
        if not isinstance(node.iter, ast.Call) or "range" not in last_name(node.iter.func):
            return
        ends = [self.reach(a) for a in node.iter.args]
        for reach in ends:
            self.found.by_loop |= reach & self.constexprs
        if len(ends) >= 2 and PROGRAM in ends[0] and PROGRAM not in ends[1]:
            self.found.persistent |= ends[1] & self.constexprs


def assignments(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Pairs of target and value of a statement or walrus, tuples taken apart; a loop's iterable counts."""
    match node:
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                    yield from zip(target.elts, value.elts, strict=False)
                else:
                    yield target, value
        case ast.AugAssign(target=target, value=value) | ast.NamedExpr(target=target, value=value):
            yield target, value
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            yield target, value
        case ast.For(target=target, iter=iterated):
            yield target, iterated
        case _:
            pass


def _uncast(node: ast.expr) -> ast.expr:
    """`M` of `M`, `tl.cast(M, …)` and `M.to(…)`."""
    match node:
        case ast.Call(func=ast.Attribute(attr="cast"), args=[value, *_]):
            return _uncast(value)
        case ast.Call(func=ast.Attribute(value=value, attr="to")):
            return _uncast(value)
        case _:
            return node


def bind_call(call: ast.Call, function: FunctionNode) -> Iterator[tuple[str, ast.expr]]:
    """Pairs of parameter and argument of a plain call, starred arguments left out."""
    positional = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
    yield from zip(positional, call.args, strict=False)
    for keyword in call.keywords:
        if keyword.arg is not None:
            yield keyword.arg, keyword.value


def is_constexpr(annotation: ast.expr | None) -> bool:
    """Whether a parameter is annotated tl.constexpr, also as a string."""
    if isinstance(annotation, ast.Constant):
        return str(annotation.value).split(".")[-1] == "constexpr"
    return annotation is not None and last_name(annotation) == "constexpr"
