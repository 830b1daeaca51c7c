import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.heuristics({"EVEN": lambda args: args["n"] % args["BLOCK"] == 0})
@triton.jit
def relu_kernel(x_ptr, scale_ptr, out_ptr, n, BLOCK: tl.constexpr, EVEN: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    if EVEN:
        x = tl.load(x_ptr + i)
        tl.store(out_ptr + i, tl.maximum(x * tl.load(scale_ptr), 0.0))
    else:
        x = tl.load(x_ptr + i, mask=i < n)
        tl.store(out_ptr + i, tl.maximum(x * tl.load(scale_ptr), 0.0), mask=i < n)


def scaled_relu(x, scale):
    out = torch.empty_like(x)
    relu_kernel[lambda meta: (triton.cdiv(x.numel(), meta["BLOCK"]),)](x, scale, out, x.numel(), BLOCK=256)
    return out


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(1))

    def forward(self, x):
        return scaled_relu(x, self.scale)

