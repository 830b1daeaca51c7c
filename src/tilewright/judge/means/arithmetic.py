"""Counts the arithmetic of interpreted kernels: operations on numbers, masked elements included."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from triton.runtime import interpreter

ELEMENTWISE = ("create_fadd", "create_fsub", "create_fmul", "create_fdiv")


@dataclass
class Arithmetic:
    """Operations so far: one for each element of an elementwise result and of what is reduced, two for each
    multiplication and addition of a product."""

    operations: int = 0


@contextlib.contextmanager
def counted() -> Iterator[Arithmetic]:
    """Inside the block whatever the interpreter computes is counted."""
    count, builder, reduction = (
        Arithmetic(),
        interpreter.InterpreterBuilder,
        interpreter.ReduceScanOpInterface,
    )

    def elementwise(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, *operands: Any) -> Any:
            result = original(self, *operands)
            count.operations += result.data.size
            return result

        return call

    def fused(self: Any, *operands: Any) -> Any:
        result = before["create_fma"](self, *operands)
        count.operations += 2 * result.data.size
        return result

    def product(self: Any, a: Any, b: Any, *others: Any) -> Any:
        count.operations += 2 * math.prod(a.data.shape) * b.data.shape[-1]
        return before["create_dot"](self, a, b, *others)

    def reduced(self: Any, operand: Any) -> Any:
        operands = operand if isinstance(operand, tuple) else (operand,)
        count.operations += sum(value.handle.data.size for value in operands)
        return apply(self, operand)

    before = {name: getattr(builder, name) for name in (*ELEMENTWISE, "create_fma", "create_dot")}
    apply = reduction.apply
    for name in ELEMENTWISE:
        setattr(builder, name, elementwise(before[name]))
    builder.create_fma, builder.create_dot, reduction.apply = fused, product, reduced
    try:
        yield count
    finally:
        for name, original in before.items():
            setattr(builder, name, original)
        reduction.apply = apply
