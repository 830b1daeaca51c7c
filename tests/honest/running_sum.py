"""A scan along each row, carried from block to block."""

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def running_kernel(x_ptr, out_ptr, cols, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    carried = 0.0
    for start in range(0, cols, BLOCK):
        at = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row * cols + at, mask=at < cols, other=0.0)
        tl.store(out_ptr + row * cols + at, carried + tl.cumsum(x, axis=0), mask=at < cols)
        carried += tl.sum(x, axis=0)


def running(x):
    x = x.contiguous()
    out = torch.empty_like(x)
    running_kernel[(x.shape[0],)](x, out, x.shape[1], BLOCK=32)
    return out


class ModelNew(nn.Module):
    def forward(self, x):
        return running(x)
