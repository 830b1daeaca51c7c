"""The mean cross-entropy of a language model's logits."""

import torch
import torch.nn as nn
import torch.nn.functional as F

TOKENS = 512
VOCABULARY = 32000


class Model(nn.Module):
    """logits [TOKENS, VOCABULARY], targets [TOKENS] int64 -> the mean loss, no dimensions."""

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits, targets)


def get_inputs():
    return [torch.randn(TOKENS, VOCABULARY), torch.randint(0, VOCABULARY, (TOKENS,))]


def get_init_inputs():
    return []
