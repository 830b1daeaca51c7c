"""Values and places in one kernel, returned as a pair."""

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def extremes_kernel(x_ptr, value_ptr, place_ptr, cols, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * cols + at, mask=at < cols, other=float("-inf"))
    value, place = tl.max(x, axis=0, return_indices=True)
    tl.store(value_ptr + row, value)
    tl.store(place_ptr + row, place.to(tl.int64))


def extremes(x):
    x = x.contiguous()
    rows, cols = x.shape
    values = torch.empty(rows, device=x.device, dtype=x.dtype)
    places = torch.empty(rows, device=x.device, dtype=torch.int64)
    extremes_kernel[(rows,)](x, values, places, cols, BLOCK=triton.next_power_of_2(cols))
    return values, places


class ModelNew(nn.Module):
    def forward(self, x):
        return extremes(x)
