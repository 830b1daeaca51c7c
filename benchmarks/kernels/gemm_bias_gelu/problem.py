"""The first half of a transformer's MLP: a linear layer with bias, then GELU."""

import torch
import torch.nn as nn
import torch.nn.functional as F

TOKENS = 4096
INPUT = 1024
HIDDEN = 4096


class Model(nn.Module):
    """x [TOKENS, INPUT] -> gelu(fc(x)) [TOKENS, HIDDEN]."""

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__()
        self.fc = nn.Linear(input_size, hidden_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.gelu(self.fc(x))


def get_inputs():
    return [torch.randn(TOKENS, INPUT)]


def get_init_inputs():
    return [INPUT, HIDDEN]
