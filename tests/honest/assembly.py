"""tanh through inline assembly."""

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def device_tanh(x):
    return tl.inline_asm_elementwise(
        """{
.reg .f32 e;
mul.f32 e, $1, 0f4038AA3B;
ex2.approx.ftz.f32 e, e;
add.f32 e, e, 0f3F800000;
rcp.approx.ftz.f32 e, e;
fma.rn.f32 $0, e, 0fC0000000, 0f3F800000;
}""",
        "=f,f",
        [x],
        dtype=tl.float32,
        is_pure=True,
        pack=1,
    )


@triton.jit
def squash_kernel(x_ptr, out_ptr, total, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < total)
    tl.store(out_ptr + at, device_tanh(x), mask=at < total)


def squash(x):
    x = x.contiguous()
    out = torch.empty_like(x)
    squash_kernel[(triton.cdiv(x.numel(), 256),)](x, out, x.numel(), BLOCK=256)
    return out


class ModelNew(nn.Module):
    def forward(self, x):
        return squash(x)
