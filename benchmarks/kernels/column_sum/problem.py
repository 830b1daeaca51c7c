"""The sum of each column, as in the gradient of a bias."""

import torch
import torch.nn as nn

ROWS = 2048
COLS = 8192


class Model(nn.Module):
    """x [ROWS, COLS] -> sums [COLS]."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sum(x, dim=0)


def get_inputs():
    return [torch.randn(ROWS, COLS)]


def get_init_inputs():
    return []
