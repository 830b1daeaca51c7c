"""A recurrence: h = tanh(x[t] + w·h) over many steps, with an initial state drawn inside forward."""

import torch
import torch.nn as nn

STEPS = 512
BATCH = 8
HIDDEN = 32


class Model(nn.Module):
    """x [STEPS, BATCH, HIDDEN] -> h [BATCH, HIDDEN] after the last step."""

    def __init__(self, hidden):
        super().__init__()
        self.mix = nn.Linear(hidden, hidden)

    def forward(self, x):
        h = torch.randn(x.shape[1], x.shape[2], device=x.device)
        for step in x:
            h = torch.tanh(step + self.mix(h))
        return h


def get_inputs():
    return [torch.randn(STEPS, BATCH, HIDDEN)]


def get_init_inputs():
    return [HIDDEN]
