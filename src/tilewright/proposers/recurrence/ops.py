"""The elementwise operations a step may use: how each is written in Triton and in PyTorch, and its range.

Triton has no tanh or sigmoid of its own, so both are written through exp2 of a non-positive number, which
neither overflows nor gives NaN at the ends. Near zero, where 1 - exp(-2|x|) has lost tanh's digits, tanh is a
polynomial: x + x³·P(x²), P of degree 3 with the least relative error up to 1/2, 1.5e-8 (Lawson's iteration).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Operation:
    """One operation.

    Args:
        triton: an expression with the arguments in braces, "{0} + {1}".
        torch: the same in PyTorch, for the oracle.
        arguments: how many it takes.
        bound: the largest magnitude its result can have whatever the arguments, None when unbounded.
        helped: whether the expression calls the @triton.jit helper of `HELPERS` with the operation's name.
    """

    triton: str
    torch: Callable[..., torch.Tensor]
    arguments: int
    bound: float | None = None
    helped: bool = False


HELPERS = {
    "nearest_tf32": '''@triton.jit
def nearest_tf32(x):
    """x rounded to TF32's ten bits of fraction; the tensor cores would drop the others."""
    bits = x.to(tl.int32, bitcast=True)
    rounded = ((bits + 0x1000) & -0x2000).to(tl.float32, bitcast=True)
    return tl.where(x == x, rounded, x)
''',
    "sigmoid": '''@triton.jit
def sigmoid(x):
    """1 / (1 + exp(-x)); exact 0 and 1 at the ends, no overflow."""
    e = tl.exp2(-1.4426950408889634 * tl.abs(x))
    r = 1.0 / (1.0 + e)
    return tl.where(x < 0, e * r, r)
''',
    "tanh": '''@triton.jit
def tanh(x):
    """(1 - e) / (1 + e) with e = exp(-2|x|), a polynomial near 0; exact -1 and 1 at the ends."""
    square = x * x
    cubic = -0.333331436 + square * (0.13325879 + square * (-0.0530454926 + square * 0.017241491))
    e = tl.exp2(-2.885390081777927 * tl.abs(x))
    r = (1.0 - e) / (1.0 + e)
    return tl.where(tl.abs(x) < 0.5, x + x * square * cubic, tl.where(x < 0, -r, r))
''',
}

OPS: dict[str, Operation] = {
    "add": Operation("{0} + {1}", torch.add, 2),
    "sub": Operation("{0} - {1}", torch.sub, 2),
    "mul": Operation("{0} * {1}", torch.mul, 2),
    "div": Operation("{0} / {1}", torch.div, 2),
    "neg": Operation("-{0}", torch.neg, 1),
    "abs": Operation("tl.abs({0})", torch.abs, 1),
    "exp": Operation("tl.exp({0})", torch.exp, 1),
    "log": Operation("tl.log({0})", torch.log, 1),
    "sqrt": Operation("tl.sqrt({0})", torch.sqrt, 1),
    "rsqrt": Operation("tl.rsqrt({0})", torch.rsqrt, 1),
    "floor": Operation("tl.floor({0})", torch.floor, 1),
    "ceil": Operation("tl.ceil({0})", torch.ceil, 1),
    "sin": Operation("tl.sin({0})", torch.sin, 1, bound=1.0),
    "cos": Operation("tl.cos({0})", torch.cos, 1, bound=1.0),
    "erf": Operation("tl.erf({0})", torch.erf, 1, bound=1.0),
    "tanh": Operation("tanh({0})", torch.tanh, 1, bound=1.0, helped=True),
    "sigmoid": Operation("sigmoid({0})", torch.sigmoid, 1, bound=1.0, helped=True),
    "relu": Operation("tl.maximum({0}, 0.0)", torch.relu, 1),
    "maximum": Operation("tl.maximum({0}, {1})", torch.maximum, 2),
    "minimum": Operation("tl.minimum({0}, {1})", torch.minimum, 2),
    "where": Operation("tl.where({0}, {1}, {2})", torch.where, 3),
    "lt": Operation("({0} < {1})", torch.lt, 2, bound=1.0),
    "le": Operation("({0} <= {1})", torch.le, 2, bound=1.0),
    "gt": Operation("({0} > {1})", torch.gt, 2, bound=1.0),
    "ge": Operation("({0} >= {1})", torch.ge, 2, bound=1.0),
    "eq": Operation("({0} == {1})", torch.eq, 2, bound=1.0),
    "ne": Operation("({0} != {1})", torch.ne, 2, bound=1.0),
}
