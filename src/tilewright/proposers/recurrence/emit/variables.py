"""Names for the values of a step that a kernel's own variables leave free."""

from __future__ import annotations

import keyword
import re
from dataclasses import replace

from tilewright.proposers.recurrence import ir, ops
from tilewright.proposers.recurrence.emit import assembly

_OWN_WORDS = {
    *("step", "pair", "now", "ahead", "before", "warp", "column", "read", "across", "range"),
    *("accumulator", "left", "right", "plain", "tl", "gl", "mma_v2"),
}
_OWN_FORMS = re.compile(
    r"(row|like)\d+(_\w+)?|left_(row|at)\d+"
    r"|\w+_(all|start|given|at|packed|out|ahead|off|[tbw])|\w+_weight\d*_\w+|\w+_b?float16(_\w+)?|\w+_\d+_\d+"
)


def renamed(member: ir.Recurrence) -> ir.Recurrence:
    """The same loop, each value named by an identifier of its own that kernels use for nothing else."""
    names: dict[str, str] = {}
    taken = _OWN_WORDS | ops.HELPERS.keys() | assembly.HELPERS.keys() | set(keyword.kwlist)
    for item in (*member.states, *member.streams, *member.operands, *member.body):
        name = re.sub(r"\W", "_", item.name)
        if not name.isidentifier() or _OWN_FORMS.fullmatch(name):
            name = f"value_{name}_"
        while name in taken:
            name += "_"
        taken = taken | {name}
        names[item.name] = name

    def argument(value: object) -> object:
        return ir.Name(names[value.name]) if isinstance(value, ir.Name) else value

    def body(item: ir.Product | ir.Node) -> ir.Product | ir.Node:
        if isinstance(item, ir.Product):
            return replace(item, name=names[item.name], left=names[item.left])
        return replace(item, name=names[item.name], args=tuple(map(argument, item.args)))  # type: ignore[arg-type]

    return replace(
        member,
        states=tuple(replace(state, name=names[state.name]) for state in member.states),
        streams=tuple(replace(stream, name=names[stream.name]) for stream in member.streams),
        operands=tuple(replace(operand, name=names[operand.name]) for operand in member.operands),
        body=tuple(map(body, member.body)),
        following=tuple((names[state], names[source]) for state, source in member.following),
        results=tuple(replace(result, source=names[result.source]) for result in member.results),
    )
