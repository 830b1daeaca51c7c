"""y = relu(x @ w.T + b), with sizes that do not divide the tiles."""

import torch
import torch.nn as nn

ROWS = 1000
INNER = 1536
COLS = 2040


class Model(nn.Module):
    def __init__(self, inner, cols):
        super().__init__()
        self.linear = nn.Linear(inner, cols)

    def forward(self, x):
        return torch.relu(self.linear(x))


def get_inputs():
    return [torch.randn(ROWS, INNER)]


def get_init_inputs():
    return [INNER, COLS]
