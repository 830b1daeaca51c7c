import torch
import torch.nn as nn
import triton
from triton.experimental import gluon
from triton.experimental.gluon import language as gl


@gluon.jit
def relu_kernel(x_ptr, scale_ptr, out_ptr, n, BLOCK: gl.constexpr, layout: gl.constexpr):
    i = gl.program_id(0) * BLOCK + gl.arange(0, BLOCK, layout=layout)
    x = gl.load(x_ptr + i, mask=i < n)
    gl.store(out_ptr + i, gl.maximum(x * gl.load(scale_ptr), 0.0), mask=i < n)


def scaled_relu(x, scale):
    out = torch.empty_like(x)
    layout = gl.BlockedLayout([4], [32], [4], [0])
    relu_kernel[(triton.cdiv(x.numel(), 1024),)](x, scale, out, x.numel(), 1024, layout, num_warps=4)
    return out


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(1))

    def forward(self, x):
        return scaled_relu(x, self.scale)

