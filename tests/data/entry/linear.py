"""A linear layer."""
import torch
import triton
import triton.language as tl

BLOCKS = {"BLOCK_M": 32, "BLOCK_N": 32, "BLOCK_K": 32}


@triton.jit
def matmul_kernel(
    a_ptr, b_ptr, bias_ptr, out_ptr, m, n, k,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    cols = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for start in range(0, k, BLOCK_K):
        inner = start + tl.arange(0, BLOCK_K)
        a = tl.load(a_ptr + rows[:, None] * k + inner[None, :],
            mask=(rows[:, None] < m) & (inner[None, :] < k), other=0.0)
        b = tl.load(b_ptr + cols[None, :] * k + inner[:, None],
            mask=(inner[:, None] < k) & (cols[None, :] < n), other=0.0)
        total = tl.dot(a, b, acc=total, input_precision="ieee")
    total += tl.load(bias_ptr + cols, mask=cols < n, other=0.0)[None, :]
    tl.store(out_ptr + rows[:, None] * n + cols[None, :], total, mask=(rows[:, None] < m) & (cols[None, :] < n))


def linear(x, w, bias=None, activation=""):
    x = x.contiguous()
    w = w.contiguous()
    (m, k), n = x.shape, w.shape[0]
    out = torch.empty(m, n, device=x.device, dtype=x.dtype)
    grid = lambda meta: (triton.cdiv(m, meta["BLOCK_M"]), triton.cdiv(n, meta["BLOCK_N"]))
    matmul_kernel[grid](x, w, bias, out, m, n, k, **BLOCKS)
    return out
