"""Addresses of tensors in a tensor, and sizes that change from one to the next."""

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def kernel(from_ptr, to_ptr, sizes_ptr, BLOCK: tl.constexpr):
    g = tl.program_id(0)
    x_ptr = tl.load(from_ptr + g).to(tl.pointer_type(tl.float32))
    out_ptr = tl.load(to_ptr + g).to(tl.pointer_type(tl.float32))
    total = tl.load(sizes_ptr + g)
    for start in range(0, total, BLOCK):
        at = start + tl.arange(0, BLOCK)
        tl.store(out_ptr + at, tl.load(x_ptr + at, mask=at < total) * 2, mask=at < total)


class ModelNew(nn.Module):
    def forward(self, xs):
        xs = [x.contiguous() for x in xs]
        outs = [torch.empty_like(x) for x in xs]
        device = xs[0].device
        kernel[(len(xs),)](
            torch.tensor([x.data_ptr() for x in xs], device=device),
            torch.tensor([x.data_ptr() for x in outs], device=device),
            torch.tensor([x.numel() for x in xs], device=device),
            BLOCK=256,
        )
        return outs
