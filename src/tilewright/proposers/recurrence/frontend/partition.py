"""Splits loops: what turns in a cycle stays a loop, the rest runs over all steps at once.

The values of a step form a graph, with an edge from what a state becomes to the state. Each of its cycles
(strongly connected components) becomes one `ir.Recurrence`; a call outside every cycle becomes a call on
whole sequences [T, …], or, where only the last step is read, on the last step's values. Worker side.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import cast

import torch

from tilewright.proposers.recurrence.frontend.cycles import components
from tilewright.proposers.recurrence.frontend.lower import Body, is_product, lower, lowers
from tilewright.proposers.recurrence.frontend.reroll import Counter, Loop, Varying, find_loops
from tilewright.proposers.recurrence.frontend.simplify import VIEWS
from tilewright.proposers.recurrence.frontend.step import Previous, step_graph
from tilewright.proposers.recurrence.frontend.tape import Tape, binds, names_in, operator, reads, renamed
from tilewright.proposers.recurrence.frontend.views import Views, take
from tilewright.proposers.recurrence.ir import Call, Declined, Name, Network, Recurrence, Result


def partition(network: Network) -> Network:
    """A network of calls with its loops found, split, and put in place of the calls they stand for.

    Raises:
        Declined: a loop holds something without a rule; the line is that of the operator.
    """
    views = Views(network)
    return _Partition(network, views, find_loops(network, views)).run()


class _Partition:
    def __init__(self, network: Network, views: Views, loops: list[Loop]) -> None:
        self._network = network
        self._views = views
        self.tape = Tape()
        self._now: dict[str, torch.Tensor] = {}
        self._calls = {n: c for c in network.statements if isinstance(c, Call) for n in binds(c)}
        self._loops: list[_Split] = []
        self._place: dict[str, tuple[int, int, int, int]] = {}  # loop, step, call, result
        self._order = loops

    def run(self) -> Network:
        for name in (*self._network.inputs, *self._network.parameters):
            self._now[name] = self.tape.declare(self.tape.free_name(name), self._network.types[name])
        with self.tape.recording():
            for index, loop in enumerate(self._order):
                for k, step in enumerate(loop.calls):
                    for j, call in enumerate(step):
                        for r, name in enumerate(binds(call)):
                            self._place[name] = (index, k, j, r)
                self._loops.append(_Split(self, loop))
            for split in self._loops:
                split.widen()
            for call in self._calls.values():
                if call.name not in self._place and not self._views.is_view(call.name):
                    self._emit(call)
            outputs = renamed(self._network.outputs, lambda name: self.tape.name_of(self.value(name)))
        parameters = self._network.parameters
        return Network(
            self._network.inputs, parameters, self.tape.types, tuple(self.tape.statements), outputs
        )

    def value(self, name: str) -> torch.Tensor:
        """A value of the old network on the new tape, its calls written when first asked for."""
        if name not in self._now:
            if name in self._place:
                index, k, j, r = self._place[name]
                self._now[name] = self._loops[index].at(j, r, k)
            else:
                self._emit(self._calls[name])
        return self._now[name]

    def _emit(self, call: Call) -> None:
        if call.name in self._now:
            return
        if call.target in ("aten.stack.default", "aten.cat.default") and self._of_steps(call):
            names, dim = list(names_in(call.args[0])), cast(int, call.args[1])
            sequence = self.gather(names)
            sequence = torch.movedim(sequence, 0, dim) if dim else sequence
            if call.target == "aten.cat.default":
                sequence = sequence.flatten(dim, dim + 1)
            self._now[call.name] = sequence
            return
        for name in reads(call):
            self.value(name)
        self._now.update(zip(binds(call), self.tape.run(call, self.value), strict=True))

    def _of_steps(self, call: Call) -> bool:
        """Whether a stack or cat puts together values of a loop's steps, alike in shape."""
        names = list(names_in(call.args[0]))
        alike = len({self._network.types[n] for n in names}) == 1
        return alike and len(names) > 1 and any(self._views[n].root in self._place for n in names)

    def direction(self, names: Sequence[str]) -> int:
        """1 if a sequence of values moves forward through time or memory, -1 if backward, else 0."""
        first, second = (self._where(name) for name in names[:2])
        if first[0] != second[0]:
            return 0
        return int(second[1] > first[1]) - int(second[1] < first[1])

    def _where(self, name: str) -> tuple[tuple[object, ...], int]:
        """What a value is one of a sequence of, and where in it."""
        view = self._views[name]
        if view.root in self._place:
            index, k, j, r = self._place[view.root]
            return (index, j, r, *view.pattern, view.offset), self._loops[index].time(k)
        return (view.root, *view.pattern), view.offset

    def gather(self, names: Sequence[str]) -> torch.Tensor:
        """Values of one shape as one [n, …]: runs of a loop's steps and moving views as a whole."""
        pieces = [self._run(run) for run in self._stretches(names)]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def _stretches(self, names: Sequence[str]) -> Iterator[list[str]]:
        """The sequence in stretches whose place moves by the same amount each time."""
        run: list[str] = []
        pace: int | None = None
        for name in names:
            if run:
                before, here = self._where(run[-1]), self._where(name)
                moved = here[1] - before[1]
                looped = self._views[name].root in self._place
                fits = before[0] == here[0] and (abs(moved) == 1 or not looped)
                if not fits or (pace is not None and moved != pace):
                    yield run
                    run, pace = [], None
                else:
                    pace = moved
            run.append(name)
        yield run

    def _run(self, names: list[str]) -> torch.Tensor:
        view = self._views[names[0]]
        if len(names) == 1:
            return self.value(names[0]).unsqueeze(0)
        first, second = (self._where(n)[1] for n in names[:2])
        pace, count = second - first, len(names)
        if view.root in self._place:
            index, _, j, r = self._place[view.root]
            source = self._loops[index].every(self._loops[index].local(j, r))
            size = math.prod(source.shape[1:])
            start, stride, offset = first * size, pace * size, view.offset
        else:
            source, start, stride, offset = self.value(view.root), first, pace, 0
        if stride < 0:
            start += (count - 1) * stride
        shape, strides = (count, *view.shape), (abs(stride), *view.strides)
        taken = take(source, shape, strides, start + offset)
        return taken.flip(0) if stride < 0 else taken


class _Split:
    """One loop on the new tape: its values of the last step and of every step, made when asked for."""

    def __init__(self, outer: _Partition, loop: Loop) -> None:
        self._outer = outer
        self.tape = outer.tape
        self._count = loop.count
        self._graph = step_graph(loop, outer._network)
        entries = self._graph.entries
        self._makers = {n: c for c in self._graph.calls for n in binds(c)}
        varying = [e for e in entries.values() if isinstance(e, Varying)]
        directions = {outer.direction(e.names) for e in varying}
        self._reverse = -1 in directions and 1 not in directions
        self._varying = {n for n, e in entries.items() if not isinstance(e, Name)}
        for call in self._graph.calls:
            if any(n in self._varying for n in reads(call)):
                self._varying.update(binds(call))
        self._cycles = self._find_cycles()
        self._bodies: dict[int, tuple[Body, int]] = {}  # cycle → its body, its place among the statements
        self._every: dict[str, torch.Tensor] = {}
        self._last: dict[str, torch.Tensor] = {}
        self._once: dict[str, torch.Tensor] = {}

    def _find_cycles(self) -> dict[str, int]:
        """Value of the step → which cycle it is in, for those in one."""
        edges: dict[str, list[str]] = {}
        for call in self._graph.calls:
            for name in binds(call):
                edges[name] = list(reads(call))
        for name, entry in self._graph.entries.items():
            edges[name] = [entry.following] if isinstance(entry, Previous) else []
        found = (c for c in components(edges) if len(c) > 1 or next(iter(c)) in edges[next(iter(c))])
        return {name: index for index, members in enumerate(found) for name in members}

    def widen(self) -> None:
        """Without a product in any cycle, all of them are one, with the elementwise calls around them.

        Such a loop waits for memory: what it computes beside its states costs nothing there, and passes over
        whole sequences outside.
        """
        if not self._cycles or any(c.name in self._cycles and is_product(c) for c in self._graph.calls):
            return
        for around in (True, False):
            wide = self._with_elementwise(around)
            if wide is not None and self._lowers(wide):
                self._cycles = dict.fromkeys(wide, 0)
                return

    def _with_elementwise(self, around: bool) -> set[str] | None:
        """The cycles' values and those elementwise in them; if `around`, also those that no state enters.

        None where a cycle reads what another gives through calls that stay outside: they are loops apart.
        """
        graph, after = self._graph, set[str]()
        while True:
            inside = set(self._cycles)
            for call in graph.calls:
                entered = any(n in inside for n in reads(call))
                wanted = entered or (around and call.name in self._varying and call.target not in VIEWS)
                if any(n in after for n in reads(call)):
                    after.update(binds(call))
                elif wanted and lowers(call, graph.types):
                    inside.update(binds(call))
                elif entered:
                    after.update(binds(call))
            if after & set(self._cycles):
                return None
            late = {
                n for n, e in graph.entries.items()
                if isinstance(e, Previous) and n not in inside and e.following in after | inside
            }  # fmt: skip
            if late <= after:
                return inside
            after |= late

    def _lowers(self, members: set[str]) -> bool:
        """Whether the calls of some values can be the body of a recurrence."""
        try:
            lower(*self._parts(members), self._graph.types, self)
        except Declined:
            return False
        return True

    def local(self, j: int, r: int) -> str:
        return self._graph.results[j][r]

    def time(self, k: int) -> int:
        """Where the k-th step run lies in order of time."""
        return self._count - 1 - k if self._reverse else k

    def at(self, j: int, r: int, k: int) -> torch.Tensor:
        """Result r of call j at the k-th step run."""
        name = self.local(j, r)
        if name not in self._varying:
            return self.once(name)
        if k == self._count - 1 and name not in self._every:
            return self.last(name)
        return self.every(name).select(0, self.time(k))

    def varies(self, name: str) -> bool:
        return name in self._varying

    def once(self, name: str) -> torch.Tensor:
        """A value that is the same at every step."""
        if name not in self._once:
            entry = self._graph.entries.get(name)
            if isinstance(entry, Name):
                self._once[name] = self._outer.value(entry.name)
            else:
                call = self._makers[name]
                self._once.update(zip(binds(call), self.tape.run(call, self.once), strict=True))
        return self._once[name]

    def last(self, name: str) -> torch.Tensor:
        """A value at the last step run."""
        if name not in self._varying:
            return self.once(name)
        if name not in self._last:
            self._last[name] = self._make_last(name)
        return self._last[name]

    def _make_last(self, name: str) -> torch.Tensor:
        match self._graph.entries.get(name):
            case Varying(names=names):
                return self._outer.value(names[-1])
            case Counter(start=start, slope=slope):
                kind = self._graph.types[name]
                value = start + slope * (self._count - 1)
                return torch.full((), value, dtype=getattr(torch, kind.dtype))
            case Previous():
                return self.every(name).select(0, self.time(self._count - 1))
        call = self._makers[name]
        if name in self._cycles and name in self._body(name).names:
            return self._result(name, False)
        results = self.tape.run(call, self.last)
        return results[binds(call).index(name)]

    def every(self, name: str) -> torch.Tensor:
        """A value at every step, [T, …] in order of time."""
        if name not in self._every:
            self._every[name] = self._make_every(name)
        return self._every[name]

    def _make_every(self, name: str) -> torch.Tensor:
        if name not in self._varying:
            value = self.once(name)
            return value.expand(self._count, *value.shape)
        match self._graph.entries.get(name):
            case Varying(names=names):
                return self._outer.gather(names[::-1] if self._reverse else names)
            case Counter(start=start, slope=slope):
                dtype = getattr(torch, self._graph.types[name].dtype)
                if self._reverse:
                    start, slope = start + slope * (self._count - 1), -slope
                return torch.add(torch.mul(torch.arange(self._count, dtype=dtype), slope), start)
            case Previous(initial=initial, following=following):
                first, after = self._outer.value(initial).unsqueeze(0), self.every(following)
                if self._count == 1:
                    return first
                if self._reverse:
                    return torch.cat([after[1:], first])
                return torch.cat([first, after[:-1]])
        call = self._makers[name]
        if name in self._cycles and name in self._body(name).names:
            return self._result(name, True)
        return self._batched(call)[binds(call).index(name)]

    def _result(self, name: str, every_step: bool) -> torch.Tensor:
        """A result of the recurrence that a value turns in."""
        body, at = self._bodies[self._cycles[name]]
        recurrence = cast(Recurrence, self.tape.statements[at])
        shape = self._graph.types[name].shape
        source = body.names[name]
        bound = self.tape.free_name(f"{recurrence.name}_{source}_{'all' if every_step else 'last'}")
        steps = (self._count,) if every_step else ()
        width = next(item.width for item in (*body.items, *body.states) if item.name == source)
        kind = replace(self._graph.types[name], shape=(*steps, body.batch, width))
        tensor = self.tape.declare(bound, kind)
        results = (*recurrence.results, Result(bound, source, every_step))
        self.tape.statements[at] = replace(recurrence, results=results)
        return tensor if tuple(tensor.shape) == (*steps, *shape) else tensor.reshape(*steps, *shape)

    def _body(self, name: str) -> Body:
        """The recurrence of a cycle, written when first asked for."""
        index = self._cycles[name]
        if index not in self._bodies:
            calls, states = self._parts({n for n, i in self._cycles.items() if i == index})
            line = calls[0].line if calls else None
            body = lower(calls, states, self._graph.types, self)
            recurrence = Recurrence(
                self.tape.free_name("loop"),
                self._count,
                body.batch,
                self._reverse,
                tuple(body.states),
                tuple(body.streams),
                tuple(body.operands),
                tuple(body.items),
                tuple(body.following),
                (),
                line,
            )
            self._bodies[index] = (body, len(self.tape.statements))
            self.tape.append(recurrence)
        return self._bodies[index][0]

    def _parts(self, members: set[str]) -> tuple[list[Call], list[tuple[str, torch.Tensor, str]]]:
        """The calls that make some values, and the states among them, as `lower` takes them."""
        calls = [c for c in self._graph.calls if c.name in members]
        states = []
        for name, entry in self._graph.entries.items():
            if name in members and isinstance(entry, Previous):
                kind = self._graph.types[name]
                if kind.dtype != "float32":
                    raise Declined(f"a carried value of {kind.dtype}", calls[0].line if calls else None)
                states.append((name, self._outer.value(entry.initial), entry.following))
        return calls, states

    def _batched(self, call: Call) -> tuple[torch.Tensor, ...]:
        """A call on whole sequences: one operator over all steps."""
        self.tape.line = call.line
        varying = [n for n in dict.fromkeys(reads(call)) if n in self._varying]
        function = operator(call.target)
        if call.target == "aten.mm.default" and varying == [cast(Name, call.args[0]).name]:
            left, right = self.every(varying[0]), self.once(cast(Name, call.args[1]).name)
            flat = torch.mm(left.reshape(-1, left.shape[-1]), right)
            return (flat.reshape(*left.shape[:-1], right.shape[1]),)
        whole = {n: self.every(n) if n in self._varying else self.once(n) for n in reads(call)}
        self.tape.line = call.line
        if torch.Tag.pointwise in function.tags:
            rank = max(len(self._graph.types[n].shape) for n in whole)
            for n in varying:
                missing = rank - len(self._graph.types[n].shape)
                if missing:
                    whole[n] = whole[n].reshape(self._count, *[1] * missing, *whole[n].shape[1:])
            return self.tape.run(call, whole.__getitem__)
        try:
            result = torch.vmap(
                lambda *tensors: self.tape.run(
                    call,
                    dict(
                        zip(varying, tensors, strict=True),
                        **{n: t for n, t in whole.items() if n not in self._varying},
                    ).__getitem__,
                ),
            )(*(whole[n] for n in varying))
        except Exception as error:  # vmap's own refusals have no common class
            raise Declined(f"operator {call.target.split('.')[1]} has no rule", call.line) from error
        return tuple(result)
