"""Two-dimensional tiles that fit neither side, with rows and columns masked apart."""

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def scale_kernel(x_ptr, weight_ptr, bias_ptr, out_ptr, rows, cols, TALL: tl.constexpr, WIDE: tl.constexpr):
    row = tl.program_id(0) * TALL + tl.arange(0, TALL)
    col = tl.program_id(1) * WIDE + tl.arange(0, WIDE)
    ok = (row[:, None] < rows) & (col[None, :] < cols)
    at = row[:, None] * cols + col[None, :]
    weight = tl.load(weight_ptr + col, mask=col < cols, other=0.0)
    bias = tl.load(bias_ptr + col, mask=col < cols, other=0.0)
    tl.store(out_ptr + at, tl.load(x_ptr + at, mask=ok) * weight[None, :] + bias[None, :], mask=ok)


def scale(x, weight, bias):
    x = x.contiguous()
    rows, cols = x.shape
    out = torch.empty_like(x)
    grid = (triton.cdiv(rows, 8), triton.cdiv(cols, 64))
    scale_kernel[grid](x, weight, bias, out, rows, cols, TALL=8, WIDE=64)
    return out


class ModelNew(nn.Module):
    def __init__(self, cols):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(cols))
        self.bias = nn.Parameter(torch.randn(cols))

    def forward(self, x):
        return scale(x, self.weight, self.bias)
