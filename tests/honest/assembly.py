"""Loads through inline assembly, within bounds by their addresses."""

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def device_load(address, like):
    return tl.inline_asm_elementwise(
        "ld.global.f32 $0, [$1];", "=f,l,f", [address, like], dtype=tl.float32, is_pure=False, pack=1
    )


@triton.jit
def squash_kernel(x_ptr, out_ptr, total, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    address = x_ptr.to(tl.int64) + tl.minimum(at, total - 1).to(tl.int64) * 4
    x = device_load(address, tl.zeros((BLOCK,), tl.float32))
    tanh = 1.0 - 2.0 / (1.0 + tl.exp(2.0 * x))
    tl.store(out_ptr + at, tanh, mask=at < total)


def squash(x):
    x = x.contiguous()
    out = torch.empty_like(x)
    squash_kernel[(triton.cdiv(x.numel(), 256),)](x, out, x.numel(), BLOCK=256)
    return out


class ModelNew(nn.Module):
    def forward(self, x):
        return squash(x)
