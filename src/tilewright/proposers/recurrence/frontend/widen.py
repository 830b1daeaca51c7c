"""A network of float16 or bfloat16 values as one of float32 values, converted where they enter and leave.

Kernels hold the values of a step in float32 registers whatever they are rounded to in memory, so the loops
compute in float32: no less exact than the reference. Worker side.
"""

from __future__ import annotations

from dataclasses import replace

from tilewright.proposers.recurrence.frontend.tape import names_in, renamed, with_reads
from tilewright.proposers.recurrence.ir import Call, Name, Network, Statement, Tensor

HALVES = ("float16", "bfloat16")
COPY = "aten._to_copy.default"


def widen(network: Network) -> Network:
    """The network with every value of half precision in float32, but inputs, parameters and outputs."""
    halves = {name: kind.dtype for name, kind in network.types.items() if kind.dtype in HALVES}
    if not halves:
        return network
    types = {
        name: Tensor(k.shape, "float32" if name in halves else k.dtype) for name, k in network.types.items()
    }
    now: dict[str, str] = {}
    statements: list[Statement] = []
    for name in (*network.inputs, *network.parameters):
        if name in halves:
            now[name] = _free(f"{name}_wide", types)
            types[name], types[now[name]] = network.types[name], types[name]
            statements.append(Call(now[name], COPY, (Name(name),), (("dtype", "float32"),)))
    for statement in network.statements:
        moved = with_reads(statement, lambda name: now.get(name, name))
        if isinstance(moved, Call):
            kwargs = tuple((k, "float32" if k == "dtype" and v in HALVES else v) for k, v in moved.kwargs)
            moved = replace(moved, kwargs=kwargs)
        statements.append(moved)
    left: dict[str, str] = {}
    for name in dict.fromkeys(names_in(network.outputs)):
        if name in halves:
            left[name] = _free(f"{name}_out", types)
            types[left[name]] = Tensor(types[name].shape, halves[name])
            source = Name(now.get(name, name))
            statements.append(Call(left[name], COPY, (source,), (("dtype", halves[name]),)))
    outputs = renamed(network.outputs, lambda name: left.get(name, name))
    return replace(network, types=types, statements=tuple(statements), outputs=outputs)


def _free(stem: str, taken: dict[str, Tensor]) -> str:
    name = stem
    while name in taken:
        name += "_"
    return name
