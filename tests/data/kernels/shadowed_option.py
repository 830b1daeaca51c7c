import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def scale_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr, num_stages: tl.constexpr):
    size = tl.cast(n, tl.int64)
    start = tl.program_id(0) * BLOCK % size
    for _ in tl.range(0, 1, num_stages=num_stages):
        offsets = start + tl.arange(0, BLOCK)
        inside = offsets < n
        tl.store(out_ptr + offsets, tl.load(x_ptr + offsets, mask=inside) * 2, mask=inside)


def scale(x):
    out = torch.empty_like(x)
    grid = lambda meta: (triton.cdiv(x.numel(), meta["BLOCK"]),)
    scale_kernel[grid](x, out, x.numel(), BLOCK=512, num_stages=2)
    return out


class ModelNew(nn.Module):
    def forward(self, x):
        return scale(x)
