import torch
import torch.nn as nn

ROWS = 12
COLS = 100


class Model(nn.Module):
    """x [ROWS, COLS] -> x, larger by a ten-thousandth."""

    def forward(self, x):
        return x * 1.0001


def get_inputs():
    return [torch.randn(ROWS, COLS)]


def get_init_inputs():
    return []
