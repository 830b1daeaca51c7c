"""A language model's first layer: one row of a table for each token."""

import torch
import torch.nn as nn

BATCH = 8
TOKENS = 2048
VOCABULARY = 32000
FEATURES = 512


class Model(nn.Module):
    """ids [BATCH, TOKENS] int64 -> rows of the table [BATCH, TOKENS, FEATURES]."""

    def __init__(self, vocabulary: int, features: int):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, features)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.embed(ids)


def get_inputs():
    return [torch.randint(0, VOCABULARY, (BATCH, TOKENS))]


def get_init_inputs():
    return [VOCABULARY, FEATURES]
