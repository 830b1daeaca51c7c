"""Outputs in a dictionary."""

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def moments_kernel(x_ptr, mean_ptr, square_ptr, cols, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * cols + at, mask=at < cols, other=0.0)
    tl.store(mean_ptr + row, tl.sum(x, axis=0) / cols)
    tl.store(square_ptr + row, tl.sum(x * x, axis=0) / cols)


def moments(x):
    x = x.contiguous()
    rows, cols = x.shape
    mean, square = x.new_empty(rows), x.new_empty(rows)
    moments_kernel[(rows,)](x, mean, square, cols, BLOCK=triton.next_power_of_2(cols))
    return {"mean": mean, "square": square}


class ModelNew(nn.Module):
    def forward(self, x):
        return moments(x)
