"""TF32 under Triton's interpreter, which multiplies float32 as float32 whatever `tl.dot` is asked for.

Left out of `tl.dot`, `input_precision` is "tf32" (triton 3.6 and 3.9), and tensor cores that are handed
float32 so do not look at its last 13 bits: see `answer.precision.rounded`. "tf32x3", "bf16x6" and "ieee" keep
float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import triton.language as tl
from triton.runtime import interpreter

from tilewright.judge.answer.precision import TF32_DROPPED_BITS


def repair() -> None:
    """Let the interpreter's products lose what the device's lose."""
    builder = interpreter.InterpreterBuilder
    plain = builder.create_dot

    def dot(self: Any, left: Any, right: Any, total: Any, input_precision: Any, *others: Any) -> Any:
        if input_precision == interpreter._ir.INPUT_PRECISION.TF32:
            left, right = shortened(left), shortened(right)
        return plain(self, left, right, total, input_precision, *others)

    builder.create_dot = dot


def shortened(handle: Any) -> Any:
    """A float32 tensor of the interpreter without the bits that TF32 drops; any other as it is."""
    if handle.data.dtype != np.float32:
        return handle
    bits = np.ascontiguousarray(handle.data).view(np.int32) >> TF32_DROPPED_BITS << TF32_DROPPED_BITS
    kept = np.where(np.isfinite(handle.data), bits.view(np.float32), handle.data)
    return interpreter.TensorHandle(kept, tl.float32)
