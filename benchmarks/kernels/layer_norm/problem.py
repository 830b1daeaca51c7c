"""Layer norm over the last dimension, with weight and bias."""

import torch
import torch.nn as nn

BATCH = 8
TOKENS = 1024
FEATURES = 2048


class Model(nn.Module):
    """x [BATCH, TOKENS, FEATURES] -> the same shape."""

    def __init__(self, features: int):
        super().__init__()
        self.norm = nn.LayerNorm(features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x)


def get_inputs():
    return [torch.randn(BATCH, TOKENS, FEATURES)]


def get_init_inputs():
    return [FEATURES]
