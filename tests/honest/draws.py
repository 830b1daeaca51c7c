"""Random numbers drawn by torch in the reference's order, used in a kernel."""

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def drop_kernel(x_ptr, draw_ptr, out_ptr, total, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < total)
    draw = tl.load(draw_ptr + at, mask=at < total)
    tl.store(out_ptr + at, tl.where(draw < 0.5, 2 * x, 0.0), mask=at < total)


def drop(x):
    draw = torch.rand_like(x).contiguous()
    x = x.contiguous()
    out = torch.empty_like(x)
    drop_kernel[(triton.cdiv(x.numel(), 256),)](x, draw, out, x.numel(), BLOCK=256)
    return out


class ModelNew(nn.Module):
    def forward(self, x):
        return drop(x)
