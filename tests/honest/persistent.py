"""A fixed number of programs loops over all tiles."""

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def matmul_kernel(a_ptr, b_ptr, out_ptr, m, n, k, BLOCK: tl.constexpr, PROGRAMS: tl.constexpr):
    across = tl.cdiv(n, BLOCK)
    for tile in range(tl.program_id(0), tl.cdiv(m, BLOCK) * across, PROGRAMS):
        rows = (tile // across) * BLOCK + tl.arange(0, BLOCK)
        cols = (tile % across) * BLOCK + tl.arange(0, BLOCK)
        total = tl.zeros((BLOCK, BLOCK), dtype=tl.float32)
        for start in range(0, k, BLOCK):
            inner = start + tl.arange(0, BLOCK)
            a = tl.load(
                a_ptr + rows[:, None] * k + inner[None, :],
                mask=(rows[:, None] < m) & (inner[None, :] < k),
                other=0.0,
            )
            b = tl.load(
                b_ptr + inner[:, None] * n + cols[None, :],
                mask=(inner[:, None] < k) & (cols[None, :] < n),
                other=0.0,
            )
            total += tl.dot(a, b, input_precision="ieee")
        tl.store(
            out_ptr + rows[:, None] * n + cols[None, :], total, mask=(rows[:, None] < m) & (cols[None, :] < n)
        )


def matmul(a, b):
    a, b = a.contiguous(), b.contiguous()
    (m, k), n = a.shape, b.shape[1]
    out = torch.empty(m, n, device=a.device, dtype=a.dtype)
    matmul_kernel[(3,)](a, b, out, m, n, k, BLOCK=32, PROGRAMS=3)
    return out


class ModelNew(nn.Module):
    def forward(self, a, b):
        return matmul(a, b)
