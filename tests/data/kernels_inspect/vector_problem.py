import torch
import torch.nn as nn

SIZE = 1 << 20


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(1))

    def forward(self, x):
        return torch.relu(x * self.scale)


def get_inputs():
    return [torch.randn(SIZE)]


def get_init_inputs():
    return []
