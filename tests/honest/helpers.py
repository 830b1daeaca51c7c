"""Device functions of its own that return tuples."""

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def moments(x, ok, count):
    mean = tl.sum(tl.where(ok, x, 0.0), axis=0) / count
    centred = tl.where(ok, x - mean, 0.0)
    return mean, tl.sum(centred * centred, axis=0) / count


@triton.jit
def affine(x, scale, shift):
    return x * scale + shift


@triton.jit
def norm_kernel(x_ptr, weight_ptr, bias_ptr, out_ptr, cols, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    ok = at < cols
    x = tl.load(x_ptr + row * cols + at, mask=ok)
    mean, variance = moments(x, ok, cols)
    weight, bias = tl.load(weight_ptr + at, mask=ok), tl.load(bias_ptr + at, mask=ok)
    tl.store(out_ptr + row * cols + at, affine((x - mean) * tl.rsqrt(variance + 1e-5), weight, bias), mask=ok)


def normalise(x, weight, bias):
    x = x.contiguous()
    out = torch.empty_like(x)
    norm_kernel[(x.shape[0],)](x, weight, bias, out, x.shape[1], BLOCK=triton.next_power_of_2(x.shape[1]))
    return out


class ModelNew(nn.Module):
    def __init__(self, cols):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(cols))
        self.bias = nn.Parameter(torch.zeros(cols))

    def forward(self, x):
        return normalise(x, self.weight, self.bias)
