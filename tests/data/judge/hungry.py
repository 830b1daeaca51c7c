import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def hungry_kernel(x_ptr, out_ptr, steps, BLOCK: tl.constexpr, K: tl.constexpr):
    """Seven stages of two 32 KB tiles: more shared memory than a block of any GPU so far has."""
    rows = tl.arange(0, BLOCK)
    k = tl.arange(0, K)
    acc = tl.zeros((BLOCK, BLOCK), dtype=tl.float32)
    for step in range(0, steps):
        a = tl.load(x_ptr + step * BLOCK * K + rows[:, None] * K + k[None, :])
        b = tl.load(x_ptr + step * BLOCK * K + k[:, None] * BLOCK + rows[None, :])
        acc += tl.dot(a, b)
    tl.store(out_ptr + rows[:, None] * BLOCK + rows[None, :], acc)


class ModelNew(nn.Module):
    def __init__(self, cols):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(cols))
        self.bias = nn.Parameter(torch.randn(cols))

    def forward(self, x):
        out = torch.empty(64, 64, device=x.device)
        hungry_kernel[(1,)](x, out, 9, BLOCK=64, K=128, num_stages=7)
        return out
