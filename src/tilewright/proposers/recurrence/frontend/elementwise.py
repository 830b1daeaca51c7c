"""What an elementwise PyTorch operator is in the operations of `ops.OPS`.

Each rule takes a `Writer` and the operator's arguments, values and numbers, in PyTorch's order, and
writes nodes. The formulas are those of the operators' documentation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias


@dataclass(frozen=True)
class Value:
    """A value of one step: its name, its columns, and whether it holds truth values."""

    name: str
    width: int
    boolean: bool = False


Number: TypeAlias = float | int | bool
Term: TypeAlias = "Value | Number"


class Writer(Protocol):
    def __call__(self, op: str, *args: Term) -> Value:
        """Write one node; one argument at least is a value."""
        ...


def truth(w: Writer, x: Term) -> Term:
    """A value as a condition."""
    return x if isinstance(x, bool) or (isinstance(x, Value) and x.boolean) else w("ne", x, 0.0)


def number(w: Writer, x: Term) -> Term:
    """A value as a number: 1 where a condition holds."""
    return w("where", x, 1.0, 0.0) if isinstance(x, Value) and x.boolean else x


def _power(w: Writer, x: Term, exponent: Term) -> Term:
    if not isinstance(exponent, int | float):
        raise NotImplementedError
    if exponent in (0.5, -0.5):
        return w("sqrt" if exponent > 0 else "rsqrt", x)
    if exponent != int(exponent) or abs(exponent) > 16:
        raise NotImplementedError
    result: Term = 1.0
    square, left = x, abs(int(exponent))
    while left:
        if left % 2:
            result = square if result == 1.0 else w("mul", result, square)
        left //= 2
        if left:
            square = w("mul", square, square)
    return w("div", 1.0, result) if exponent < 0 else result


def _log1p_up_to_1(w: Writer, x: Term) -> Term:
    """log(y) · x / (y − 1) of y = 1 + x as it was rounded, which keeps the digits near zero."""
    y = w("add", 1.0, x)
    kept = w("div", w("mul", w("log", y), x), w("sub", y, 1.0))
    return w("where", w("eq", y, 1.0), x, kept)


def _log1p(w: Writer, x: Term) -> Term:
    return w("where", w("gt", x, 1.0), w("log", w("add", 1.0, x)), _log1p_up_to_1(w, x))


def _expm1_up_to_1(w: Writer, x: Term) -> Term:
    """2 tanh(x/2) / (1 − tanh(x/2)), which keeps the digits near zero."""
    half = w("tanh", w("mul", x, 0.5))
    return w("div", w("mul", 2.0, half), w("sub", 1.0, half))


def _expm1(w: Writer, x: Term) -> Term:
    return w("where", w("gt", x, 1.0), w("sub", w("exp", x), 1.0), _expm1_up_to_1(w, x))


def _tail(w: Writer, x: Term) -> Term:
    """log(1 + exp(−|x|))."""
    return _log1p_up_to_1(w, w("exp", w("neg", w("abs", x))))


def _softplus(w: Writer, x: Term, beta: Number = 1, threshold: Number = 20) -> Term:
    """log(1 + exp(beta·x)) / beta as max(y, 0) + log(1 + exp(-|y|)), and x itself above the threshold."""
    y = x if beta == 1 else w("mul", x, beta)
    soft = w("add", w("relu", y), _tail(w, y))
    return w("where", w("gt", y, threshold), x, soft if beta == 1 else w("div", soft, beta))


def _gelu(w: Writer, x: Term, approximate: str = "none") -> Term:
    if approximate == "none":
        phi = w("add", 1.0, w("erf", w("mul", x, 1 / math.sqrt(2))))
    else:
        cubic = w("add", x, w("mul", 0.044715, _power(w, x, 3)))
        phi = w("add", 1.0, w("tanh", w("mul", math.sqrt(2 / math.pi), cubic)))
    return w("mul", w("mul", 0.5, x), phi)


def _elu(w: Writer, x: Term, alpha: Number = 1, scale: Number = 1, input_scale: Number = 1) -> Term:
    """The exponential of a non-positive number only, so that nothing overflows."""
    low = w("minimum", x if input_scale == 1 else w("mul", x, input_scale), 0.0)
    below = w("mul", alpha, _expm1_up_to_1(w, low))
    result = w("where", w("gt", x, 0.0), x, below)
    return result if scale == 1 else w("mul", result, scale)


def _clamp(w: Writer, x: Term, low: Term | None = None, high: Term | None = None) -> Term:
    if low is not None:
        x = w("maximum", x, low)
    return x if high is None else w("minimum", x, high)


def _scaled(w: Writer, x: Term, factor: Number) -> Term:
    return x if factor == 1 else w("mul", x, factor)


def _div(w: Writer, x: Term, y: Term, rounding_mode: str | None = None) -> Term:
    if rounding_mode is not None:
        raise NotImplementedError
    return w("div", x, y)


def _lerp(w: Writer, start: Term, end: Term, weight: Term) -> Term:
    return w("add", start, w("mul", weight, w("sub", end, start)))


def _sign(w: Writer, x: Term) -> Term:
    return w("where", w("gt", x, 0.0), 1.0, w("where", w("lt", x, 0.0), -1.0, 0.0))


def _log_sigmoid(w: Writer, x: Term) -> Term:
    return w("sub", w("minimum", x, 0.0), _tail(w, x))


def _hardsigmoid(w: Writer, x: Term) -> Term:
    return w("div", _clamp(w, w("add", x, 3.0), 0.0, 6.0), 6.0)


def _both(w: Writer, x: Term, y: Term) -> Term:
    return w("ne", w("mul", number(w, truth(w, x)), number(w, truth(w, y))), 0.0)


def _either(w: Writer, x: Term, y: Term) -> Term:
    return w("ne", w("add", number(w, truth(w, x)), number(w, truth(w, y))), 0.0)


def _not(w: Writer, x: Term) -> Term:
    return w("eq", number(w, truth(w, x)), 0.0)


def _trunc(w: Writer, x: Term) -> Term:
    return w("where", w("lt", x, 0.0), w("ceil", x), w("floor", x))


def _round(w: Writer, x: Term, decimals: int = 0) -> Term:
    """To the nearest integer, of two as near the even one."""
    if decimals:
        raise NotImplementedError
    low = w("floor", x)
    over = w("sub", x, low)
    half = w("mul", low, 0.5)
    odd = w("ne", half, w("floor", half))
    up = w("where", w("eq", over, 0.5), w("where", odd, 1.0, 0.0), w("where", w("gt", over, 0.5), 1.0, 0.0))
    return w("add", low, up)


def _remainder(w: Writer, x: Term, y: Term) -> Term:
    """With the sign of y, as Python's %."""
    return w("sub", x, w("mul", y, w("floor", w("div", x, y))))


def _log_add_exp(w: Writer, x: Term, y: Term) -> Term:
    return w("add", w("maximum", x, y), _tail(w, w("sub", x, y)))


def _sinh(w: Writer, x: Term) -> Term:
    """2t / (1 − t²) with t = tanh(x/2), which keeps the digits near zero."""
    half = w("tanh", w("mul", x, 0.5))
    near = w("div", w("mul", 2.0, half), w("sub", 1.0, w("mul", half, half)))
    far = w("mul", 0.5, w("sub", w("exp", x), w("exp", w("neg", x))))
    return w("where", w("gt", w("abs", x), 1.0), far, near)


def _cosh(w: Writer, x: Term) -> Term:
    return w("mul", 0.5, w("add", w("exp", x), w("exp", w("neg", x))))


Rule: TypeAlias = Callable[..., Term]

PLAIN = (
    "neg", "abs", "exp", "log", "sqrt", "rsqrt", "sin", "cos", "erf", "tanh", "sigmoid", "relu", "maximum",
    "minimum", "floor", "ceil", "lt", "le", "gt", "ge", "eq", "ne",
)  # fmt: skip


def _plain(op: str) -> Rule:
    return lambda w, *args: w(op, *(number(w, a) for a in args))


RULES: dict[str, Rule] = {name: _plain(name) for name in PLAIN} | {
    "add": lambda w, x, y, alpha=1: w("add", number(w, x), _scaled(w, number(w, y), alpha)),
    "sub": lambda w, x, y, alpha=1: w("sub", number(w, x), _scaled(w, number(w, y), alpha)),
    "rsub": lambda w, x, y, alpha=1: w("sub", number(w, y), _scaled(w, number(w, x), alpha)),
    "mul": lambda w, x, y: w("mul", number(w, x), number(w, y)),
    "div": _div,
    "reciprocal": lambda w, x: w("div", 1.0, x),
    "square": lambda w, x: w("mul", x, x),
    "pow": _power,
    "exp2": lambda w, x: w("exp", w("mul", x, math.log(2))),
    "expm1": _expm1,
    "log1p": _log1p,
    "log2": lambda w, x: w("mul", w("log", x), 1 / math.log(2)),
    "log10": lambda w, x: w("mul", w("log", x), 1 / math.log(10)),
    "logaddexp": _log_add_exp,
    "sinh": _sinh,
    "cosh": _cosh,
    "tan": lambda w, x: w("div", w("sin", x), w("cos", x)),
    "trunc": _trunc,
    "fix": _trunc,
    "frac": lambda w, x: w("sub", x, _trunc(w, x)),
    "round": _round,
    "remainder": _remainder,
    "sign": _sign,
    "sgn": _sign,
    "silu": lambda w, x: w("mul", x, w("sigmoid", x)),
    "gelu": _gelu,
    "softplus": _softplus,
    "elu": _elu,
    "celu": lambda w, x, alpha=1: _elu(w, x, alpha, 1, 1 / alpha),
    "leaky_relu": lambda w, x, slope=0.01: w("where", w("gt", x, 0.0), x, w("mul", x, slope)),
    "prelu": lambda w, x, slope: w("where", w("gt", x, 0.0), x, w("mul", x, slope)),
    "_prelu_kernel": lambda w, x, slope: w("where", w("gt", x, 0.0), x, w("mul", x, slope)),
    "relu6": lambda w, x: _clamp(w, x, 0.0, 6.0),
    "hardtanh": lambda w, x, low=-1.0, high=1.0: _clamp(w, x, low, high),
    "hardsigmoid": _hardsigmoid,
    "hardswish": lambda w, x: w("mul", x, _hardsigmoid(w, x)),
    "mish": lambda w, x: w("mul", x, w("tanh", _softplus(w, x))),
    "log_sigmoid_forward": _log_sigmoid,
    "hardshrink": lambda w, x, bound=0.5: w("where", w("gt", w("abs", x), bound), x, 0.0),
    "softshrink": lambda w, x, bound=0.5: w("sub", x, _clamp(w, x, -bound, bound)),
    "threshold": lambda w, x, bound, value: w("where", w("gt", x, bound), x, value),
    "clamp": _clamp,
    "clamp_min": lambda w, x, low: w("maximum", x, low),
    "clamp_max": lambda w, x, high: w("minimum", x, high),
    "addcmul": lambda w, x, y, z, value=1: w("add", x, _scaled(w, w("mul", y, z), value)),
    "addcdiv": lambda w, x, y, z, value=1: w("add", x, _scaled(w, w("div", y, z), value)),
    "lerp": _lerp,
    "where": lambda w, c, x, y: w("where", truth(w, c), number(w, x), number(w, y)),
    "masked_fill": lambda w, x, mask, value: w("where", truth(w, mask), value, x),
    "logical_not": _not,
    "bitwise_not": _not,
    "logical_and": _both,
    "bitwise_and": _both,
    "logical_or": _either,
    "bitwise_or": _either,
    "_to_copy": lambda w, x, dtype=None: number(w, x),
}
