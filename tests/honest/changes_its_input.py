"""Changes its input in place, as the reference does."""

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def bump_kernel(x_ptr, out_ptr, cols, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * cols + at, mask=at < cols, other=0.0) * 2 + 1
    tl.store(x_ptr + row * cols + at, x, mask=at < cols)
    tl.store(out_ptr + row, tl.sum(tl.where(at < cols, x, 0.0), axis=0))


def bump(x):
    if not x.is_contiguous():
        raise ValueError("changes its input in place, and needs it contiguous")
    out = torch.empty(x.shape[0], device=x.device, dtype=x.dtype)
    bump_kernel[(x.shape[0],)](x, out, x.shape[1], BLOCK=triton.next_power_of_2(x.shape[1]))
    return out


class ModelNew(nn.Module):
    def forward(self, x):
        return bump(x)
