"""Slices of columns moved before the elementwise operations whose results they cut.

A gate of an LSTM is often written as a slice of product + stream. Cut before the sum, each gate is
a product of its own rows of the weight, and no value has to change the threads that hold it.
"""

from __future__ import annotations

from dataclasses import replace

from tilewright.proposers.recurrence import ir
from tilewright.proposers.recurrence.ops import OPS


def sink_slices(member: ir.Recurrence) -> ir.Recurrence:
    """The same loop with slices of nothing but states, streams, operands, products and reductions."""
    nodes = {node.name: node for node in member.nodes}
    widths = {item.name: item.width for item in (*member.states, *member.streams, *member.body)}
    widths |= {operand.name: operand.shape[-1] for operand in member.operands if operand.shape}
    taken = {*widths, *(operand.name for operand in member.operands)}
    body: list[ir.Product | ir.Node] = []
    made: dict[tuple[str, int, int], str] = {}

    def cut(source: str, first: int, width: int, name: str | None = None) -> str:
        """The value that holds these columns of another; a node of the given name if there is one."""
        if name is None:
            if widths.get(source, 1) == 1 or (first, width) == (0, widths[source]):
                return source
            if (source, first, width) in made:
                return made[source, first, width]
            name = f"{source}_from{first}"
            while name in taken:
                name += "_"
            taken.add(name)
        node = nodes.get(source)
        if node is not None and node.op == "slice":
            inner, start, _ = node.args
            assert isinstance(inner, ir.Name)
            if isinstance(start, int):
                return cut(inner.name, start + first, width, name)
        if node is not None and node.op in OPS and width > 1:  # one column is picked where it lies
            args = tuple(
                ir.Name(cut(a.name, first, width)) if isinstance(a, ir.Name) else a for a in node.args
            )
            body.append(ir.Node(name, node.op, args, width))
        else:
            body.append(ir.Node(name, "slice", (ir.Name(source), first, width), width))
        made[source, first, width] = name
        return name

    for item in member.body:
        if isinstance(item, ir.Node) and item.op == "slice":
            source, first, width = item.args
            assert isinstance(source, ir.Name)
            cut(source.name, int(first), int(width), item.name)  # type: ignore[arg-type]
        else:
            body.append(item)
    return replace(member, body=tuple(_read(member, body)))


def _read(member: ir.Recurrence, body: list[ir.Product | ir.Node]) -> list[ir.Product | ir.Node]:
    """What is read by another item, becomes a state or leaves the loop."""
    wanted = {source for _, source in member.following} | {result.source for result in member.results}
    kept: list[ir.Product | ir.Node] = []
    for item in reversed(body):
        if item.name in wanted:
            kept.append(item)
            if isinstance(item, ir.Product):
                wanted.add(item.left)
            else:
                wanted |= {argument.name for argument in item.args if isinstance(argument, ir.Name)}
    return kept[::-1]
