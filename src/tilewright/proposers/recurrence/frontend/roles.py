"""Names by role for the values of loops that were traced: "h_next" in place of "tanh_2". Worker side.

A trace calls a value after its operator. What it is for follows from where it stands: a state after the
input it starts from, a product after its parameter and its operand, a sum with a product "preactivation", or
"gates" where columns are taken from it. Loops that `expand` wrote have such names from the start.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from tilewright.proposers.recurrence.frontend.tape import binds
from tilewright.proposers.recurrence.ir import (
    Argument,
    Call,
    Name,
    Network,
    Node,
    Product,
    Recurrence,
    Statement,
)

TRACED_STATE = re.compile(r"state(_\d+)?")
START = re.compile(r"^(initial|init|previous|prev)_|_?(0|initial|init|start|prev)$")


def name_by_role(network: Network) -> Network:
    """The network with the values of its traced loops, and the sequences they read and give, renamed."""
    made = {name: s for s in network.statements if isinstance(s, Call) for name in binds(s)}
    inside: dict[str, dict[str, str]] = {}
    outside: dict[str, str] = {}
    taken = set(network.types)
    for loop in network.recurrences:
        if not all(TRACED_STATE.fullmatch(state.name) for state in loop.states):
            continue
        names = inside[loop.name] = _Roles(loop, network, made).names
        following = {source: state for state, source in loop.following}
        wanted = {s.value: f"{loop.name}_{names[s.name]}" for s in loop.streams if s.value in made}
        for result in loop.results:
            state = names[following.get(result.source, result.source)]
            wanted[result.name] = f"{loop.name}_{state}_{'all' if result.every_step else 'last'}"
        for old, new in wanted.items():
            if old not in outside:
                outside[old] = _free(new, taken)
                taken.add(outside[old])
    statements = tuple(_statement(s, outside, inside) for s in network.statements)
    types = {outside.get(name, name): kind for name, kind in network.types.items()}
    outputs = _argument(network.outputs, outside)
    return replace(network, statements=statements, types=types, outputs=outputs)


class _Roles:
    """The names of one loop's values."""

    def __init__(self, loop: Recurrence, network: Network, made: Mapping[str, Call]) -> None:
        self.network, self.made = network, made
        self.names: dict[str, str] = {}
        self.taken = {item.name for item in (*loop.states, *loop.streams, *loop.operands, *loop.body)}
        for state in loop.states:
            stem = START.sub("", state.initial) if state.initial in network.inputs else ""
            self._call(state.name, stem or state.name)
        for stream in loop.streams:
            owner = self._owner(stream.value)
            given = stream.value if stream.value in network.inputs else None
            self._call(stream.name, f"{given}_step" if given else f"{owner}_input" if owner else stream.name)
        for operand in loop.operands:
            self._call(operand.name, network.parameters.get(operand.value, operand.name).replace(".", "_"))
        following = {source: state for state, source in loop.following}
        for item in loop.body:
            if item.name in following and item.name not in self.names:
                self._call(item.name, f"{self.names[following[item.name]]}_next")
        sliced = {n.args[0].name for n in loop.nodes if n.op == "slice" and isinstance(n.args[0], Name)}
        self.sums: set[str] = set()  # products, and sums with one
        for item in loop.body:
            if item.name not in self.names:
                self._call(
                    item.name, self._product(item) if isinstance(item, Product) else self._node(item, sliced)
                )
            if isinstance(item, Product) or self._adds(item):
                self.sums.add(item.name)

    def _call(self, name: str, wanted: str) -> None:
        plain = re.sub(r"\W", "_", wanted)
        self.names[name] = plain if plain == name else _free(plain, self.taken)
        self.taken.add(self.names[name])

    def _product(self, product: Product) -> str:
        owner = self._owner(product.weight)
        return f"{owner}_{self.names[product.left]}" if owner else product.name

    def _node(self, node: Node, sliced: set[str]) -> str:
        if self._adds(node):
            return "gates" if node.name in sliced else "preactivation"
        match node.op, node.args:
            case "slice", (Name(name=source), int(first), _) if source in self.sums:
                return f"gate_{first // node.width}"
            case _:
                pass
        return node.name

    def _adds(self, node: Product | Node) -> bool:
        return isinstance(node, Node) and node.op == "add" and any(
            isinstance(argument, Name) and argument.name in self.sums for argument in node.args
        )  # fmt: skip

    def _owner(self, value: str) -> str | None:
        """The module whose weight a value is, or is the product with: "i2h" of "i2h.weight"."""
        call = self.made.get(value)
        if value in self.network.parameters:
            dotted = self.network.parameters[value].removesuffix(".weight")
            return dotted.replace(".", "_") if len(self.network.types[value].shape) == 2 else None
        if call is None:
            return None
        read = [a.name for a in call.args if isinstance(a, Name)]
        owners = [owner for name in read if (owner := self._owner(name))]
        return owners[0] if len(set(owners)) == 1 else None


def _free(wanted: str, taken: set[str]) -> str:
    name, count = wanted, 1
    while name in taken:
        count += 1
        name = f"{wanted}_{count}"
    return name


def _argument(value: Argument, names: Mapping[str, str]) -> Argument:
    if isinstance(value, Name):
        return Name(names.get(value.name, value.name))
    return tuple(_argument(item, names) for item in value) if isinstance(value, tuple) else value


def _statement(
    statement: Statement, outside: Mapping[str, str], inside: Mapping[str, Mapping[str, str]]
) -> Statement:
    if isinstance(statement, Call):
        return replace(
            statement,
            name=outside.get(statement.name, statement.name),
            more=tuple(outside.get(name, name) for name in statement.more),
            args=tuple(_argument(a, outside) for a in statement.args),
            kwargs=tuple((key, _argument(a, outside)) for key, a in statement.kwargs),
        )
    own = inside.get(statement.name, {})

    def there(name: str) -> str:
        return outside.get(name, name)

    def here(name: str) -> str:
        return own.get(name, name)

    def item(entry: Product | Node) -> Product | Node:
        if isinstance(entry, Product):
            return replace(entry, name=here(entry.name), left=here(entry.left), weight=there(entry.weight))
        args = tuple(Name(here(a.name)) if isinstance(a, Name) else a for a in entry.args)
        return replace(entry, name=here(entry.name), args=args)

    return replace(
        statement,
        states=tuple(replace(s, name=here(s.name), initial=there(s.initial)) for s in statement.states),
        streams=tuple(replace(s, name=here(s.name), value=there(s.value)) for s in statement.streams),
        operands=tuple(replace(o, name=here(o.name), value=there(o.value)) for o in statement.operands),
        body=tuple(item(entry) for entry in statement.body),
        following=tuple((here(state), here(source)) for state, source in statement.following),
        results=tuple(replace(r, name=there(r.name), source=here(r.source)) for r in statement.results),
    )
