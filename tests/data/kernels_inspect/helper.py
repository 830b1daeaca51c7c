import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def clamp(x, low):
    return tl.maximum(x, low)


@triton.jit
def relu_kernel(x_ptr, scale_ptr, out_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + i, mask=i < n)
    tl.store(out_ptr + i, clamp(x * tl.load(scale_ptr), 0.0), mask=i < n)


def scaled_relu(x, scale):
    properties = torch.cuda.get_device_properties(x.device)
    blocks = triton.cdiv(x.numel(), 4 * properties.multi_processor_count)
    out = torch.empty_like(x)
    with torch.cuda.device(x.device):
        relu_kernel[(triton.cdiv(x.numel(), 512),)](x, scale, out, x.numel(), BLOCK=512, num_warps=8)
    assert blocks > 0
    return out


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(1))

    def forward(self, x):
        return scaled_relu(x, self.scale)

