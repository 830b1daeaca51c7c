import torch
import torch.nn as nn

ROWS = 24
INNER = 32
OUTER = 48


class Model(nn.Module):
    """x [ROWS, INNER] -> x @ weight.T + bias, the bias a thousandth of the products."""

    def __init__(self, inner, outer):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outer, inner))
        self.bias = nn.Parameter(torch.randn(outer) * 1e-3)

    def forward(self, x):
        return x @ self.weight.t() + self.bias


def get_inputs():
    return [torch.randn(ROWS, INNER)]


def get_init_inputs():
    return [INNER, OUTER]
