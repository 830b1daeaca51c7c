"""Rows of a table picked by integers."""

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def gather_kernel(ids_ptr, table_ptr, gain_ptr, out_ptr, width, BLOCK: tl.constexpr):
    place = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    row = tl.load(ids_ptr + place)
    value = tl.load(table_ptr + row * width + at, mask=at < width)
    gain = tl.load(gain_ptr + at, mask=at < width)
    tl.store(out_ptr + place * width + at, value * gain, mask=at < width)


def gather(ids, table, gain):
    ids = ids.contiguous()
    width = table.shape[1]
    out = torch.empty(*ids.shape, width, device=ids.device, dtype=table.dtype)
    gather_kernel[(ids.numel(),)](ids, table, gain, out, width, BLOCK=triton.next_power_of_2(width))
    return out


class ModelNew(nn.Module):
    def __init__(self, vocabulary, width):
        super().__init__()
        self.table = nn.Parameter(torch.randn(vocabulary, width))
        self.gain = nn.Parameter(torch.randn(width))

    def forward(self, ids):
        return gather(ids, self.table, self.gain)
