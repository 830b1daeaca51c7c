"""Dataclasses, enumerations, named tuples, logging, warnings and cached functions around a launch."""

import contextlib
import dataclasses
import enum
import functools
import logging
import os
import warnings
from typing import NamedTuple

import torch
import torch.nn as nn
import triton
import triton.language as tl

log = logging.getLogger(__name__)
os.environ.setdefault("TRITON_PRINT_AUTOTUNING", "0")


@triton.jit
def scale_kernel(x_ptr, weight_ptr, bias_ptr, out_ptr, cols, total, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    ok = at < total
    x = tl.load(x_ptr + at, mask=ok)
    weight = tl.load(weight_ptr + at % cols, mask=ok)
    bias = tl.load(bias_ptr + at % cols, mask=ok)
    tl.store(out_ptr + at, x * weight + bias, mask=ok)


class Way(enum.Enum):
    FLAT = "flat"


class Extent(NamedTuple):
    rows: int
    cols: int


@dataclasses.dataclass(frozen=True)
class Plan:
    way: Way
    extent: Extent
    block: int = 256


@functools.lru_cache(maxsize=None)
def plan(rows, cols):
    log.debug("planning %d x %d", rows, cols)
    if cols % 16:
        warnings.warn("columns are not a multiple of 16", stacklevel=2)
    return Plan(Way.FLAT, Extent(rows, cols))


def scale(x, weight, bias):
    x = x.contiguous()
    chosen = plan(*x.shape)
    with contextlib.suppress(AttributeError):
        x.no_such_attribute
    out = torch.empty_like(x)
    grid = (triton.cdiv(x.numel(), chosen.block),)
    scale_kernel[grid](x, weight, bias, out, chosen.extent.cols, x.numel(), BLOCK=chosen.block)
    return out


class ModelNew(nn.Module):
    def __init__(self, cols):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(cols))
        self.bias = nn.Parameter(torch.randn(cols))

    def forward(self, x):
        return scale(x, self.weight, self.bias)
