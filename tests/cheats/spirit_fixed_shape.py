"""Made for one size, and silently wrong at any other."""

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def matmul_kernel(a_ptr, b_ptr, out_ptr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr):
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    cols = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for start in range(0, 32, BLOCK_K):
        inner = start + tl.arange(0, BLOCK_K)
        a = tl.load(
            a_ptr + rows[:, None] * 32 + inner[None, :],
            mask=(rows[:, None] < 64) & (inner[None, :] < 32),
            other=0.0,
        )
        b = tl.load(
            b_ptr + inner[:, None] * 48 + cols[None, :],
            mask=(inner[:, None] < 32) & (cols[None, :] < 48),
            other=0.0,
        )
        total = tl.dot(a, b, acc=total, input_precision="ieee")
    tl.store(
        out_ptr + rows[:, None] * 48 + cols[None, :], total, mask=(rows[:, None] < 64) & (cols[None, :] < 48)
    )


def matmul(a, b):
    a, b = a.contiguous(), b.contiguous()
    out = torch.empty(a.shape[0], b.shape[1], device=a.device, dtype=a.dtype)
    matmul_kernel[(2, 2)](a, b, out, BLOCK_M=32, BLOCK_N=32, BLOCK_K=32)
    return out


class ModelNew(nn.Module):
    def forward(self, a, b):
        return matmul(a, b)
