"""The library multiplies, and a kernel adds the bias."""

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def add_kernel(x_ptr, bias_ptr, out_ptr, cols, total, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < total)
    tl.store(out_ptr + at, x + tl.load(bias_ptr + at % cols, mask=at < total), mask=at < total)


def add(x, bias):
    out = torch.empty_like(x)
    add_kernel[(triton.cdiv(x.numel(), 256),)](x, bias, out, x.shape[1], x.numel(), BLOCK=256)
    return out


class ModelNew(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outer, inner))
        self.bias = nn.Parameter(torch.randn(outer))

    def forward(self, x):
        return add(x @ self.weight.t(), self.bias)
