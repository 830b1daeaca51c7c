from collections import namedtuple

import torch
import torch.nn as nn

ROWS = 12
COLS = 100
Pair = namedtuple("Pair", ["left", "right"])


class Model(nn.Module):
    """left [ROWS, COLS] * right [ROWS, COLS], handed over as one named tuple."""

    def forward(self, pair):
        return pair.left * pair.right


def get_inputs():
    return [Pair(torch.randn(ROWS, COLS), torch.randn(ROWS, COLS))]


def get_init_inputs():
    return []
