import torch
import torch.nn as nn

ROWS = 12
COLS = 100


class Model(nn.Module):
    """x [ROWS, COLS] -> softmax of a millionth of x: every output is close to 1 / COLS."""

    def forward(self, x):
        return torch.softmax(x * 1e-6, dim=1)


def get_inputs():
    return [torch.randn(ROWS, COLS)]


def get_init_inputs():
    return []
