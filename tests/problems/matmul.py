import torch
import torch.nn as nn

M = 64
N = 48
K = 32


class Model(nn.Module):
    """a [M, K] @ b [K, N]."""

    def forward(self, a, b):
        return a @ b


def get_inputs():
    return [torch.randn(M, K), torch.randn(K, N)]


def get_init_inputs():
    return []
