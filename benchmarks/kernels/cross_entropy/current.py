import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def cross_entropy_kernel(logits_ptr, targets_ptr, losses_ptr, vocab, row_stride, BLOCK_V: tl.constexpr):
    row = tl.program_id(0)
    logits = logits_ptr + row.to(tl.int64) * row_stride
    target = tl.load(targets_ptr + row)

    # largest logit first
    largest = -float("inf")
    for start in range(0, vocab, BLOCK_V):
        v = start + tl.arange(0, BLOCK_V)
        x = tl.load(logits + v, mask=v < vocab, other=-float("inf"))
        largest = tl.maximum(largest, tl.max(x, axis=0))

    # then the sum of exponentials
    total = 0.0
    for start in range(0, vocab, BLOCK_V):
        v = start + tl.arange(0, BLOCK_V)
        x = tl.load(logits + v, mask=v < vocab, other=-float("inf"))
        total += tl.sum(tl.exp(x - largest), axis=0)

    loss = tl.log(total) + largest - tl.load(logits + target)
    tl.store(losses_ptr + row, loss)


@triton.jit
def mean_kernel(losses_ptr, out_ptr, count, BLOCK: tl.constexpr):
    acc = tl.zeros((BLOCK,), dtype=tl.float32)
    for start in range(0, count, BLOCK):
        offsets = start + tl.arange(0, BLOCK)
        acc += tl.load(losses_ptr + offsets, mask=offsets < count, other=0.0)
    tl.store(out_ptr, tl.sum(acc, axis=0) / count)


def cross_entropy(logits, targets):
    logits = logits.contiguous()
    targets = targets.contiguous()
    rows, vocab = logits.shape
    losses = torch.empty(rows, device=logits.device, dtype=torch.float32)
    block_v = min(triton.next_power_of_2(vocab), 1024)
    cross_entropy_kernel[(rows,)](logits, targets, losses, vocab, logits.stride(0), BLOCK_V=block_v)
    out = torch.empty((), device=logits.device, dtype=torch.float32)
    mean_kernel[(1,)](losses, out, rows, BLOCK=1024)
    return out


class ModelNew(nn.Module):
    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return cross_entropy(logits, targets)
