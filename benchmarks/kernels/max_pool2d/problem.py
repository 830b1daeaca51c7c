"""A pooling as at the beginning of residual networks: the maximum of 3 by 3 pixels, every second one."""

import torch
import torch.nn as nn

BATCH = 16
CHANNELS = 64
HEIGHT = 128
WIDTH = 128
KERNEL = 3
STRIDE = 2
PADDING = 1


class Model(nn.Module):
    """x [BATCH, CHANNELS, HEIGHT, WIDTH] -> [BATCH, CHANNELS, HEIGHT / 2, WIDTH / 2]."""

    def __init__(self, kernel_size: int, stride: int, padding: int):
        super().__init__()
        self.pool = nn.MaxPool2d(kernel_size, stride, padding)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pool(x)


def get_inputs():
    return [torch.randn(BATCH, CHANNELS, HEIGHT, WIDTH)]


def get_init_inputs():
    return [KERNEL, STRIDE, PADDING]
