"""Loops do no more than is read: final values for last steps, and no step after the last. Worker side.

The top layer of a bidirectional network often ends in `out[:, -1]`: its backward direction then runs one
step instead of T. This is exact.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import cast

from tilewright.proposers.recurrence.frontend.simplify import without_dead
from tilewright.proposers.recurrence.frontend.tape import names_in, reads, renamed, with_reads
from tilewright.proposers.recurrence.ir import Call, Name, Network, Recurrence, Result, Statement, Tensor

TRANSPOSE, CAT, SELECT = "aten.transpose.int", "aten.cat.default", "aten.select.int"


def shorten(network: Network) -> Network:
    """The network with selects of one time pushed back to the loops, and the loops cut to what is read."""
    return _cut(without_dead(_Selects(network).run()))


class _Selects:
    """Moves select(cat(transpose(…))) at one time to the every-step results themselves."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._types = dict(network.types)
        self._made = {s.name: s for s in network.statements if isinstance(s, Call)}
        self._loops = {r.name: (s, r) for s in network.recurrences for r in s.results if r.every_step}
        self._finals: dict[str, list[Result]] = defaultdict(list)
        self._same: dict[str, str] = {}

    def run(self) -> Network:
        statements: list[Statement] = []
        for statement in self._network.statements:
            current = with_reads(statement, self._now)
            if isinstance(current, Call) and current.target == SELECT:
                source, dim, index = cast("tuple[Name, int, int]", current.args)
                calls: list[Statement] = []
                found = self._at(source.name, dim, index, calls)
                if found is not None:
                    statements += calls
                    self._same[current.name] = found
                    continue
            statements.append(current)
        for place, statement in enumerate(statements):
            if isinstance(statement, Recurrence):
                results = (*statement.results, *self._finals[statement.name])
                statements[place] = replace(statement, results=results)
        outputs = renamed(self._network.outputs, self._now)
        return replace(self._network, statements=tuple(statements), types=self._types, outputs=outputs)

    def _now(self, name: str) -> str:
        return self._same.get(name, name)

    def _at(self, name: str, dim: int, index: int, calls: list[Statement]) -> str | None:
        """A value's element `index` of dimension `dim`, if every part of it is a time of some loop."""
        if name in self._loops:
            return self._time(name, index, calls) if dim == 0 else None
        made = self._made.get(name)
        if made is None:
            return None
        if made.target == TRANSPOSE:
            source, one, other = cast("tuple[Name, int, int]", made.args)
            order = list(range(len(self._types[name].shape)))
            order[one], order[other] = order[other], order[one]
            rest = order[:dim] + order[dim + 1 :]
            return self._at(source.name, order[dim], index, calls) if rest == sorted(rest) else None
        if made.target == CAT and made.args[1] != dim:
            parts, across = cast("tuple[tuple[Name, ...], int]", made.args)
            found = [self._at(part.name, dim, index, calls) for part in parts]
            shape = self._types[name].shape
            cut = shape[:dim] + shape[dim + 1 :]
            joined = tuple(Name(part) for part in found if part is not None)
            if len(joined) < len(parts):
                return None
            bound = self._new(f"{name}_{index}", Tensor(cut, self._types[name].dtype))
            calls.append(Call(bound, CAT, (joined, across - (across > dim)), line=made.line))
            return bound
        return None

    def _time(self, name: str, index: int, calls: list[Statement]) -> str:
        loop, result = self._loops[name]
        kind = Tensor(self._types[name].shape[1:])
        if index != (0 if loop.reverse else loop.steps - 1):
            bound = self._new(f"{name}_{index}", kind)
            calls.append(Call(bound, SELECT, (Name(name), 0, index), line=loop.line))
            return bound
        for final in (*loop.results, *self._finals[loop.name]):
            if final.source == result.source and not final.every_step:
                return final.name
        bound = self._new(f"{loop.name}_{result.source}_last", kind)
        self._finals[loop.name].append(Result(bound, result.source, False))
        return bound

    def _new(self, stem: str, kind: Tensor) -> str:
        count, name = 1, stem
        while name in self._types:
            count += 1
            name = f"{stem}_{count}"
        self._types[name] = kind
        return name


def _cut(network: Network) -> Network:
    """Loops of which only some times are read, each by a select, run no further than the last of them."""
    types = dict(network.types)
    readers: dict[str, list[Statement]] = defaultdict(list)
    for statement in network.statements:
        for name in reads(statement):
            readers[name].append(statement)
    whole = set(names_in(network.outputs))
    statements: list[Statement] = []
    moved: dict[str, int] = {}  # every-step result → times cut off before its first
    for statement in network.statements:
        if isinstance(statement, Recurrence):
            times = _times_read(statement, readers, whole)
            last = max((statement.steps - 1 - t if statement.reverse else t for t in times), default=None)
            if last is not None and last + 1 < statement.steps:
                steps = last + 1
                start = statement.steps - steps if statement.reverse else 0
                streams = []
                for position, stream in enumerate(statement.streams):
                    name = f"{stream.value}_{statement.name}_{position}"
                    shape = types[stream.value].shape
                    types[name] = replace(types[stream.value], shape=(steps, *shape[1:]))
                    args = (Name(stream.value), 0, start, start + steps)
                    statements.append(Call(name, "aten.slice.Tensor", args, line=statement.line))
                    streams.append(replace(stream, value=name))
                for result in statement.results:
                    types[result.name] = replace(
                        types[result.name], shape=(steps, *types[result.name].shape[1:])
                    )
                    moved[result.name] = start
                statement = replace(statement, steps=steps, streams=tuple(streams))
        elif statement.target == SELECT and cast(Name, statement.args[0]).name in moved:
            source, dim, index = cast("tuple[Name, int, int]", statement.args)
            statement = replace(statement, args=(source, dim, index - moved[source.name]))
        statements.append(statement)
    return replace(network, statements=tuple(statements), types=types)


def _times_read(loop: Recurrence, readers: dict[str, list[Statement]], whole: set[str]) -> list[int]:
    """The times at which a loop's results are read; none where some result is read in another way."""
    times = []
    for result in loop.results:
        if not result.every_step or result.name in whole:
            return []
        for reader in readers[result.name]:
            if not isinstance(reader, Call) or reader.target != SELECT or reader.args[1] != 0:
                return []
            times.append(cast(int, reader.args[2]))
    return times
