"""A network, or the reason there is none, as JSON values and back."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

from tilewright.proposers.recurrence import ir

_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        ir.Name, ir.Tensor, ir.Call, ir.State, ir.Stream, ir.Operand, ir.Product, ir.Node, ir.Result,
        ir.Recurrence, ir.Network,
    )
}  # fmt: skip


def encode(value: Any) -> Any:
    """JSON values: a dataclass as {"is": its name, …}, a tuple as a list, a dict as {"is": "dict", …}.

    Floats go as hexadecimal text, which keeps every bit and also holds infinities.
    """
    if isinstance(value, float):
        return {"is": "float", "hex": value.hex()}
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {"is": "dict", "items": [[key, encode(item)] for key, item in value.items()]}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"is": type(value).__name__, **fields}
    return value


def decode(value: Any) -> Any:
    """What `encode` was given."""
    if isinstance(value, list):
        return tuple(decode(item) for item in value)
    if not isinstance(value, dict):
        return value
    match value["is"]:
        case "float":
            return float.fromhex(value["hex"])
        case "dict":
            return {key: decode(item) for key, item in value["items"]}
        case kind:
            fields = {key: decode(item) for key, item in value.items() if key != "is"}
            return _KINDS[cast(str, kind)](**fields)
