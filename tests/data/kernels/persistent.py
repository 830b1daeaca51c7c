import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def scale_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr, PROGRAMS: tl.constexpr):
    start = tl.program_id(0)
    tiles = tl.cdiv(n, BLOCK)
    for tile in range(start, tiles, PROGRAMS):
        offsets = tile * BLOCK + tl.arange(0, BLOCK)
        inside = offsets < n
        tl.store(out_ptr + offsets, tl.load(x_ptr + offsets, mask=inside) * 2, mask=inside)


def scale(x):
    out = torch.empty_like(x)
    scale_kernel[(132,)](x, out, x.numel(), BLOCK=512, PROGRAMS=132)
    return out


class ModelNew(nn.Module):
    def forward(self, x):
        return scale(x)
