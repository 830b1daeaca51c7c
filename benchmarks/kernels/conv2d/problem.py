"""A convolution as in residual networks: 3 by 3, as many pixels out as in."""

import torch
import torch.nn as nn

BATCH = 32
INPUT = 64
OUTPUT = 128
HEIGHT = 64
WIDTH = 64
KERNEL = 3
PADDING = 1


class Model(nn.Module):
    """x [BATCH, INPUT, HEIGHT, WIDTH] -> [BATCH, OUTPUT, HEIGHT, WIDTH]."""

    def __init__(self, input_channels: int, output_channels: int, kernel_size: int, padding: int):
        super().__init__()
        self.conv = nn.Conv2d(input_channels, output_channels, kernel_size, padding=padding)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


def get_inputs():
    return [torch.randn(BATCH, INPUT, HEIGHT, WIDTH)]


def get_init_inputs():
    return [INPUT, OUTPUT, KERNEL, PADDING]
