"""An Elman layer over a sequence."""

import torch
import torch.nn as nn

STEPS = 512
BATCH = 16
HIDDEN = 256


class Model(nn.Module):
    """x [STEPS, BATCH, HIDDEN] -> the state at every step [STEPS, BATCH, HIDDEN]."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.rnn = nn.RNN(hidden_size, hidden_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output, _ = self.rnn(x)
        return output


def get_inputs():
    return [torch.randn(STEPS, BATCH, HIDDEN)]


def get_init_inputs():
    return [HIDDEN]
