"""Finds the matrix products of a network that run over a whole sequence at once: left @ weight.T + bias.

A product over [T, B, inner] arrives as a chain: a view to [T*B, inner], the product, a view back, and
perhaps an activation. `Projection` is that chain as one value.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from tilewright.proposers.recurrence.ir import Argument, Call, Name, Network, Recurrence, Statement

VIEWS = frozenset({
    "aten.view.default", "aten._unsafe_view.default", "aten.reshape.default", "aten.clone.default",
    "aten.contiguous.default",
})  # fmt: skip
TRANSPOSES = frozenset(
    {"aten.t.default", "aten.transpose.int", "aten.permute.default", "aten.numpy_T.default"}
)
ACTIVATIONS = {"aten.tanh.default": "tanh", "aten.sigmoid.default": "sigmoid", "aten.relu.default": "relu"}


@dataclass(frozen=True)
class Projection:
    """result = activation(left @ weight.T + bias).

    Args:
        name: the value it gives, [..., width]; left: [..., inner], the same leading sizes, two or three
            dimensions in all.
        weight: [width, inner], or [inner, width] when `transposed`.
        bias: [width].
        activation: "tanh", "sigmoid" or "relu".
        covers: names of the calls that it stands for.
    """

    name: str
    left: str
    weight: str
    transposed: bool
    bias: str | None
    activation: str | None
    covers: frozenset[str]
    line: int | None = None


def names_in(argument: Argument) -> Iterator[str]:
    """Every name that an argument refers to."""
    match argument:
        case Name(name=name):
            yield name
        case tuple():
            for item in argument:
                yield from names_in(item)
        case _:
            pass


def reads(statement: Statement) -> list[str]:
    """Every value of the network that a statement reads."""
    if isinstance(statement, Recurrence):
        return [
            *(state.initial for state in statement.states),
            *(stream.value for stream in statement.streams),
            *(operand.value for operand in statement.operands),
            *(product.weight for product in statement.products),
        ]
    values = [*statement.args, *(value for _, value in statement.kwargs)]
    return [name for value in values for name in names_in(value)]


def binds(statement: Statement) -> tuple[str, ...]:
    """Every value of the network that a statement gives."""
    if isinstance(statement, Recurrence):
        return tuple(result.name for result in statement.results)
    return (statement.name, *statement.more)


def uses_of(network: Network) -> Counter[str]:
    """How often each value is read, by statements and as an output."""
    uses = Counter(name for statement in network.statements for name in reads(statement))
    uses.update(names_in(network.outputs))
    return uses


def projections(network: Network) -> tuple[Projection, ...]:
    """The products over sequences of a recurrence's steps and rows, in the order of their calls."""
    rows = {recurrence.steps * recurrence.batch for recurrence in network.recurrences}
    finder = Finder(network)
    found = [finder.match(call) for call in network.statements if isinstance(call, Call)]
    return tuple(p for p in found if p and math.prod(network.types[p.left].shape[:-1]) in rows)


class Finder:
    """Matches the chains of one network; `made_by` has the call that makes each value."""

    def __init__(self, network: Network) -> None:
        calls = [s for s in network.statements if isinstance(s, Call)]
        self.types = network.types
        self.made_by = {call.name: call for call in calls}
        self.uses = uses_of(network)
        self.read_by: dict[str, Call] = {name: call for call in calls for name in reads(call)}

    def match(self, call: Call) -> Projection | None:
        match call.target, call.args:
            case "aten.mm.default", (Name(name=left), Name(name=right)):
                bias, transposed = None, True
            case "aten.addmm.default", (Name(name=added), Name(name=left), Name(name=right)) if (
                not call.kwargs
            ):
                bias, transposed = added, True
            case "aten.linear.default", (Name(name=left), Name(name=right)):
                transposed = False
            case "aten.linear.default", (Name(name=left), Name(name=right), Name(name=added)):
                bias, transposed = added, False
            case _:
                return None
        weight = self.types[right].shape
        if len(weight) != 2 or len(self.types[left].shape) < 2:
            return None
        if bias is not None and self.types[bias].shape != (weight[1 if transposed else 0],):
            return None
        if any(self.types[name].dtype != "float32" for name in (left, right)):
            return None
        covers = {call.name}
        turned = self.made_by.get(right)
        if transposed and turned is not None and turned.target in TRANSPOSES:
            source = turned.args[0]
            if isinstance(source, Name) and self.types[source.name].shape == weight[::-1]:
                right, transposed = source.name, False
        left = self._before_views(left)
        name = call.name
        name, bias = self._biased(name, bias, covers)
        name = self._after_views(name, self.types[left].shape[:-1], covers)
        if self.types[name].shape[:-1] != self.types[left].shape[:-1]:
            left = self._flat(call, left)
        name, bias = self._biased(name, bias, covers)
        name, activation = self._activated(self._same_shape(name, covers), covers)
        name = self._same_shape(name, covers)
        if self.types[name].shape[:-1] != self.types[left].shape[:-1]:
            return None
        return Projection(name, left, right, transposed, bias, activation, frozenset(covers), call.line)

    def _before_views(self, name: str) -> str:
        """The value that a chain of views to [rows, inner] begins with, of three dimensions at most."""
        best = name
        while (call := self.made_by.get(name)) is not None and call.target in VIEWS:
            source = call.args[0]
            if (
                not isinstance(source, Name)
                or self.types[source.name].shape[-1:] != self.types[name].shape[-1:]
            ):
                break
            name = source.name
            if len(self.types[name].shape) in (2, 3):
                best = name
        return best

    def _flat(self, call: Call, left: str) -> str:
        """The product's own left operand, where its result is not viewed back into the sequence's shape."""
        names = list(names_in(call.args))
        return names[1] if call.target == "aten.addmm.default" else names[0]

    def _after_views(self, name: str, leading: tuple[int, ...], covers: set[str]) -> str:
        """The value that the product's result is viewed as, where that restores the leading sizes."""
        while self.types[name].shape[:-1] != leading and (call := self._only_reader(name)) is not None:
            if call.target not in VIEWS or self.types[call.name].shape[-1:] != self.types[name].shape[-1:]:
                break
            covers.add(call.name)
            name = call.name
        return name

    def _same_shape(self, name: str, covers: set[str]) -> str:
        """The value after views that change nothing."""
        while (call := self._only_reader(name)) is not None and call.target in VIEWS:
            if self.types[call.name].shape != self.types[name].shape:
                break
            covers.add(call.name)
            name = call.name
        return name

    def _biased(self, name: str, bias: str | None, covers: set[str]) -> tuple[str, str | None]:
        call = self._only_reader(name)
        if bias is None and call is not None and call.target == "aten.add.Tensor" and not call.kwargs:
            others = [a.name for a in call.args if isinstance(a, Name) and a.name != name]
            if len(others) == 1 and self.types[others[0]].shape == self.types[name].shape[-1:]:
                covers.add(call.name)
                return call.name, others[0]
        return name, bias

    def _activated(self, name: str, covers: set[str]) -> tuple[str, str | None]:
        call = self._only_reader(name)
        if call is not None and call.target in ACTIVATIONS:
            covers.add(call.name)
            return call.name, ACTIVATIONS[call.target]
        return name, None

    def _only_reader(self, name: str) -> Call | None:
        return self.read_by.get(name) if self.uses[name] == 1 else None
