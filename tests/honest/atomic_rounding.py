"""Several programs add to one row's sum, in an order that is nobody's."""

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def row_sum_kernel(x_ptr, out_ptr, cols, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    part = tl.sum(tl.load(x_ptr + row * cols + at, mask=at < cols, other=0.0), axis=0)
    tl.atomic_add(out_ptr + row, part, sem="relaxed")


def row_sum(x):
    x = x.contiguous()
    rows, cols = x.shape
    out = torch.zeros(rows, device=x.device, dtype=x.dtype)
    row_sum_kernel[(rows, triton.cdiv(cols, 256))](x, out, cols, BLOCK=256)
    return out


class ModelNew(nn.Module):
    def forward(self, x):
        return row_sum(x)
