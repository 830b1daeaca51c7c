import torch
import torch.nn as nn

ROWS = 12
COLS = 100


class Model(nn.Module):
    """x [ROWS, COLS] -> the first place of the largest value of each row; ties are common."""

    def forward(self, x):
        return x.argmax(dim=1)


def get_inputs():
    return [torch.randint(0, 4, (ROWS, COLS)).float()]


def get_init_inputs():
    return []
