"""A copy: what kernel.py returns after any number of repeats."""

import torch
import torch.nn as nn

NUMEL = 2**18


class Model(nn.Module):
    """x [NUMEL] -> x [NUMEL]."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.clone()


def get_inputs():
    return [torch.rand(NUMEL)]


def get_init_inputs():
    return []
