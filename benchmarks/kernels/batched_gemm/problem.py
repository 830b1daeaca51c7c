"""Many small matrix products at once."""

import torch
import torch.nn as nn

BATCH = 16
M = 1024
N = 1024
K = 512


class Model(nn.Module):
    """a [BATCH, M, K], b [BATCH, K, N] -> a @ b [BATCH, M, N]."""

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.bmm(a, b)


def get_inputs():
    return [torch.randn(BATCH, M, K), torch.randn(BATCH, K, N)]


def get_init_inputs():
    return []
