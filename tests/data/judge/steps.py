import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.autotune(
    configs=[triton.Config({"BLOCK": 16}), triton.Config({"BLOCK": 32})],
    key=["hidden"],
)
@triton.jit
def step_kernel(x_ptr, h_ptr, w_ptr, bias_ptr, out_ptr, batch, hidden, BLOCK: tl.constexpr):
    rows = tl.program_id(0) * 16 + tl.arange(0, 16)
    cols = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    ok = (rows[:, None] < batch) & (cols[None, :] < hidden)
    acc = tl.zeros((16, BLOCK), dtype=tl.float32)
    for start in range(0, hidden, 16):
        k = start + tl.arange(0, 16)
        h = tl.load(h_ptr + rows[:, None] * hidden + k[None, :], mask=rows[:, None] < batch, other=0.0)
        w = tl.load(w_ptr + cols[None, :] * hidden + k[:, None], mask=cols[None, :] < hidden, other=0.0)
        acc += tl.dot(h, w, input_precision="ieee")
    acc += tl.load(bias_ptr + cols, mask=cols < hidden, other=0.0)[None, :]
    at = rows[:, None] * hidden + cols[None, :]
    acc += tl.load(x_ptr + at, mask=ok, other=0.0)
    decay = tl.exp(-2.0 * tl.abs(acc))
    size = (1.0 - decay) / (1.0 + decay)
    tl.store(out_ptr + at, tl.where(acc < 0, -size, size), mask=ok)


def step(x, h, weight, bias):
    out = torch.empty_like(h)
    batch, hidden = h.shape
    if hidden % 16:
        raise ValueError(f"{hidden} hidden units are no multiple of 16")
    grid = lambda meta: (triton.cdiv(batch, 16), triton.cdiv(hidden, meta["BLOCK"]))
    step_kernel[grid](x, h, weight, bias, out, batch, hidden)
    return out


class ModelNew(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.mix = nn.Linear(hidden, hidden)

    def forward(self, x):
        h = torch.randn(x.shape[1], x.shape[2], device=x.device)
        for one in x.contiguous():
            h = step(one, h, self.mix.weight, self.mix.bias)
        return h
