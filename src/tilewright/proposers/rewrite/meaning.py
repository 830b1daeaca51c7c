"""Tiles whose extent is part of what a kernel computes: another one would compute something else.

Three ways in which it can be, each told from the kernel's text:

    scale = tl.max(tl.abs(x))                    # of one program's tile, and
    tl.store(out + offs, x / scale)              # every element of the tile depends on it; so does a scan
    for i in range(tl.cdiv(K, BLOCK_K)):
        scale_ptrs += 1                          # one scale for BLOCK_K elements
    tl.load(scale_ptr + pid)                     # one for the elements pid * BLOCK … of this tile
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping

from tilewright.kernelfile import Kernel, KernelFile, Tile
from tilewright.kernelfile.flow import bind_call
from tilewright.kernelfile.scopes import FunctionNode, fold, last_name
from tilewright.proposers.rewrite.body import Body, argument
from tilewright.proposers.rewrite.names import names_in

Shape = tuple[str, ...] | None  # the extents of a tile as text; () of a scalar, None where it is not known
SCANS = frozenset({"cumsum", "cumprod", "associative_scan", "sort", "topk"})
REDUCTIONS = frozenset({"sum", "max", "min", "argmax", "argmin", "reduce", "xor_sum", "reduce_or"})
RANDOM = frozenset({"rand", "randn", "randint", "rand4x", "randn4x", "randint4x"})
LANGUAGE = frozenset({"tl", "triton", "language", "libdevice", "math"})


def meaning(kernel: Kernel, tile: Tile, bodies: Mapping[str, Body]) -> str:
    """Why a tile's extent is part of what the kernel computes; empty where nothing says so.

    Args:
        bodies: of the kernel and of the functions that it calls, by name.
    """
    body = bodies[kernel.name]
    found = [
        *(() if tile.covers else _within_one_tile(tile, body)),
        *_counted_turns(tile.name, {one.name for one in kernel.tiles}, body),
        *(_by_index(tile, body) if tile.by_program else ()),
        *_in_helpers(tile, body, bodies),
    ]
    return found[0] if found else ""


def _in_helpers(tile: Tile, body: Body, bodies: Mapping[str, Body]) -> Iterator[str]:
    """The loops of functions that a kernel hands the extent to."""
    for call in (n for n in ast.walk(body.function) if isinstance(n, ast.Call)):
        helper = bodies.get(last_name(call.func))
        if helper is not None:
            given = dict(bind_call(call, helper.function))
            constants = {p for p, v in given.items() if isinstance(v, ast.Name) and v.id in body.parameters}
            for parameter in constants:
                if ast.unparse(given[parameter]) == tile.name:
                    yield from _counted_turns(parameter, constants, helper)


def bodies_of(file: KernelFile, kernel: Kernel) -> dict[str, Body]:
    """The bodies of a kernel and of the functions that it calls."""
    at = {n.lineno: n for n in ast.walk(ast.parse(file.source)) if isinstance(n, FunctionNode)}
    return {name: Body(at[file.kernel(name).line], file.source) for name in (kernel.name, *kernel.calls)}


def _within_one_tile(tile: Tile, body: Body) -> Iterator[str]:
    """Elements that are stored and depend on others of one program's tile, taken together."""
    for store in body.calls("store"):
        value, pointer = argument(store, "value"), argument(store, "pointer")
        if value is None or pointer is None:
            continue
        stored = _shape(body.followed(pointer))
        for call in (n for n in ast.walk(body.followed(value)) if isinstance(n, ast.Call)):
            name = last_name(call.func)
            if (
                name in SCANS and tile.by_program and tile.name in _along(call)
            ):  # in a loop it may be carried on
                yield f"line {call.lineno}: {name} goes over one tile of it at a time"
            elif name in REDUCTIONS and tile.name in _along(call) and stored and tile.name in stored:
                yield f"line {store.lineno}: what is stored depends on {name} over one tile of it"


def _counted_turns(tile: str, tiles: set[str], body: Body) -> Iterator[str]:
    """Addresses in a loop over tiles that advance by the same every turn, however large the tile is."""
    for loop in (n for n in ast.walk(body.function) if isinstance(n, ast.For)):
        if not isinstance(loop.iter, ast.Call) or last_name(loop.iter.func) not in ("range", "static_range"):
            continue
        ends = [body.followed(a) for a in loop.iter.args]
        step = ast.unparse(ends[2]) if len(ends) > 2 else "1"
        stop = ends[min(1, len(ends) - 1)] if ends else loop.iter
        counted = step == "1" and names_in(stop) & tiles == {tile} and _divides(tile, stop)
        if not counted and step != tile:
            continue
        pointers = [
            p for c in body.calls("load", "store") if loop in body.loops(c) and (p := argument(c, "pointer"))
        ]
        behind = {name for pointer in pointers for name in _behind(pointer, body)}
        for statement in loop.body:
            match statement:
                case ast.AugAssign(target=ast.Name(id=name), op=ast.Add(), value=value) if name in behind:
                    if tile not in names_in(body.followed(value)):
                        yield f"line {statement.lineno}: {name} advances by the same for every tile of it"
                case _:
                    pass
        variable = f"{ast.unparse(loop.target)}@{loop.lineno}"
        for pointer in pointers if counted else ():
            if _loose(body.followed(pointer), variable, tile):
                yield f"line {pointer.lineno}: memory is addressed by the number of its tile"


def _divides(tile: str, node: ast.expr) -> bool:
    """Whether an expression counts tiles: something is divided by the extent."""
    for part in ast.walk(node):
        match part:
            case ast.BinOp(op=ast.FloorDiv(), right=divisor) if tile in names_in(divisor):
                return True
            case ast.Call(func=function, args=[_, divisor]) if last_name(function) == "cdiv":
                if tile in names_in(divisor):
                    return True
            case _:
                pass
    return False


def _by_index(tile: Tile, body: Body) -> Iterator[str]:
    """What a program reads, or draws, by its index itself, whatever the extent of its tile."""
    followed = {c: body.followed(p) for c in body.calls("load", "store") if (p := argument(c, "pointer"))}
    indices = {
        ast.unparse(index)
        for pointer in followed.values()
        for node in ast.walk(pointer)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult)
        for extent, index in ((node.left, node.right), (node.right, node.left))
        if isinstance(extent, ast.Name) and extent.id == tile.name and "program_id" in ast.unparse(index)
    }
    read = [(c, pointer) for c, pointer in followed.items() if last_name(c.func) == "load"]
    read += [(c, body.followed(a)) for c in body.calls(*RANDOM) for a in c.args]
    for call, place in read:
        if any(_loose(place, index, tile.name) for index in indices):
            yield f"line {call.lineno}: {last_name(call.func)} goes by the number of its tile"


def _loose(node: ast.AST, wanted: str, tile: str) -> bool:
    """Whether an expression holds another one anywhere but in a product with a tile's extent."""
    if isinstance(node, ast.expr) and ast.unparse(node) == wanted:
        return True
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and tile in names_in(node):
        sides = [side for side in (node.left, node.right) if tile in names_in(side)]
        return len(sides) == 1 and _loose(sides[0], wanted, tile)
    return any(_loose(child, wanted, tile) for child in ast.iter_child_nodes(node))


def _behind(node: ast.expr, body: Body) -> set[str]:
    """The names that an address is computed from, loaded values left out."""
    seen: set[str] = set()
    pending: list[ast.AST] = [node]
    while pending:
        part = pending.pop()
        if isinstance(part, ast.Call) and last_name(part.func) == "load":
            continue
        if isinstance(part, ast.Name) and part.id not in seen:
            seen.add(part.id)
            pending += [b.value for b in body.bindings(part.id) if b.value is not None]
        pending += ast.iter_child_nodes(part)
    return seen


def _given(call: ast.Call) -> list[ast.expr]:
    """The positional arguments of a function, the object first where it is a method's."""
    function = call.func
    home = function.value if isinstance(function, ast.Attribute) else None
    if home is None or (isinstance(home, ast.Name | ast.Attribute) and names_in(home) & LANGUAGE):
        return list(call.args)
    return [home, *call.args]


def _axis(call: ast.Call) -> int | None:
    given = next((k.value for k in call.keywords if k.arg in ("axis", "dim")), None)
    given = given or (_given(call)[1] if len(_given(call)) > 1 else None)
    folded = fold(given) if given is not None else None
    return folded.value if folded and isinstance(folded.value, int) else None


def _along(call: ast.Call) -> tuple[str, ...]:
    """The extents that a reduction or a scan goes over."""
    shape = _shape(_given(call)[0]) if _given(call) else None
    if shape is None:
        return ()
    axis = _axis(call)
    if axis is None:
        return shape[-1:] if last_name(call.func) in SCANS else shape
    return (shape[axis],) if -len(shape) <= axis < len(shape) else ()


def _shape(node: ast.expr) -> Shape:
    """The extents of a followed expression."""
    match node:
        case ast.Constant():
            return ()
        case ast.Name(id=name):
            return None if ":" in name else ()  # a loop counts in numbers
        case ast.Subscript(value=value, slice=index):
            return _indexed(_shape(value), index.elts if isinstance(index, ast.Tuple) else [index])
        case ast.Call():
            return _called(node)
        case ast.Attribute():
            return ()
        case _:
            return _joint(child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr))


def _indexed(shape: Shape, index: list[ast.expr]) -> Shape:
    if shape is None:
        return None
    rest, found = list(shape), list[str]()
    for part in index:
        if isinstance(part, ast.Constant) and part.value is None:
            found.append("1")
        elif isinstance(part, ast.Slice) and rest:
            found.append(rest.pop(0))
        else:
            return None
    return (*found, *rest)


def _called(call: ast.Call) -> Shape:
    name, given = last_name(call.func), _given(call)
    if name in ("program_id", "num_programs", "cdiv"):
        return ()
    if name == "arange":
        return (ast.unparse(call.args[1]),) if len(call.args) > 1 else None
    if name in ("zeros", "full") and given and isinstance(given[0], ast.Tuple | ast.List):
        return tuple(ast.unparse(extent) for extent in given[0].elts)
    if name in ("load", "to", "cast", "multiple_of", "max_contiguous") or name in SCANS:
        return _shape(given[0]) if given else None
    if (
        name in REDUCTIONS
        and given
        and not (name in ("max", "min") and _axis(call) is None and len(given) > 1)
    ):
        shape, axis = _shape(given[0]), _axis(call)
        if shape is None or axis is None:
            return None if shape is None else ()
        if any(k.arg == "keep_dims" for k in call.keywords) or not -len(shape) <= axis < len(shape):
            return None
        return tuple(extent for at, extent in enumerate(shape) if at != axis % len(shape))
    if name in ("reshape", "view", "dot", "trans", "permute", "join", "split", "broadcast_to", "expand_dims"):
        return None
    return _joint(given)


def _joint(parts: Iterable[ast.expr]) -> Shape:
    shape: Shape = ()
    for part in parts:
        shape = _broadcast(shape, _shape(part))
    return shape


def _broadcast(left: Shape, right: Shape) -> Shape:
    if left is None or right is None:
        return None
    short, long = sorted((left, right), key=len)
    padded = ("1",) * (len(long) - len(short)) + short
    if any(a != b and "1" not in (a, b) for a, b in zip(padded, long, strict=True)):
        return None
    return tuple(b if a == "1" else a for a, b in zip(padded, long, strict=True))
