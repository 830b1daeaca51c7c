"""Programs add their parts of a tile with atomics, so the rounding differs from run to run."""

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def matmul_kernel(a_ptr, b_ptr, out_ptr, m, n, k, BLOCK: tl.constexpr, BLOCK_K: tl.constexpr):
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    cols = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inner = tl.program_id(2) * BLOCK_K + tl.arange(0, BLOCK_K)
    a = tl.load(
        a_ptr + rows[:, None] * k + inner[None, :], mask=(rows[:, None] < m) & (inner[None, :] < k), other=0.0
    )
    b = tl.load(
        b_ptr + inner[:, None] * n + cols[None, :], mask=(inner[:, None] < k) & (cols[None, :] < n), other=0.0
    )
    part = tl.dot(a, b, input_precision="ieee")
    tl.atomic_add(
        out_ptr + rows[:, None] * n + cols[None, :], part, mask=(rows[:, None] < m) & (cols[None, :] < n)
    )


def matmul(a, b):
    a, b = a.contiguous(), b.contiguous()
    (m, k), n = a.shape, b.shape[1]
    out = torch.zeros(m, n, device=a.device, dtype=a.dtype)
    grid = (triton.cdiv(m, 32), triton.cdiv(n, 32), triton.cdiv(k, 16))
    matmul_kernel[grid](a, b, out, m, n, k, BLOCK=32, BLOCK_K=16)
    return out


class ModelNew(nn.Module):
    def forward(self, a, b):
        return matmul(a, b)
