"""Scratch memory for row statistics is kept from call to call and written afresh each time."""

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def moments_kernel(x_ptr, scratch_ptr, cols, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * cols + at, mask=at < cols, other=0.0)
    mean = tl.sum(x, axis=0) / cols
    centred = tl.where(at < cols, x - mean, 0.0)
    tl.store(scratch_ptr + 2 * row, mean)
    tl.store(scratch_ptr + 2 * row + 1, tl.sum(centred * centred, axis=0) / cols)


@triton.jit
def normalise_kernel(x_ptr, scratch_ptr, weight_ptr, bias_ptr, out_ptr, cols, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    ok = at < cols
    mean, variance = tl.load(scratch_ptr + 2 * row), tl.load(scratch_ptr + 2 * row + 1)
    x = tl.load(x_ptr + row * cols + at, mask=ok)
    weight, bias = tl.load(weight_ptr + at, mask=ok), tl.load(bias_ptr + at, mask=ok)
    tl.store(out_ptr + row * cols + at, (x - mean) / tl.sqrt(variance + 1e-5) * weight + bias, mask=ok)


def normalise(x, scratch, weight, bias):
    rows, cols = x.shape
    out = torch.empty_like(x)
    block = triton.next_power_of_2(cols)
    moments_kernel[(rows,)](x, scratch, cols, BLOCK=block)
    normalise_kernel[(rows,)](x, scratch, weight, bias, out, cols, BLOCK=block)
    return out


class ModelNew(nn.Module):
    def __init__(self, cols):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(cols))
        self.bias = nn.Parameter(torch.zeros(cols))
        self.scratch = None

    def forward(self, x):
        x = x.contiguous()
        if self.scratch is None or self.scratch.shape[0] < x.shape[0] or self.scratch.device != x.device:
            self.scratch = torch.empty(x.shape[0], 2, device=x.device, dtype=torch.float32)
        return normalise(x, self.scratch, self.weight, self.bias)
