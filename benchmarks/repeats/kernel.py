import torch
import torch.nn as nn
import triton
import triton.language as tl

REPEATS = 32768


@triton.jit(do_not_specialize=["repeats"])
def repeats_kernel(x_ptr, out_ptr, numel, repeats, BLOCK: tl.constexpr):
    """out = x, after `repeats` steps of y = y / 2 + x / 2, which are exact and leave y = x as it is."""
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < numel
    x = tl.load(x_ptr + offsets, mask=inside, other=0.0)
    y = x
    for _ in range(repeats):
        y = y * 0.5 + x * 0.5
    tl.store(out_ptr + offsets, y, mask=inside)


def repeated(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    numel = x.numel()
    repeats_kernel[(triton.cdiv(numel, 1024),)](x, out, numel, REPEATS, BLOCK=1024)
    return out


class ModelNew(nn.Module):
    """x [NUMEL] -> x [NUMEL]."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return repeated(x)
