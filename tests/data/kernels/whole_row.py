import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def row_kernel(x_ptr, out_ptr, columns, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    offsets = tl.arange(0, BLOCK)
    value = tl.load(x_ptr + row * columns + offsets, mask=offsets < columns, other=0.0)
    tl.store(out_ptr + row * columns + offsets, value - tl.max(value, axis=0), mask=offsets < columns)


def scale(x):
    out = torch.empty_like(x)
    rows, columns = x.shape
    row_kernel[(rows,)](x, out, columns, BLOCK=1024)
    row_kernel[(rows,)](out, out, columns, BLOCK=triton.next_power_of_2(columns))
    return out


class ModelNew(nn.Module):
    def forward(self, x):
        return scale(x)
