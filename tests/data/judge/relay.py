import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def relay_kernel(x, y, turn, parts, WIDTH: tl.constexpr):
    """Row i of the running sum waits for row i - 1, which a later program makes."""
    row = parts - 1 - tl.program_id(0)
    column = tl.arange(0, WIDTH)
    while tl.atomic_add(turn, 0, sem="acquire") < row:
        pass
    total = tl.load(x + row * WIDTH + column)
    if row > 0:
        total += tl.load(y + (row - 1) * WIDTH + column)
    tl.store(y + row * WIDTH + column, total)
    tl.debug_barrier()
    tl.atomic_add(turn, 1, sem="release")


def relay(x):
    x = x.contiguous()
    y = torch.empty_like(x)
    turn = torch.zeros(1, dtype=torch.int32, device=x.device)
    relay_kernel[(x.shape[0],)](x, y, turn, x.shape[0], WIDTH=x.shape[1])
    return y


class ModelNew(nn.Module):
    def forward(self, x):
        return relay(x)
