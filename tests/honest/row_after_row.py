"""Adds up the rows one after another, in float32."""

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def column_sum_kernel(x_ptr, out_ptr, rows, cols, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for row in range(0, rows):
        total += tl.load(x_ptr + row * cols + at, mask=at < cols, other=0.0)
    tl.store(out_ptr + at, total, mask=at < cols)


def column_sum(x):
    x = x.contiguous()
    out = torch.empty(x.shape[1], device=x.device, dtype=x.dtype)
    column_sum_kernel[(triton.cdiv(x.shape[1], 32),)](x, out, x.shape[0], x.shape[1], BLOCK=32)
    return out


class ModelNew(nn.Module):
    def forward(self, x):
        return column_sum(x)
