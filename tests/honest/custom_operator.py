"""The launch stands inside an operator of the file's own, as torch.compile wants it."""

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def scale_kernel(x_ptr, weight_ptr, bias_ptr, out_ptr, cols, total, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < total)
    weight = tl.load(weight_ptr + at % cols, mask=at < total)
    bias = tl.load(bias_ptr + at % cols, mask=at < total)
    tl.store(out_ptr + at, x * weight + bias, mask=at < total)


@torch.library.triton_op("honest::scale", mutates_args={})
def scale(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    x = x.contiguous()
    out = torch.empty_like(x)
    grid = (triton.cdiv(x.numel(), 256),)
    torch.library.wrap_triton(scale_kernel)[grid](x, weight, bias, out, x.shape[1], x.numel(), BLOCK=256)
    return out


class ModelNew(nn.Module):
    def __init__(self, cols):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(cols))
        self.bias = nn.Parameter(torch.randn(cols))

    def forward(self, x):
        return scale(x, self.weight, self.bias)
