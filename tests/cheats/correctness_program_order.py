"""Each program takes the sum that the one before it left in memory, and does not wait for it."""

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def running_kernel(x_ptr, carry_ptr, out_ptr, cols, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    block = tl.program_id(1)
    at = block * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * cols + at, mask=at < cols, other=0.0)
    blocks = tl.num_programs(1)
    before = 0.0
    if block > 0:
        before = tl.load(carry_ptr + row * blocks + block - 1)
    tl.store(out_ptr + row * cols + at, before + tl.cumsum(x, axis=0), mask=at < cols)
    tl.store(carry_ptr + row * blocks + block, before + tl.sum(x, axis=0))


class ModelNew(nn.Module):
    def forward(self, x):
        x = x.contiguous()
        rows, cols = x.shape
        out = torch.empty_like(x)
        carry = torch.empty(rows, triton.cdiv(cols, 32), device=x.device)
        running_kernel[(rows, triton.cdiv(cols, 32))](x, carry, out, cols, BLOCK=32)
        return out
