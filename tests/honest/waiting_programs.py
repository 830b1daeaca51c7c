"""Each part of a row waits for the running sum of the part before it, which a later program makes."""

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def running_kernel(x_ptr, out_ptr, turn_ptr, cols, parts, BLOCK: tl.constexpr):
    row = tl.program_id(1)
    part = parts - 1 - tl.program_id(0)
    at = part * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * cols + at, mask=at < cols, other=0.0)
    while tl.atomic_add(turn_ptr + row, 0, sem="acquire") < part:
        pass
    carried = 0.0
    if part > 0:
        carried = tl.load(out_ptr + row * cols + part * BLOCK - 1, volatile=True)
    tl.store(out_ptr + row * cols + at, carried + tl.cumsum(x, axis=0), mask=at < cols)
    tl.debug_barrier()
    tl.atomic_add(turn_ptr + row, 1, sem="release")


def running(x):
    x = x.contiguous()
    rows, cols = x.shape
    out = torch.empty_like(x)
    turns = torch.zeros(rows, dtype=torch.int32, device=x.device)
    parts = triton.cdiv(cols, 32)
    running_kernel[(parts, rows)](x, out, turns, cols, parts, BLOCK=32)
    return out


class ModelNew(nn.Module):
    def forward(self, x):
        return running(x)
