"""One step of a wide Elman cell with a readout: nothing to spread over time, all of it two products."""

import torch
import torch.nn as nn

BATCH = 256
INPUT = 16384
HIDDEN = 16384
OUTPUT = 8192


class Model(nn.Module):
    """x [BATCH, INPUT], h [BATCH, HIDDEN] -> y [BATCH, OUTPUT]."""

    def __init__(self, input_size: int, hidden_size: int, output_size: int) -> None:
        super().__init__()
        self.i2h = nn.Linear(input_size + hidden_size, hidden_size)
        self.h2o = nn.Linear(hidden_size, output_size)

    def forward(self, x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        return self.h2o(torch.tanh(self.i2h(torch.cat((x, h), dim=1))))


def get_inputs() -> list[torch.Tensor]:
    return [torch.rand(BATCH, INPUT), torch.rand(BATCH, HIDDEN)]


def get_init_inputs() -> list[int]:
    return [INPUT, HIDDEN, OUTPUT]
