"""A trace in fewer words: no copies, one form for every view, buffers as stacks. Worker side."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

from tilewright.proposers.recurrence.frontend.tape import (
    binds,
    is_random,
    names_in,
    reads,
    renamed,
    with_reads,
)
from tilewright.proposers.recurrence.ir import (
    Argument,
    Call,
    Declined,
    Name,
    Network,
    Recurrence,
    Statement,
    Tensor,
)

COPIES = {f"aten.{name}" for name in ("detach.default", "alias.default", "clone.default", "positive.default")}
# The same when the result has its source's shape and dtype.
VIEWS = {
    "aten.select.int",
    "aten.slice.Tensor",
    "aten.reshape.default",
    "aten.t.default",
    "aten.transpose.int",
    "aten.permute.default",
    "aten.unsqueeze.default",
    "aten.squeeze.default",
    "aten.squeeze.dim",
    "aten.squeeze.dims",
    "aten.expand.default",
}
SHAPE_KEEPERS = {
    "aten.slice.Tensor",
    "aten.reshape.default",
    "aten.expand.default",
    "aten._to_copy.default",
} | {name for name in VIEWS if "squeeze" in name}
SPLITS = {"aten.split.Tensor", "aten.split_with_sizes.default", "aten.unsafe_split.Tensor"} | {
    "aten.unsafe_chunk.default",
    "aten.chunk.default",
}
LIKE = {
    "aten.zeros_like.default": "aten.zeros.default",
    "aten.ones_like.default": "aten.ones.default",
    "aten.empty_like.default": "aten.zeros.default",
    "aten.full_like.default": "aten.full.default",
    "aten.rand_like.default": "aten.rand.default",
    "aten.randn_like.default": "aten.randn.default",
    "aten.new_zeros.default": "aten.zeros.default",
    "aten.new_ones.default": "aten.ones.default",
    "aten.new_empty.default": "aten.zeros.default",
    "aten.new_full.default": "aten.full.default",
}
SCATTERS = {"aten.select_scatter.default", "aten.slice_scatter.default"}
JOINS = {"aten.stack.default", "aten.cat.default"}
MOVES = SCATTERS | JOINS


def simplify(network: Network) -> Network:
    """The same network of calls, with

    - copies (detach, clone, a cast to the same dtype, a slice of everything) replaced by their source;
    - view and _unsafe_view as reshape, split, chunk and unbind as slices and selects, dimensions from 0;
    - factories that only ask another tensor's shape as plain ones; equal views and constants once;
    - element reads of a stack, cat or written buffer replaced by the element;
    - a buffer written piece by piece as one stack or cat of the pieces, and a cat of cats as one;
    - nothing that no output needs, except random draws, whose order is part of the result.
    """
    return without_dead(_Simplifier(network).run())


def simplify_trace(network: Network) -> Network:
    """`simplify`, with what the last step computes and nobody reads left in: so it looks like the others."""
    network = _Simplifier(network).run()
    kept: list[Statement] = []
    read, known = needed(network), {*network.inputs, *network.parameters}
    for statement in network.statements:
        alive = any(n in read for n in binds(statement)) or is_random(statement)
        if alive or (_computes(statement) and known.issuperset(reads(statement))):
            kept.append(statement)
            known.update(binds(statement))
    return _of(network, kept)


def _computes(statement: Statement) -> bool:
    """Whether a statement makes values rather than moves them."""
    return not isinstance(statement, Call) or statement.target not in MOVES


def _of(network: Network, statements: list[Statement]) -> Network:
    """The network of some of its statements, without the types of the others."""
    names = {n for s in statements for n in binds(s)} | set(network.inputs) | set(network.parameters)
    types = {n: t for n, t in network.types.items() if n in names}
    return replace(network, statements=tuple(statements), types=types)


def without_dead(network: Network) -> Network:
    """The network without the calls that no output needs; random draws stay."""
    read = needed(network)
    kept: list[Statement] = []
    for statement in network.statements:
        if isinstance(statement, Recurrence):
            statement = replace(statement, results=tuple(r for r in statement.results if r.name in read))
        if any(n in read for n in binds(statement)) or is_random(statement):
            kept.append(statement)
    return _of(network, kept)


def needed(network: Network) -> set[str]:
    """Every value that the outputs, or a random draw, are computed from."""
    read = set(names_in(network.outputs))
    for statement in reversed(network.statements):
        if any(n in read for n in binds(statement)) or is_random(statement):
            read.update(reads(statement))
    return read


class _Simplifier:
    def __init__(self, network: Network) -> None:
        self._network = network
        self._types = dict(network.types)
        self._same: dict[str, str] = {}
        self._made: dict[str, Call] = {}  # what made each value, in the new form
        self._known: dict[tuple[object, ...], str] = {}
        self._statements: list[Statement] = []

    def run(self) -> Network:
        for statement in self._network.statements:
            renewed = with_reads(statement, self._now)
            if isinstance(renewed, Call):
                self._take(renewed)
            else:
                self._statements.append(renewed)
        outputs = renamed(self._network.outputs, self._now)
        return self._stacked(replace(self._network, outputs=outputs))

    def _now(self, name: str) -> str:
        return self._same.get(name, name)

    def _take(self, call: Call) -> None:
        call, kind = self._normal(call), self._types[call.name]
        if call.target in SPLITS or call.target == "aten.unbind.int":
            for part in self._parts(call):
                self._take(part)
            return
        source = next(names_in(call.args), None)
        if call.target == "aten.reshape.default" and self._target(source) == call.target:
            under = self._made[cast(str, source)]
            call = replace(call, args=(under.args[0], call.args[1]))
            source = cast(Name, under.args[0]).name
        if call.target == "aten.t.default" and self._target(source) == call.target:
            self._same[call.name] = cast(Name, self._made[cast(str, source)].args[0]).name
            return
        if call.target == "aten.slice.Tensor" and self._target(source) == "aten.t.default":
            for part in self._slice_of_transposed(call):
                self._take(part)
            return
        if call.target == "aten.permute.default" and call.args[1] == tuple(range(len(kind.shape))):
            self._same[call.name] = cast(str, source)
            return
        if call.target in COPIES or (
            call.target in SHAPE_KEEPERS and source and self._types[source] == self._types[call.name]
        ):
            self._same[call.name] = cast(str, source)
            return
        if call.target in ("aten.select.int", "aten.slice.Tensor"):
            found = self._element(call)
            if isinstance(found, str):
                self._same[call.name] = found
                return
            if found is not None:
                self._take(found)
                return
        if call.target in VIEWS or (source is None and not is_random(call)):
            key = (call.target, call.args, call.kwargs)
            if key in self._known:
                self._same[call.name] = self._known[key]
                return
            self._known[key] = call.name
        self._add(call)

    def _target(self, name: str | None) -> str | None:
        """The operator that made a value."""
        return self._made[name].target if name in self._made else None

    def _slice_of_transposed(self, call: Call) -> tuple[Call, Call]:
        """t then slice as slice then t, so that a weight's columns are cut where they lie."""
        matrix = self._made[cast(Name, call.args[0]).name].args[0]
        kind = self._types[call.name]
        name = f"{call.name}_rows"
        self._types[name] = Tensor(kind.shape[::-1], kind.dtype)
        cut = (matrix, 1 - cast(int, call.args[1]), *call.args[2:])
        inner = Call(name, "aten.slice.Tensor", cut, line=call.line)
        return inner, Call(call.name, "aten.t.default", (Name(name),), line=call.line)

    def _add(self, call: Call) -> None:
        self._statements.append(call)
        for name in binds(call):
            self._made[name] = call

    def _normal(self, call: Call) -> Call:
        """One form for operators that say the same."""
        kind = self._types[call.name]
        if call.target in LIKE:
            values = call.args[1:] if "_like" in call.target else call.args[2:]
            dtype = (("dtype", kind.dtype),)
            return replace(call, target=LIKE[call.target], args=(kind.shape, *values), kwargs=dtype)
        if call.target == "aten.as_strided.default":
            raise Declined("operator as_strided has no rule", call.line)
        if call.target == "aten.select.int":
            shape, dim, index = self._dim(call)
            return replace(call, args=(call.args[0], dim, index + shape[dim] if index < 0 else index))
        if call.target == "aten.slice.Tensor":
            padded = (*call.args, *(0, None, None, 1)[len(call.args) - 1 :])
            shape, dim, _ = self._dim(replace(call, args=padded))
            step = cast(int, padded[4])
            start, stop, _ = slice(padded[2], padded[3]).indices(shape[dim])
            bounds = (padded[0], dim, start, max(start, stop))
            return replace(call, args=bounds if step == 1 else (*bounds, step))
        if call.target in ("aten.stack.default", "aten.cat.default"):
            dim = cast(int, call.args[1]) if len(call.args) > 1 else 0
            return replace(call, args=(call.args[0], dim % len(kind.shape)))
        if call.target in SCATTERS:
            base = cast(Name, call.args[0]).name
            rank = len(self._types[base].shape)
            dim = cast(int, call.args[2]) if len(call.args) > 2 else 0
            return replace(call, args=(*call.args[:2], dim % rank, *call.args[3:]))
        return call

    def _dim(self, call: Call) -> tuple[tuple[int, ...], int, int]:
        shape = self._types[cast(Name, call.args[0]).name].shape
        index = call.args[2]
        return shape, cast(int, call.args[1]) % len(shape), index if isinstance(index, int) else 0

    def _parts(self, call: Call) -> Iterator[Call]:
        """split, chunk, unbind: one slice or select for each result."""
        shape = self._types[cast(Name, call.args[0]).name].shape
        position = 1 if call.target == "aten.unbind.int" else 2
        dim = cast(int, call.args[position]) if len(call.args) > position else 0
        dim %= len(shape)
        start = 0
        for index, name in enumerate(binds(call)):
            if call.target == "aten.unbind.int":
                yield Call(name, "aten.select.int", (call.args[0], dim, index), line=call.line)
                continue
            stop = start + self._types[name].shape[dim]
            yield Call(name, "aten.slice.Tensor", (call.args[0], dim, start, stop), line=call.line)
            start = stop

    def _element(self, call: Call) -> str | Call | None:
        """What a select or slice of a stack, cat or written buffer reads, if that is one piece of it."""
        source, dim, start = cast(tuple[Name, int, int], call.args[:3])
        whole = call.target == "aten.select.int"
        stop = start + 1 if whole else cast(int, call.args[3])
        while source.name in self._made and len(call.args) < 5:
            maker = self._made[source.name]
            if maker.target in SCATTERS and maker.args[2] == dim:
                first, last, piece = self._written(maker)
                if first <= start and stop <= last:
                    if maker.target == "aten.select_scatter.default":
                        return piece if whole else None
                    return self._inner(call, piece, start - first)
                if not (last <= start or stop <= first):
                    return None
                source = cast(Name, maker.args[0])
                continue
            if maker.target == "aten.stack.default" and maker.args[1] == dim and whole:
                return cast(tuple[Name, ...], maker.args[0])[start].name
            if maker.target == "aten.cat.default" and maker.args[1] == dim:
                first = 0
                for item in cast(tuple[Name, ...], maker.args[0]):
                    last = first + self._types[item.name].shape[dim]
                    if first <= start and stop <= last:
                        return self._inner(call, item.name, start - first)
                    first = last
            break
        moved = source != call.args[0]
        return replace(call, args=(source, *call.args[1:])) if moved else None

    def _inner(self, call: Call, piece: str, start: int) -> Call:
        dim = call.args[1]
        if call.target == "aten.select.int":
            return replace(call, args=(Name(piece), dim, start))
        length = self._types[call.name].shape[cast(int, dim)]
        return replace(call, args=(Name(piece), dim, start, start + length))

    def _written(self, call: Call) -> tuple[int, int, str]:
        """The range of a buffer that a scatter writes, and the value it writes there."""
        piece = cast(Name, call.args[1]).name
        dim = cast(int, call.args[2])
        size = self._types[call.name].shape[dim]
        if call.target == "aten.select_scatter.default":
            start = cast(int, call.args[3]) % size
            return start, start + 1, piece
        bounds = (*call.args[3:], None, None)[:2]
        start, stop, _ = slice(*bounds).indices(size)
        return start, stop, piece

    def _stacked(self, network: Network) -> Network:
        """Chains of writes into a buffer, as one stack or cat of what was written; cats of cats as one."""
        read = set(names_in(network.outputs))
        statements: list[Statement] = []
        for statement in reversed(self._statements):
            made = [statement]
            if isinstance(statement, Call) and statement.target in MOVES:
                if statement.name not in read:
                    continue
                made = [*self._stack(statement)] if _is_scatter(statement) else [self._joined(statement)]
            for one in made:
                read.update(reads(one))
            statements += reversed(made)
        return replace(network, statements=tuple(reversed(statements)), types=self._types)

    def _joined(self, call: Call) -> Call:
        """A cat with the parts of every cat that it puts together, and nothing empty."""
        if call.target != "aten.cat.default":
            return call
        dim = call.args[1]
        parts: list[Name] = []
        pending = list(reversed(cast("tuple[Name, ...]", call.args[0])))
        while pending:
            part = pending.pop()
            maker = self._made.get(part.name)
            if maker is not None and maker.target == "aten.cat.default" and maker.args[1] == dim:
                pending += reversed(cast("tuple[Name, ...]", maker.args[0]))
            elif math.prod(self._types[part.name].shape):
                parts.append(part)
        return replace(call, args=(tuple(parts), dim)) if parts else call

    def _stack(self, call: Call) -> list[Call]:
        """The calls that make a written buffer from its pieces, from the last write backwards."""
        dim = cast(int, call.args[2])
        size = self._types[call.name].shape[dim]
        pieces: dict[int, tuple[int, str, bool]] = {}  # start → stop, value, whether it lacks `dim`
        free = {(0, size)}
        current = call
        while True:
            first, last, piece = self._written(current)
            gap = next(((a, b) for a, b in free if a <= first and last <= b), None)
            whole = current.target == "aten.select_scatter.default"
            if gap is None or len(current.args) > 5:
                if not any(a < last and first < b for a, b in free):
                    pass  # written over later
                else:
                    return [call]
            else:
                pieces[first] = (last, piece, whole)
                free = (free - {gap}) | {(a, b) for a, b in ((gap[0], first), (last, gap[1])) if a < b}
            base = cast(Name, current.args[0]).name
            under = self._made.get(base)
            if under is None or under.target not in SCATTERS or under.args[2] != dim:
                break
            current = under
        calls: list[Call] = []

        def fresh(target: str, args: tuple[Argument, ...], kind: Tensor) -> str:
            name = f"{call.name}_{len(calls)}_{dim}"
            self._types[name] = kind
            calls.append(Call(name, target, args, line=call.line))
            return name

        shape, dtype = self._types[call.name].shape, self._types[call.name].dtype
        for start, stop in free:
            kind = Tensor((*shape[:dim], stop - start, *shape[dim + 1 :]), dtype)
            name = fresh("aten.slice.Tensor", (Name(base), dim, start, stop), kind)
            pieces[start] = (stop, name, False)
        if all(lacks for _, _, lacks in pieces.values()):
            parts = tuple(Name(pieces[start][1]) for start in sorted(pieces))
            return [*calls, Call(call.name, "aten.stack.default", (parts, dim), line=call.line)]
        parts = ()
        for start in sorted(pieces):
            stop, value, lacks = pieces[start]
            if lacks:
                kind = Tensor((*shape[:dim], 1, *shape[dim + 1 :]), dtype)
                value = fresh("aten.unsqueeze.default", (Name(value), dim), kind)
            parts += (Name(value),)
        return [*calls, Call(call.name, "aten.cat.default", (parts, dim), line=call.line)]


def _is_scatter(statement: Statement) -> bool:
    return isinstance(statement, Call) and statement.target in SCATTERS
