"""Runs a network in plain PyTorch, step by step: the reference for kernels in tests. Worker side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from tilewright.proposers.recurrence.frontend.tape import binds, invoke
from tilewright.proposers.recurrence.ir import Argument, Call, Name, Network, Node, Product, Recurrence
from tilewright.proposers.recurrence.ops import OPS


def execute(network: Network, inputs: Sequence[torch.Tensor], parameters: Mapping[str, torch.Tensor]) -> Any:
    """What forward returns, computed in the dtype of the inputs.

    Args:
        inputs: forward's tensors, in order.
        parameters: by the dotted attribute of Model.
    """
    values = dict(zip(network.inputs, inputs, strict=True))
    values.update({name: parameters[dotted] for name, dotted in network.parameters.items()})
    dtype = next((t.dtype for t in values.values() if t.is_floating_point()), torch.float32)
    with torch.no_grad():
        for statement in network.statements:
            if isinstance(statement, Recurrence):
                values.update(_loop(statement, values))
                continue
            results = invoke(statement, values.__getitem__, **_wider(statement, network, dtype))
            values.update(zip(binds(statement), results, strict=True))
    return _output(network.outputs, values)


def _wider(call: Call, network: Network, dtype: torch.dtype) -> dict[str, torch.dtype]:
    """The dtype of the run where a call names float32 or half of it, or makes float32 without naming it."""
    makes = network.types[call.name].dtype == "float32" and not any(
        isinstance(a, Name) for a in _flat(call.args)
    )
    named = dict(call.kwargs).get("dtype") in ("float32", "float16", "bfloat16")
    return {"dtype": dtype} if named or makes else {}


def _flat(argument: Argument) -> list[Argument]:
    if isinstance(argument, tuple):
        return [leaf for item in argument for leaf in _flat(item)]
    return [argument]


def _loop(loop: Recurrence, values: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    state = {s.name: values[s.initial] for s in loop.states}
    fixed = {o.name: values[o.value] for o in loop.operands}
    seen: dict[str, list[torch.Tensor]] = {result.name: [] for result in loop.results}
    order = reversed(range(loop.steps)) if loop.reverse else range(loop.steps)
    for t in order:
        step = {**fixed, **state, **{s.name: values[s.value][t] for s in loop.streams}}
        for item in loop.body:
            if isinstance(item, Product):
                step[item.name] = step[item.left] @ values[item.weight].T
            else:
                step[item.name] = _node(item, step)
        state = {name: step[after] for name, after in loop.following}
        for result in loop.results:
            seen[result.name].append(state[result.source] if result.source in state else step[result.source])
    return {
        r.name: torch.stack(seen[r.name][::-1] if loop.reverse else seen[r.name])
        if r.every_step
        else seen[r.name][-1]
        for r in loop.results
    }


def _node(node: Node, step: Mapping[str, torch.Tensor]) -> torch.Tensor:
    like = next(step[a.name] for a in node.args if isinstance(a, Name))
    args: list[Any] = [step[a.name] if isinstance(a, Name) else a for a in node.args]
    match node.op:
        case "slice":
            source, first, width = args
            return source[:, first : first + width]
        case "row_mean":
            return args[0].mean(1, keepdim=True)
        case "row_var":
            return args[0].var(1, correction=0, keepdim=True)
        case "row_max":
            return args[0].amax(1, keepdim=True)
    floating = like.dtype if like.is_floating_point() else next(iter(step.values())).dtype

    def tensor(value: Any) -> torch.Tensor:
        if isinstance(value, torch.Tensor):
            return value
        return torch.tensor(value, dtype=torch.bool if isinstance(value, bool) else floating)

    result = OPS[node.op].torch(*(tensor(a) for a in args))
    return result.expand(result.shape[0], node.width) if result.shape[-1] != node.width else result


def _output(outputs: Argument, values: Mapping[str, torch.Tensor]) -> Any:
    match outputs:
        case Name(name=name):
            return values[name]
        case tuple():
            return tuple(_output(item, values) for item in outputs)
        case _:
            return outputs
