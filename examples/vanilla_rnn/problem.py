"""A vanilla RNN that emits an output at every step: h = tanh(i2h([x, h])), y = h2o(h)."""

import torch
import torch.nn as nn

STEPS = 256
BATCH = 8
INPUT = 1024
HIDDEN = 256
OUTPUT = 128


class Model(nn.Module):
    """x [STEPS, BATCH, INPUT], h0 [BATCH, HIDDEN] -> y [STEPS, BATCH, OUTPUT]."""

    def __init__(self, input_size: int, hidden_size: int, output_size: int):
        super().__init__()
        self.i2h = nn.Linear(input_size + hidden_size, hidden_size)
        self.h2o = nn.Linear(hidden_size, output_size)

    def forward(self, x: torch.Tensor, h0: torch.Tensor) -> torch.Tensor:
        hidden = h0
        outputs = []
        for step in x:
            hidden = torch.tanh(self.i2h(torch.cat((step, hidden), dim=1)))
            outputs.append(self.h2o(hidden))
        return torch.stack(outputs)


def get_inputs():
    return [torch.randn(STEPS, BATCH, INPUT), torch.randn(BATCH, HIDDEN)]


def get_init_inputs():
    return [INPUT, HIDDEN, OUTPUT]
