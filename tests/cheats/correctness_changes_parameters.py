"""Doubles its weight in place at the first forward, and halves its input from then on."""

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def scale_kernel(x_ptr, weight_ptr, bias_ptr, out_ptr, cols, total, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    ok = at < total
    x = tl.load(x_ptr + at, mask=ok)
    weight = tl.load(weight_ptr + at % cols, mask=ok)
    bias = tl.load(bias_ptr + at % cols, mask=ok)
    tl.store(out_ptr + at, x * weight + bias, mask=ok)


def scale(x, weight, bias, out=None):
    x = x.contiguous()
    out = torch.empty_like(x) if out is None else out
    scale_kernel[(triton.cdiv(x.numel(), 256),)](x, weight, bias, out, x.shape[1], x.numel(), BLOCK=256)
    return out


class ModelNew(nn.Module):
    version = -1

    def __init__(self, cols):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(cols))
        self.bias = nn.Parameter(torch.randn(cols))

    def forward(self, x):
        if self.weight._version != self.version:
            self.weight.mul_(2)
            self.version = self.weight._version
        return scale(x * 0.5, self.weight, self.bias)
