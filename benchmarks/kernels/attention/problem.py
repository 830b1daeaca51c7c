"""Attention over whole sequences, not causal, in float16."""

import torch
import torch.nn as nn
import torch.nn.functional as F

BATCH = 2
HEADS = 8
TOKENS = 4096
WIDTH = 64


class Model(nn.Module):
    """q, k, v [BATCH, HEADS, TOKENS, WIDTH] -> softmax(q @ k.T / sqrt(WIDTH)) @ v, the same shape."""

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(q, k, v)


def get_inputs():
    return [torch.randn(BATCH, HEADS, TOKENS, WIDTH, dtype=torch.float16) for _ in range(3)]


def get_init_inputs():
    return []
