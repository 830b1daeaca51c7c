import torch
import torch.nn as nn

M, K, N = 1024, 512, 768


class Model(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.linear = nn.Linear(inner, outer, bias=False)

    def forward(self, x):
        return self.linear(x)


def get_inputs():
    return [torch.randn(M, K)]


def get_init_inputs():
    return [K, N]
