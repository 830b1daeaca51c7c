"""Concatenation and padding by torch, the arithmetic in a kernel."""

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def square_kernel(x_ptr, out_ptr, total, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < total)
    tl.store(out_ptr + at, x * x, mask=at < total)


def square(x):
    x = x.contiguous()
    out = torch.empty_like(x)
    square_kernel[(triton.cdiv(x.numel(), 256),)](x, out, x.numel(), BLOCK=256)
    return out


class ModelNew(nn.Module):
    def forward(self, left, right):
        return square(nn.functional.pad(torch.cat([left, right], dim=1), (1, 2, 0, 3)))
