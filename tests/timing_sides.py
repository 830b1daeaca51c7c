"""A problem that takes no time, and candidates that do what a test puts before their work."""

from __future__ import annotations

PROBLEM = """
import torch
from torch import nn

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8))

    def forward(self, x):
        return x * self.weight

def get_inputs():
    return [torch.rand(16, 8)]

def get_init_inputs():
    return []
"""
CANDIDATE = """
import time
import torch
from torch import nn
{above}
class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(8))

    def forward(self, x):
        {forward}
        return x * self.weight
"""


def candidate(forward: str = "pass", above: str = "") -> str:
    return CANDIDATE.format(forward=forward, above=above)
