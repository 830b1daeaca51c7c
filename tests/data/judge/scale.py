import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def scale_kernel(x_ptr, weight_ptr, bias_ptr, out_ptr, cols, total, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    ok = at < total
    x = tl.load(x_ptr + at, mask=ok)
    weight = tl.load(weight_ptr + at % cols, mask=ok)
    bias = tl.load(bias_ptr + at % cols, mask=ok)
    tl.store(out_ptr + at, x * weight + bias, mask=ok)


def scale(x, weight, bias):
    x = x.contiguous()
    out = torch.empty_like(x)
    grid = (triton.cdiv(x.numel(), 64),)
    scale_kernel[grid](x, weight, bias, out, x.shape[1], x.numel(), BLOCK=64)
    return out


class ModelNew(nn.Module):
    def __init__(self, cols):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(cols))
        self.bias = nn.Parameter(torch.randn(cols))

    def forward(self, x):
        return scale(x, self.weight, self.bias)
