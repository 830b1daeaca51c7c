"""A few rows through a large linear layer, as when a language model decodes."""

import torch
import torch.nn as nn

BATCH = 16
INPUT = 4096
OUTPUT = 4096


class Model(nn.Module):
    """x [BATCH, INPUT] -> x @ weight.T [BATCH, OUTPUT]."""

    def __init__(self, input_size: int, output_size: int):
        super().__init__()
        self.proj = nn.Linear(input_size, output_size, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.proj(x)


def get_inputs():
    return [torch.randn(BATCH, INPUT)]


def get_init_inputs():
    return [INPUT, OUTPUT]
