"""What the values of a network are called in the file."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Collection, Mapping, Sequence

from tilewright.proposers.recurrence import ops
from tilewright.proposers.recurrence.emit import assembly
from tilewright.proposers.recurrence.emit.projections import Projection
from tilewright.proposers.recurrence.emit.schedule import Launch, Step, step_binds
from tilewright.proposers.recurrence.ir import Name, Network

TAKEN = frozenset(
    {
        "self",
        "torch",
        "nn",
        "triton",
        "tl",
        "expect",
        "held",
        "project",
        "multiply",
        *ops.HELPERS,
        *assembly.HELPERS,
        *dir(builtins),
    }
)


def identifiers(
    steps: Sequence[Step], network: Network, inputs: Mapping[str, str], symbols: Collection[str]
) -> dict[str, str]:
    """A Python name for each value that is no parameter: its own where that is one and is free."""
    names = dict(inputs)
    roles = _roles(steps, network)
    functions = {step.emitted.function for step in steps if isinstance(step, Launch)}
    taken = {*TAKEN, *functions, *inputs.values(), *symbols}
    for step in steps:
        for name in step_binds(step):
            plain = re.sub(r"\W", "_", roles.get(name, name))
            if not plain.isidentifier() or keyword.iskeyword(plain):
                plain = f"v_{plain}"
            while plain in taken:
                plain += "_"
            taken.add(plain)
            names[name] = plain
    return names


def _roles(steps: Sequence[Step], network: Network) -> dict[str, str]:
    """What values are for, as names: "l0_input", "l0_h_start", "output", "output_weight"."""
    roles: dict[str, str] = {}
    if isinstance(network.outputs, Name):
        roles[network.outputs.name] = "output"
    for step in steps:
        for loop in step.group.members if isinstance(step, Launch) else ():
            for stream in loop.streams:
                roles.setdefault(stream.value, f"{loop.name}_input")
            for state in loop.states:
                roles.setdefault(state.initial, f"{loop.name}_{state.name}_start")
            for operand in loop.operands:
                roles.setdefault(
                    operand.value, f"{loop.name}_bias" if len(operand.shape) == 1 else operand.value
                )
    made = {result.name for loop in network.recurrences for result in loop.results}
    roles = {value: role for value, role in roles.items() if value not in made}
    for step in steps:
        if isinstance(step, Projection):
            role = roles.get(step.name, step.name)
            roles.setdefault(step.weight, f"{role}_weight")
            if step.bias:
                roles.setdefault(step.bias, f"{role}_bias")
    return roles
