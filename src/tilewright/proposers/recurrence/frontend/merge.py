"""Products of one left operand as one wide product and slices of it. Worker side.

A cell written with a matrix for each gate reads its state, and its input, once instead of once a gate.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import cast

from tilewright.proposers.recurrence.frontend.tape import binds, is_random, reads
from tilewright.proposers.recurrence.ir import (
    Call,
    Name,
    Network,
    Node,
    Product,
    Recurrence,
    Statement,
    Tensor,
)

PRODUCTS = ("aten.mm.default", "aten.addmm.default")


def merge_products(network: Network) -> Network:
    """The network with products of the same left operand merged, inside the loops and before them."""
    return _Merge(network).run()


class _Merge:
    def __init__(self, network: Network) -> None:
        self._network = network
        self._types = dict(network.types)
        self._readers: dict[str, list[Statement]] = defaultdict(list)
        for statement in network.statements:
            for name in reads(statement):
                self._readers[name].append(statement)
        self._made = {s.name: s for s in network.statements if isinstance(s, Call)}

    def run(self) -> Network:
        statements: list[Statement] = []
        replaced = self._wide_calls()
        for statement in self._network.statements:
            if isinstance(statement, Recurrence):
                statements += self._wide_loop(statement)
            else:
                statements += replaced.get(statement.name, [statement])
        return replace(self._network, statements=in_order(statements), types=self._types)

    def _wide_calls(self) -> dict[str, list[Statement]]:
        """What each product of a group becomes: a slice of the wide product, which the first one makes."""
        groups: dict[tuple[str, str, frozenset[str]], list[Call]] = defaultdict(list)
        for call in self._made.values():
            if call.target in PRODUCTS and self._weight(call) is not None and self._has_row_bias(call):
                left = cast(Name, call.args[-2]).name
                groups[call.target, left, self._loops_reading(call.name)].append(call)
        replaced: dict[str, list[Statement]] = {}
        for (target, left, loops), calls in groups.items():
            if len(calls) < 2 or not loops:
                continue
            first = calls[0]
            weight, making = self._joined([cast(str, self._weight(c)) for c in calls], first.line)
            width, inner = self._types[weight].shape
            across = self._new(f"{first.name}_weight", Tensor((inner, width)))
            making.append(Call(across, "aten.t.default", (Name(weight),), line=first.line))
            args: tuple[Name, ...] = (Name(left), Name(across))
            if target == "aten.addmm.default":
                bias, joining = self._joined([cast(Name, c.args[0]).name for c in calls], first.line)
                making += joining
                args = (Name(bias), *args)
            rows = self._types[first.name].shape[0]
            wide = self._new(f"{first.name}_wide", Tensor((rows, width)))
            making.append(Call(wide, target, args, line=first.line))
            start = 0
            for call in calls:
                stop = start + self._types[call.name].shape[1]
                cut = Call(call.name, "aten.slice.Tensor", (Name(wide), 1, start, stop), line=call.line)
                replaced[call.name] = [*making, cut]
                making, start = [], stop
        return replaced

    def _loops_reading(self, name: str) -> frozenset[str]:
        """The first loops that read a value, directly or through calls: two directions stay apart."""
        found: set[str] = set()
        pending = [name]
        while pending:
            for reader in self._readers[pending.pop()]:
                if isinstance(reader, Recurrence):
                    found.add(reader.name)
                else:
                    pending += binds(reader)
        return frozenset(found)

    def _weight(self, call: Call) -> str | None:
        """The [width, inner] matrix whose transpose a product reads on its right."""
        right = self._made.get(cast(Name, call.args[-1]).name)
        if right is None or right.target != "aten.t.default" or call.kwargs:
            return None
        return cast(Name, right.args[0]).name

    def _has_row_bias(self, call: Call) -> bool:
        if call.target == "aten.mm.default":
            return True
        return self._types[cast(Name, call.args[0]).name].shape == self._types[call.name].shape[1:]

    def _wide_loop(self, loop: Recurrence) -> list[Statement]:
        """A loop with the products of each left operand as one, after the calls that join their weights."""
        groups: dict[str, list[Product]] = defaultdict(list)
        for product in loop.products:
            groups[product.left].append(product)
        joining: list[Statement] = []
        body: list[Product | Node] = []
        starts: dict[str, tuple[str, int]] = {}
        for item in loop.body:
            if isinstance(item, Product) and len(groups[item.left]) > 1:
                group = groups[item.left]
                if item is group[0]:
                    weight, calls = self._joined([p.weight for p in group], loop.line)
                    joining += calls
                    name = f"{item.name}_wide"
                    body.append(Product(name, item.left, weight, sum(p.width for p in group), item.inner))
                    start = 0
                    for product in group:
                        starts[product.name] = (name, start)
                        start += product.width
                wide, start = starts[item.name]
                body.append(Node(item.name, "slice", (Name(wide), start, item.width), item.width))
            else:
                body.append(item)
        return [*joining, replace(loop, body=tuple(body))]

    def _joined(self, names: list[str], line: int | None) -> tuple[str, list[Statement]]:
        """Weights or biases one below the other."""
        kinds = [self._types[n] for n in names]
        shape = (sum(k.shape[0] for k in kinds), *kinds[0].shape[1:])
        name = self._new("weights" if len(shape) > 1 else "biases", Tensor(shape, kinds[0].dtype))
        return name, [Call(name, "aten.cat.default", (tuple(map(Name, names)), 0), line=line)]

    def _new(self, stem: str, kind: Tensor) -> str:
        count, name = 1, stem
        while name in self._types:
            count += 1
            name = f"{stem}_{count}"
        self._types[name] = kind
        return name


def in_order(statements: list[Statement]) -> tuple[Statement, ...]:
    """The statements in an order in which values are made before they are read, as little moved as possible;
    random draws keep theirs."""
    makers = {name: s for s in statements for name in binds(s)}
    placed: set[int] = set()
    ordered: list[Statement] = []

    def place(statement: Statement) -> None:
        pending = [statement]
        while pending:
            current = pending[-1]
            needs = [makers[n] for n in reads(current) if n in makers and id(makers[n]) not in placed]
            if needs and id(current) not in placed:
                pending += needs
                continue
            pending.pop()
            if id(current) not in placed:
                placed.add(id(current))
                ordered.append(current)

    for statement in statements:
        if is_random(statement):
            place(statement)
    for statement in statements:
        place(statement)
    return tuple(ordered)
