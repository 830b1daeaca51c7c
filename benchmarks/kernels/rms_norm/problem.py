"""RMS norm over the last dimension, with a weight; bfloat16 in and out, float32 in between."""

import torch
import torch.nn as nn

TOKENS = 8192
FEATURES = 4096


class Model(nn.Module):
    """x [TOKENS, FEATURES] bfloat16 -> the same shape and type."""

    def __init__(self, features: int, eps: float = 1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = x.float()
        scale = torch.rsqrt(wide.pow(2).mean(dim=-1, keepdim=True) + self.eps)
        return (wide * scale * self.weight).to(x.dtype)


def get_inputs():
    return [torch.randn(TOKENS, FEATURES, dtype=torch.bfloat16)]


def get_init_inputs():
    return [FEATURES]
