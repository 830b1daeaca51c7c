import torch
import torch.nn as nn

ROWS = 12
COLS = 100


class Model(nn.Module):
    """x [ROWS, COLS] -> a billionth of x * x; the outputs are far below any absolute tolerance."""

    def forward(self, x):
        return x * x * 1e-9


def get_inputs():
    return [torch.randn(ROWS, COLS)]


def get_init_inputs():
    return []
