"""The reference in float64, if wanted with the operands of its matrix products rounded.

A dispatch mode sees every operation the reference performs, below autograd and below composite
operations such as linear, einsum or nn.LSTM, so the reference itself stays as it is written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_map

from tilewright.judge.means.operators import OperatorMode

PRECISIONS = {
    "float64": torch.float64,
    "float32": torch.float32,
    "tf32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
TF32_DROPPED_BITS = 13  # of float32's 23 explicit mantissa bits, TF32 keeps 10

aten = torch.ops.aten
PRODUCT_OPERANDS: dict[Any, tuple[int, ...]] = {
    aten.mm: (0, 1),
    aten.addmm: (1, 2),
    aten.addmm_: (1, 2),
    aten.bmm: (0, 1),
    aten.baddbmm: (1, 2),
    aten.baddbmm_: (1, 2),
    aten.addbmm: (1, 2),
    aten.mv: (0, 1),
    aten.addmv: (1, 2),
    aten.dot: (0, 1),
    aten.vdot: (0, 1),
    aten.convolution: (0, 1),
    aten._trilinear: (0, 1, 2),
}

# Kernels compute these by way of numbers about one, tanh(x) as 1 − 2 / (1 + exp(2x)), and so to an
# absolute precision, where a library is precise relative to a small result as well.
BY_WAY_OF_ONE = frozenset(
    {
        aten.tanh,
        aten.tanh_,
        aten.sigmoid,
        aten.sigmoid_,
        aten.erf,
        aten.erf_,
        aten.expm1,
        aten.expm1_,
        aten.log1p,
        aten.log1p_,
        aten.elu,
        aten.elu_,
        aten.softplus,
        aten._thnn_fused_lstm_cell,
        aten._thnn_fused_gru_cell,
    }
)
ONE_ROUNDED = 2.0**-24


def rounded(values: torch.Tensor, precision: str) -> torch.Tensor:
    """Real values as a matrix product in `precision` reads them, back in their own dtype.

    To the nearest, ties to even; beyond float16's range becomes infinite, as it does on the device. TF32
    drops bits, which rounds towards zero: tensor cores that are handed float32 do not look at its last 13
    bits. All errors then have the sign of their product, so that on inputs of one sign (torch.rand)
    they add up: a product of 4096 terms loses 6.5e-4 where operands rounded to the nearest lose 5.6e-6.
    """
    narrow = values.to(PRECISIONS[precision])
    if precision == "tf32":
        kept = narrow.contiguous().view(torch.int32) >> TF32_DROPPED_BITS << TF32_DROPPED_BITS
        narrow = torch.where(narrow.isfinite(), kept.view(torch.float32), narrow)
    return narrow.to(values.dtype)


def is_real(value: Any) -> bool:
    """Whether this is a tensor of floating-point numbers."""
    return isinstance(value, torch.Tensor) and value.is_floating_point()


class Float64(OperatorMode):
    """Carries every floating-point operation out in float64.

    Casts to narrower types are dropped: they are part of how the reference computes, not of what.
    Random numbers are drawn in the dtype the reference would draw them in, so that the same seed
    gives the same numbers, and widened afterwards.

    Args:
        native: the dtype the reference computes in when left alone.
        operands: round the operands of matrix products and convolutions to this precision, and let
            functions that kernels compute by way of one be off by float32's rounding of one, all to
            the same side; None: exact.
    """

    def __init__(self, native: torch.dtype, operands: str | None = None) -> None:
        super().__init__()
        self.native = native
        self.operands = operands

    def operator(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            return self._drawn(func, args, kwargs)
        if not func._schema.is_mutable:
            args, kwargs = tree_map(_wide, args), tree_map(_wide, kwargs)
            if isinstance(kwargs.get("dtype"), torch.dtype) and kwargs["dtype"].is_floating_point:
                kwargs = {**kwargs, "dtype": torch.float64}
        positions = PRODUCT_OPERANDS.get(func.overloadpacket, ()) if self.operands else ()
        if positions:
            args = tuple(
                rounded(value, str(self.operands)) if index in positions and is_real(value) else value
                for index, value in enumerate(args)
            )
        out = tree_map(_wide, func(*args, **kwargs))
        if self.operands and func.overloadpacket in BY_WAY_OF_ONE:
            tree_map(lambda value: value.add_(ONE_ROUNDED) if is_real(value) else None, out)
        return out

    def _drawn(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        narrow = tree_map(lambda value: value.to(self.native) if is_real(value) else value, args)
        out = func(*narrow, **kwargs)
        if func._schema.is_mutable:
            args[0].copy_(out)
            return args[0]
        return tree_map(_wide, out)


def _wide(value: Any) -> Any:
    return value.double() if is_real(value) and value.dtype != torch.float64 else value


@contextlib.contextmanager
def plain_arithmetic(*, recurrent: bool = False) -> Iterator[None]:
    """float32 means float32 here: no TF32 in cuBLAS or cuDNN, attention as its plain formula.

    Args:
        recurrent: also keep nn.RNN, nn.LSTM and nn.GRU out of cuDNN's fused implementation, so that their
            matrix products are seen one by one.
    """
    matmul = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            stack.enter_context(
                torch.backends.cudnn.flags(
                    enabled=torch.backends.cudnn.enabled and not recurrent, allow_tf32=False
                )
            )
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = matmul
