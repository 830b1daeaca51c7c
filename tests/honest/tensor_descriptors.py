"""Tensor descriptors, whose alignment it checks and names."""

import torch
import torch.nn as nn
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor


@triton.jit
def matmul_kernel(a, b, out, k, BLOCK: tl.constexpr):
    row, col = tl.program_id(0) * BLOCK, tl.program_id(1) * BLOCK
    total = tl.zeros((BLOCK, BLOCK), dtype=tl.float32)
    for start in range(0, k, BLOCK):
        total += tl.dot(a.load([row, start]), b.load([start, col]), input_precision="ieee")
    out.store([row, col], total)


def described(matrix, name):
    if matrix.data_ptr() % 16 or matrix.shape[1] * matrix.element_size() % 16:
        raise ValueError(f"{name} must lie on 16 bytes, and so must each of its rows")
    return TensorDescriptor.from_tensor(matrix, [32, 32])


def matmul(a, b):
    a, b = a.contiguous(), b.contiguous()
    (m, k), n = a.shape, b.shape[1]
    out = torch.empty(m, n, device=a.device, dtype=a.dtype)
    grid = (triton.cdiv(m, 32), triton.cdiv(n, 32))
    matmul_kernel[grid](described(a, "a"), described(b, "b"), described(out, "the output"), k, BLOCK=32)
    return out


class ModelNew(nn.Module):
    def forward(self, a, b):
        return matmul(a, b)
