import torch
import torch.nn as nn

BATCH = 6
LENGTH = 10
VOCABULARY = 50
WIDTH = 32


class Model(nn.Module):
    """ids [BATCH, LENGTH] -> rows of the table, times a gain."""

    def __init__(self, vocabulary, width):
        super().__init__()
        self.table = nn.Parameter(torch.randn(vocabulary, width))
        self.gain = nn.Parameter(torch.randn(width))

    def forward(self, ids):
        return self.table[ids] * self.gain


def get_inputs():
    return [torch.randint(0, VOCABULARY, (BATCH, LENGTH))]


def get_init_inputs():
    return [VOCABULARY, WIDTH]
