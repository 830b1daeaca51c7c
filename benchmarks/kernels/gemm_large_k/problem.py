"""A matrix product whose inner dimension is far larger than its output."""

import torch
import torch.nn as nn

M = 256
N = 256
K = 32768


class Model(nn.Module):
    """a [M, K], b [K, N] -> a @ b [M, N]."""

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.matmul(a, b)


def get_inputs():
    return [torch.randn(M, K), torch.randn(K, N)]


def get_init_inputs():
    return []
