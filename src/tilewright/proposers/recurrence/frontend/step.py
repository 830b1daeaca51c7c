"""One step of a loop as calls of its own, in the shape that splitting needs. Worker side.

Products are single matrix products (a bias is added after, a concatenated left operand is a sum of
products), and in a sum what no state enters is added first, so that it can leave the loop.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import torch

from tilewright.proposers.recurrence.frontend import reroll
from tilewright.proposers.recurrence.frontend.reroll import Carried, Counter, Local, Loop, Varying
from tilewright.proposers.recurrence.frontend.tape import Tape, binds, invoke, operator, reads
from tilewright.proposers.recurrence.frontend.views import take
from tilewright.proposers.recurrence.ir import Call, Declined, Name, Network, Tensor


@dataclass(frozen=True)
class Previous:
    """A state: its first value, by its name in the network, and the value of the step that it becomes."""

    initial: str
    following: str


@dataclass
class Graph:
    """One step.

    Args:
        calls: in order. types: of every value of the step.
        entries: values that no call makes: a `Previous`, a `Varying`, a `Counter`, or the `Name` of a
            value of the network.
        results: for each call of the loop's body, what each of its results is called here.
    """

    calls: list[Call] = field(default_factory=list)
    types: dict[str, Tensor] = field(default_factory=dict)
    entries: dict[str, Previous | Varying | Counter | Name] = field(default_factory=dict)
    results: list[tuple[str, ...]] = field(default_factory=list)


def step_graph(loop: Loop, network: Network) -> Graph:
    """The calls of one step of a loop.

    Raises:
        Declined: a number that changes from step to step goes to an operator that wants a constant.
    """
    graph = _Builder(loop, network).build()
    return _sums_apart(graph)


class _Builder:
    def __init__(self, loop: Loop, network: Network) -> None:
        self._loop = loop
        self._types = network.types
        self._tape = Tape()
        self._entries: dict[object, str] = {}
        self._graph = Graph()
        self._local: list[tuple[torch.Tensor, ...]] = []
        self._taken: dict[Local, torch.Tensor] = {}
        self._pending: list[tuple[str, str, Local | str]] = []  # state, initial, what it becomes

    def build(self) -> Graph:
        tape = self._tape
        with tape.recording():
            for step in self._loop.body:
                tape.line = step.line
                self._local.append(self._run(step))
            previous = [
                (state, initial, after if isinstance(after, str) else tape.name_of(self._take(after)))
                for state, initial, after in self._pending
            ]
        graph = self._graph
        for state, initial, after in previous:
            graph.entries[state] = Previous(initial, after)
        graph.calls = [c for c in tape.statements if isinstance(c, Call)]
        graph.types = tape.types
        graph.results = [tuple(tape.name_of(t) for t in results) for results in self._local]
        return graph

    def _run(self, step: reroll.Step) -> tuple[torch.Tensor, ...]:
        counted = any(isinstance(o, Counter) for o in _operands((step.args, *(v for _, v in step.kwargs))))
        args = [self._there(a) for a in step.args]
        kwargs = {key: self._there(value) for key, value in step.kwargs}
        if isinstance(kwargs.get("dtype"), str):
            kwargs["dtype"] = getattr(torch, kwargs["dtype"])
        kind = step.target.split(".")[1]
        if counted:
            try:  # the overload that takes a tensor where this one takes a number
                result = getattr(torch.ops.aten, kind)(*args, **kwargs)
            except RuntimeError as error:
                reason = f"operator {kind} takes another number at every step"
                raise Declined(reason, step.line) from error
        elif kind in SPLIT and not kwargs:
            result = SPLIT[kind](self, *args)
        else:
            result = operator(step.target)(*args, **kwargs)
        return tuple(result) if isinstance(result, tuple | list) else (result,)

    def _there(self, operand: reroll.Operand) -> Any:
        match operand:
            case Local():
                return self._take(operand)
            case Carried():
                return self._state(operand)
            case Name(name=name):
                return self._entry(operand, self._types[name])
            case Varying(names=names):
                return self._entry(operand, self._types[names[0]])
            case Counter(start=start, slope=slope):
                whole = isinstance(start, int) and isinstance(slope, int)
                return self._entry(operand, Tensor((), "int64" if whole else "float32"))
            case tuple():
                return [self._there(item) for item in operand]
            case _:
                return operand

    def _take(self, local: Local) -> torch.Tensor:
        if local not in self._taken:
            result = self._local[local.call][local.result]
            self._taken[local] = take(result, local.shape, local.strides, local.offset)
        return self._taken[local]

    def _entry(self, operand: Name | Varying | Counter, kind: Tensor) -> torch.Tensor:
        name = self._entries.get(operand)
        if name is None:
            name = self._entries[operand] = self._tape.free_name(
                operand.name if isinstance(operand, Name) else "input"
            )
            self._tape.declare(name, kind)
            self._graph.entries[name] = operand
        return self._tape[name]

    def _state(self, carried: Carried) -> torch.Tensor:
        """The value `lag` steps back, through that many states."""
        after: Local | str = carried.source
        for back in range(1, carried.lag + 1):
            initial = carried.initials[carried.lag - back]
            key = (carried.source, back, initial, after)
            if key not in self._entries:
                name = self._tape.free_name("state")
                self._tape.declare(name, self._types[initial])
                self._pending.append((name, initial, after))
                self._entries[key] = name
            after = self._entries[key]
        assert isinstance(after, str)
        return self._tape[after]

    def addmm(self, bias: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return torch.add(self.mm(left, right), bias)

    def mm(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """left @ right; of a left operand put together from columns, the sum of the parts' products."""
        made = next(
            (c for c in self._tape.statements if isinstance(c, Call) and c.name == self._tape.name_of(left)),
            None,
        )
        if made is None or made.target != "aten.cat.default" or made.args[1] != 1:
            return torch.mm(left, right)
        parts = [self._tape[part.name] for part in cast("tuple[Name, ...]", made.args[0])]
        start, total = 0, None
        for part in parts:
            rows = torch.ops.aten.slice.Tensor(right, 0, start, start + part.shape[1])
            product = torch.mm(part, rows)
            total = product if total is None else torch.add(total, product)
            start += part.shape[1]
        assert total is not None
        return total

    def bmm(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        if left.shape[0] != 1:
            return torch.bmm(left, right)
        return self.mm(left.select(0, 0), right.select(0, 0)).unsqueeze(0)

    def mv(self, matrix: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
        return self.mm(vector.unsqueeze(0), matrix.t()).select(0, 0)


SPLIT: dict[str, Callable[..., torch.Tensor]] = {
    "addmm": _Builder.addmm,
    "mm": _Builder.mm,
    "bmm": _Builder.bmm,
    "mv": _Builder.mv,
}


def _operands(operand: reroll.Operand) -> Iterator[reroll.Operand]:
    if isinstance(operand, tuple):
        for item in operand:
            yield from _operands(item)
    else:
        yield operand


def _sums_apart(graph: Graph) -> Graph:
    """The same step with every sum ordered: first the terms that no state enters, then the others."""
    stateful = {name for name, entry in graph.entries.items() if isinstance(entry, Previous)}
    varying = {name for name, entry in graph.entries.items() if not isinstance(entry, Name)}
    for call in graph.calls:
        for group in (stateful, varying):
            if any(name in group for name in reads(call)):
                group.update(binds(call))
    uses = Tally(name for call in graph.calls for name in reads(call))
    uses.update(n for results in graph.results for n in results)
    uses.update(e.following for e in graph.entries.values() if isinstance(e, Previous))
    made = {call.name: call for call in graph.calls if _is_sum(call)}
    # A sum that only another sum reads; the body's own results count as one use each.
    inner = {
        name
        for call in made.values()
        for name in reads(call)
        if name in made and uses[name] <= 2 and graph.types[name].dtype == graph.types[call.name].dtype
        and all(e.following != name for e in graph.entries.values() if isinstance(e, Previous))
    }  # fmt: skip

    def leaves(name: str) -> Iterator[str]:
        for read in reads(made[name]):
            if read in inner:
                yield from leaves(read)
            else:
                yield read

    tape = Tape()
    for name in graph.entries:
        tape.declare(name, graph.types[name])
    now = {name: tape[name] for name in graph.entries}
    with tape.recording():
        for call in graph.calls:
            tape.line = call.line
            terms = list(leaves(call.name)) if call.name in made else []
            free = [t for t in terms if t not in stateful]
            bound = [t for t in terms if t in stateful]
            if bound and len(free) > 1:
                free.sort(key=lambda t: t in varying)  # the sum of two biases is one bias
                total = _sum([now[t] for t in free])
                now[call.name] = _sum([*(now[t] for t in bound), total])
            else:
                now.update(zip(binds(call), invoke(call, now.__getitem__), strict=True))
    entries = {
        name: Previous(e.initial, tape.name_of(now[e.following])) if isinstance(e, Previous) else e
        for name, e in graph.entries.items()
    }
    calls = [c for c in tape.statements if isinstance(c, Call)]
    results = [tuple(tape.name_of(now[n]) for n in names) for names in graph.results]
    return Graph(calls, tape.types, entries, results)


def _is_sum(call: Call) -> bool:
    return (
        call.target == "aten.add.Tensor" and not call.kwargs and all(isinstance(a, Name) for a in call.args)
    )


def _sum(terms: list[torch.Tensor]) -> torch.Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = torch.add(total, term)
    return total
