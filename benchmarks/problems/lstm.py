"""A six-layer LSTM."""

import torch
import torch.nn as nn

STEPS = 512
BATCH = 10
INPUT = 128
HIDDEN = 256
LAYERS = 6
DIRECTIONS = 1


class Model(nn.Module):
    """x [STEPS, BATCH, INPUT] -> the last layer at every step [STEPS, BATCH, DIRECTIONS * HIDDEN]."""

    def __init__(self, input_size: int, hidden_size: int, layers: int):
        super().__init__()
        self.rnn = nn.LSTM(input_size, hidden_size, layers, bidirectional=False)

    def forward(self, x: torch.Tensor, h0: torch.Tensor, c0: torch.Tensor) -> torch.Tensor:
        output, _ = self.rnn(x, (h0, c0))
        return output


def get_inputs():
    return [
        torch.rand(STEPS, BATCH, INPUT),
        torch.randn(LAYERS * DIRECTIONS, BATCH, HIDDEN),
        torch.randn(LAYERS * DIRECTIONS, BATCH, HIDDEN),
    ]


def get_init_inputs():
    return [INPUT, HIDDEN, LAYERS]
