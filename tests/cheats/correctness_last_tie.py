"""Returns the last of several equal maxima."""

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def places_kernel(x_ptr, out_ptr, cols, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * cols + at, mask=at < cols, other=float("-inf"))
    last = tl.max(tl.where(x == tl.max(x, axis=0), at, -1), axis=0)
    tl.store(out_ptr + row, last.to(tl.int64))


def places(x):
    x = x.contiguous()
    out = torch.empty(x.shape[0], device=x.device, dtype=torch.int64)
    places_kernel[(x.shape[0],)](x, out, x.shape[1], BLOCK=triton.next_power_of_2(x.shape[1]))
    return out


class ModelNew(nn.Module):
    def forward(self, x):
        return places(x)
