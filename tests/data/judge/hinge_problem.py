import torch
import torch.nn as nn

ROWS = 16
COLS = 64


class Model(nn.Module):
    """a, b [ROWS, COLS] -> max(0, <a, b> / (|a| |b|) - 0.9) of each row: zero unless two rows nearly agree."""

    def forward(self, a, b):
        return torch.relu(nn.functional.cosine_similarity(a, b) - 0.9)


def get_inputs():
    return [torch.randn(ROWS, COLS), torch.randn(ROWS, COLS)]


def get_init_inputs():
    return []
