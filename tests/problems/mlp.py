import torch
import torch.nn as nn

ROWS = 24
INNER = 32
OUTER = 48


class Model(nn.Module):
    """x [ROWS, INNER] -> relu(x @ first) @ second."""

    def __init__(self, inner, outer):
        super().__init__()
        self.first = nn.Parameter(torch.randn(inner, outer))
        self.second = nn.Parameter(torch.randn(outer, inner))

    def forward(self, x):
        return torch.relu(x @ self.first) @ self.second


def get_inputs():
    return [torch.randn(ROWS, INNER)]


def get_init_inputs():
    return [INNER, OUTER]
