import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def scale_kernel(x_ptr, n, BLOCK: tl.constexpr):
    here = x_ptr + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(here)
    tl.store(here, value * 2)


def scale(x):
    grid = lambda meta: (triton.cdiv(x.numel(), meta["BLOCK"]),)
    scale_kernel[grid](x, x.numel(), BLOCK=512)
    return x


class ModelNew(nn.Module):
    def forward(self, x):
        return scale(x)
