import torch
import torch.nn as nn
import triton
import triton.language as tl


def get_configs():
    return [triton.Config({"BLOCK": b}) for b in (256, 512)]


@triton.autotune(configs=get_configs(), key=["n"])
@triton.jit
def scale_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < n
    tl.store(out_ptr + offsets, tl.load(x_ptr + offsets, mask=inside) * 2, mask=inside)


def scale(x):
    out = torch.empty_like(x)
    grid = lambda meta: (triton.cdiv(x.numel(), meta["BLOCK"]),)
    scale_kernel[grid](x, out, x.numel())
    return out


class ModelNew(nn.Module):
    def forward(self, x):
        return scale(x)
