import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def embedding_kernel(ids_ptr, table_ptr, out_ptr, features, BLOCK: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    cols = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = cols < features
    row = tl.load(ids_ptr + token)
    values = tl.load(table_ptr + row * features + cols, mask=mask)
    tl.store(out_ptr + token * features + cols, values, mask=mask)


def embedding(ids, table, block=128):
    ids = ids.contiguous()
    features = table.shape[1]
    out = torch.empty((*ids.shape, features), device=ids.device, dtype=table.dtype)
    grid = (ids.numel(), triton.cdiv(features, block))
    embedding_kernel[grid](ids, table, out, features, BLOCK=block, num_warps=1)
    return out


class ModelNew(nn.Module):
    def __init__(self, vocabulary: int, features: int):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, features)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return embedding(ids, self.embed.weight)
