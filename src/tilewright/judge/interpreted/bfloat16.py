"""bfloat16 under Triton's interpreter, which holds such numbers as integers of their bits.

Left alone it also computes with those integers (triton 3.6 and 3.9): 1.5 * 2.0 is not 3.0, and an int8 cast
to bfloat16 becomes a pattern of bits. Here operands are widened to float32, which is exact, the
interpreter's own operation runs on those, and a result that should be bfloat16 is rounded to the nearest,
ties to even, as the device rounds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import triton.language as tl
from triton.runtime import interpreter

DROPPED_BITS = 16  # of float32's 32; bfloat16 is the upper half
QUIET_NAN = 1 << (DROPPED_BITS + 6)  # keeps a NaN one whose other bits are all dropped


def repair() -> None:
    """Let the interpreter's casts, arithmetic, comparisons, products, reductions and scans take bfloat16."""
    builder = type(interpreter.interpreter_builder)
    for name in ("binary_op", "ternary_op", "unary_op", "create_fma"):
        setattr(builder, name, _through_float32(getattr(builder, name)))
    plain_cast, plain_dot = builder.cast_impl, builder.create_dot

    def cast(self: Any, source: Any, target: Any) -> Any:
        if target.scalar == tl.bfloat16:
            return narrowed(plain_cast(self, widened(source), tl.float32))
        return plain_cast(self, widened(source), target)

    def dot(self: Any, left: Any, right: Any, *others: Any) -> Any:
        return plain_dot(self, widened(left), widened(right), *others)

    def constant(_: Any, value: float) -> Any:  # triton 3.6 has none
        return narrowed(interpreter.TensorHandle(np.array([value], dtype=np.float32), tl.float32))

    builder.cast_impl, builder.create_dot, builder.get_bf16 = cast, dot, constant
    for kind in (interpreter.ReduceOps, interpreter.ScanOps):
        kind.apply_impl = _in_float32(kind.apply_impl)


def widened(handle: Any) -> Any:
    """A bfloat16 tensor of the interpreter as float32; any other as it is."""
    if not _held_as_bits(handle):
        return handle
    bits = handle.data.astype(np.uint32) << DROPPED_BITS
    return interpreter.TensorHandle(bits.view(np.float32), tl.float32)


def narrowed(handle: Any) -> Any:
    """A float32 tensor of the interpreter as bfloat16, rounded to the nearest, ties to even."""
    bits = np.ascontiguousarray(handle.data).view(np.uint32)
    below_half = (1 << (DROPPED_BITS - 1)) - 1
    rounded = bits + below_half + ((bits >> DROPPED_BITS) & 1)
    kept = np.where(np.isnan(handle.data), bits | QUIET_NAN, rounded) >> DROPPED_BITS
    return interpreter.TensorHandle(kept.astype(np.uint16), tl.bfloat16)


def _held_as_bits(value: Any) -> bool:
    return (
        isinstance(value, interpreter.TensorHandle)
        and value.data.dtype == np.uint16
        and value.dtype.scalar == tl.bfloat16
    )


def _through_float32(operation: Callable[..., Any]) -> Callable[..., Any]:
    """An operation of the builder, whose arguments are handles and others."""

    def wrapped(self: Any, *arguments: Any) -> Any:
        if not any(map(_held_as_bits, arguments)):
            return operation(self, *arguments)
        result = operation(self, *(widened(a) if _held_as_bits(a) else a for a in arguments))
        return narrowed(result) if result.data.dtype == np.float32 else result  # a comparison gives booleans

    return wrapped


def _in_float32(operation: Callable[..., Any]) -> Callable[..., Any]:
    """A reduction or a scan of several tensors at once, which gives one for each."""

    def wrapped(self: Any, inputs: Any) -> Any:
        halves = [_held_as_bits(tensor.handle) for tensor in inputs]
        if not any(halves):
            return operation(self, inputs)
        results = operation(self, tuple(_typed(widened(t.handle), t) for t in inputs))
        results = results if isinstance(results, tuple | list) else (results,)
        return tuple(
            _typed(narrowed(result.handle), result) if half else result
            for result, half in zip(results, halves, strict=False)  # a reduction may keep the first alone
        )

    return wrapped


def _typed(handle: Any, like: Any) -> Any:
    """A tensor of the same shape as another, with the elements of a handle."""
    block = like.type.is_block()
    return tl.tensor(handle, tl.block_type(handle.dtype, like.type.shape) if block else handle.dtype)
