import torch
import torch.nn as nn

ROWS = 12
COLS = 100


class Model(nn.Module):
    """x [ROWS, COLS] -> the largest value of each row and its place, as two outputs."""

    def forward(self, x):
        largest = x.max(dim=1)
        return largest.values, largest.indices


def get_inputs():
    return [torch.randn(ROWS, COLS)]


def get_init_inputs():
    return []
