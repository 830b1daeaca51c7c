"""Layers as a wavefront: a loop that reads what the loop below it computes, step by step and not after it.

Partitioning leaves between two layers one product over the whole sequence: every step of the upper layer
waits for all steps of the lower one. Moving that product into the upper loop costs arithmetic in every
step and lets both loops run at once, the upper one a step behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tilewright.proposers.recurrence.emit.projections import Projection, binds, names_in, projections, reads
from tilewright.proposers.recurrence.emit.pytorch import is_random
from tilewright.proposers.recurrence.ir import (
    Call,
    Declined,
    Group,
    Name,
    Network,
    Node,
    Operand,
    Product,
    Recurrence,
    Statement,
    Stream,
    Tensor,
)


def fuse_layers(network: Network) -> Network:
    """The network with each product between two layers moved into the upper loop where it can be.

    A stream that is activation-free `left @ weight.T + bias`, with `left` an every-step result of a loop
    of as many steps and rows in the same direction, becomes a stream of `left`, a product and an add.
    Calls that nothing reads any more are gone. Unchanged where there is no such stream.
    """
    made_by = {p.name: p for p in projections(network)}
    owners = every_step_results(network)
    types = dict(network.types)
    statements: list[Statement] = []
    for statement in network.statements:
        if isinstance(statement, Recurrence):
            for stream in statement.streams:
                product = made_by.get(stream.value)
                lower = owners.get(product.left) if product else None
                if product and lower and not product.activation and _in_step(lower, statement):
                    weight = product.weight
                    if product.transposed:
                        weight = f"{product.weight}_rows"
                        if weight not in types:
                            types[weight] = Tensor(types[product.weight].shape[::-1])
                            statements.append(Call(weight, "aten.t.default", (Name(product.weight),)))
                    statement = _with_product(statement, stream, product, weight, types)
        statements.append(statement)
    return replace(network, statements=_live(statements, network), types=types)


def _live(statements: Sequence[Statement], network: Network) -> tuple[Statement, ...]:
    """Statements that the outputs need, and random draws, whose order is part of the result."""
    wanted = set(names_in(network.outputs))
    kept: list[Statement] = []
    for statement in reversed(statements):
        drawn = isinstance(statement, Call) and is_random(statement)
        if drawn or wanted & set(binds(statement)):
            kept.insert(0, statement)
            wanted.update(reads(statement))
    return tuple(kept)


def read_outside(network: Network, group: Group) -> frozenset[str]:
    """Values of the network that something outside a group reads."""
    others = [s for s in network.statements if s not in group.members]
    return frozenset([*(n for s in others for n in reads(s)), *names_in(network.outputs)])


def every_step_results(network: Network) -> dict[str, Recurrence]:
    """Results that hold every step, each with its loop."""
    return {
        result.name: recurrence
        for recurrence in network.recurrences
        for result in recurrence.results
        if result.every_step
    }


def _in_step(lower: Recurrence, upper: Recurrence) -> bool:
    return (lower.steps, lower.batch, lower.reverse) == (upper.steps, upper.batch, upper.reverse)


def _with_product(
    recurrence: Recurrence, stream: Stream, product: Projection, weight: str, types: Mapping[str, Tensor]
) -> Recurrence:
    """The loop with `product` computed in each step in place of the stream it gave."""
    inner = types[product.left].shape[-1]
    below = f"{stream.name}_below"
    name = f"{stream.name}_product" if product.bias else stream.name
    body: list[Product | Node] = [Product(name, below, weight, stream.width, inner)]
    operands = recurrence.operands
    if product.bias:
        bias = f"{stream.name}_bias"
        operands = (*operands, Operand(bias, product.bias, (stream.width,)))
        body.append(Node(stream.name, "add", (Name(name), Name(bias)), stream.width))
    streams = tuple(s for s in recurrence.streams if s is not stream)
    return replace(
        recurrence,
        streams=(*streams, Stream(below, inner, product.left)),
        operands=operands,
        body=(*body, *recurrence.body),
    )


def wavefronts(network: Network) -> tuple[Group, ...]:
    """Loops that follow one another step by step, joined; every other loop on its own.

    A loop that also reads, before its first step, what a lower one gives at its end stays apart.
    """
    owners = every_step_results(network)
    before = _loops_before(network)
    joined: dict[str, tuple[Recurrence, ...]] = {}
    for recurrence in network.recurrences:
        joined[recurrence.name] = (recurrence,)
        lower = [owners[s.value] for s in recurrence.streams if s.value in owners]
        below = {m.name: m for one in lower if _in_step(one, recurrence) for m in joined[one.name]}
        followed = {r.name for m in below.values() for r in m.results if r.every_step}
        streamed = {s.value for s in recurrence.streams} & followed
        at_once = {loop for name in reads(recurrence) if name not in streamed for loop in before[name]}
        if below and not at_once & set(below):
            members = (*below.values(), recurrence)
            joined |= {member.name: members for member in members}
    return tuple(Group(members) for members in dict.fromkeys(joined.values()))


def side_by_side(network: Network, groups: tuple[Group, ...]) -> tuple[Group, ...]:
    """Groups of as many steps and rows that wait for equally many others, merged: they can run at once.

    Raises:
        Declined: two groups wait for each other.
    """
    before = _loops_before(network)
    owner = {member.name: group for group in groups for member in group.members}
    depths: dict[Group, int] = {}

    def depth(group: Group, waiting: tuple[Group, ...]) -> int:
        if group in waiting:
            raise Declined("two groups of loops wait for each other")
        if group not in depths:
            own = {member.name for member in group.members}
            read = {name for member in group.members for name in reads(member)}
            above = {owner[loop] for name in read for loop in before[name] if loop not in own}
            depths[group] = 1 + max((depth(other, (*waiting, group)) for other in above), default=0)
        return depths[group]

    merged: dict[tuple[int, int, int], list[Recurrence]] = {}
    for group in groups:
        first = group.members[0]
        merged.setdefault((depth(group, ()), first.steps, first.batch), []).extend(group.members)
    return tuple(Group(tuple(members)) for members in merged.values())


def _loops_before(network: Network) -> dict[str, frozenset[str]]:
    """For every value of the network the loops that must end before it is known."""
    before: dict[str, frozenset[str]] = dict.fromkeys(network.types, frozenset())
    for statement in network.statements:
        known = frozenset(loop for name in reads(statement) for loop in before[name])
        if isinstance(statement, Recurrence):
            known |= {statement.name}
        before |= dict.fromkeys(binds(statement), known)
    return before


def depth_of(group: Group) -> int:
    """How many loops of a group follow one another: each begins a step after the one below it."""
    owners = {result.name: member for member in group.members for result in member.results}
    depth: dict[str, int] = {}
    for member in group.members:
        below = [owners[s.value].name for s in member.streams if s.value in owners]
        depth[member.name] = 1 + max((depth.get(name, 0) for name in below), default=0)
    return max(depth.values())
