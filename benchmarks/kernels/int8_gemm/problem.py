"""A linear layer whose weights are stored in 8 bits, with one scale for each output."""

import torch
import torch.nn as nn

BATCH = 64
INPUT = 4096
OUTPUT = 14336


class Model(nn.Module):
    """x [BATCH, INPUT] bfloat16 -> x @ (weight * scale).T [BATCH, OUTPUT] bfloat16."""

    def __init__(self, input_size: int, output_size: int):
        super().__init__()
        self.register_buffer("weight", torch.randint(-127, 128, (output_size, input_size), dtype=torch.int8))
        self.register_buffer("scale", torch.rand(output_size) / 127)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight.to(x.dtype) * self.scale[:, None].to(x.dtype)
        return x @ weight.T


def get_inputs():
    return [torch.randn(BATCH, INPUT, dtype=torch.bfloat16)]


def get_init_inputs():
    return [INPUT, OUTPUT]
