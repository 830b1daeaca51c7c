import torch
import torch.nn as nn

COLS = 100


class Model(nn.Module):
    """x [0, COLS] -> x * 2."""

    def forward(self, x):
        return x * 2


def get_inputs():
    return [torch.randn(0, COLS)]


def get_init_inputs():
    return []
