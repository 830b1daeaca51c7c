import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def scale_kernel(x_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x_ptr + at, mask=at < n)
    tl.store(x_ptr + at, value * 2, mask=at < n)


@triton.jit
def shift_kernel(x_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x_ptr + at, mask=at < n)
    tl.store(x_ptr + at, value + 1, mask=at < n)


def scale_and_shift(x):
    n = x.numel()
    scale_kernel[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](x, n, BLOCK=512)
    shift_kernel[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](x, n, BLOCK=1024)
    return x


class ModelNew(nn.Module):
    def forward(self, x):
        return scale_and_shift(x.clone())
