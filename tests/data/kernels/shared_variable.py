import torch
import torch.nn as nn
import triton
import triton.language as tl


BLOCK = 1024


@triton.jit
def scale_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < n
    tl.store(out_ptr + offsets, tl.load(x_ptr + offsets, mask=inside) * 2, mask=inside)


@triton.jit
def shift_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < n
    tl.store(out_ptr + offsets, tl.load(x_ptr + offsets, mask=inside) + 1, mask=inside)


def scale(x):
    out = torch.empty_like(x)
    again = torch.empty_like(x)
    programs = triton.cdiv(x.numel(), BLOCK)
    scale_kernel[(programs,)](x, out, x.numel(), BLOCK=BLOCK)
    shift_kernel[(programs,)](out, again, x.numel(), BLOCK=BLOCK)
    return again


class ModelNew(nn.Module):
    def forward(self, x):
        return scale(x)
