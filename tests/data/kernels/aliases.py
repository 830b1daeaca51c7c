import functools

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def scale_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < n
    tl.store(out_ptr + offsets, tl.load(x_ptr + offsets, mask=inside) * 2, mask=inside)


@triton.jit
def shift_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < n
    tl.store(out_ptr + offsets, tl.load(x_ptr + offsets, mask=inside) * 2, mask=inside)


launch_later = functools.partial(scale_kernel[(8,)], BLOCK=256)
alias = scale_kernel


def scale(x):
    out = torch.empty_like(x)
    n = x.numel()
    launch_later(x, out, n)
    alias[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](x, out, n, BLOCK=512, num_warps=2)

    def nested(block):
        run = scale_kernel[(triton.cdiv(n, block),)]
        run(x, out, n, block)

    nested(64)
    options = {"BLOCK": 128, "num_stages": 2}
    chosen = scale_kernel if n > 8 else shift_kernel
    chosen[(n,)](x, out, n, **options)
    (lambda grid: scale_kernel[grid](x, out, n, BLOCK=32))((4,))
    torch.library.wrap_triton(scale_kernel)[(1,)](x, out, n, BLOCK=16)
    scale_kernel.run(x, out, n, BLOCK=1024, grid=(2,), warmup=False)
    return out


class ModelNew(nn.Module):
    def forward(self, x):
        return scale(x)
