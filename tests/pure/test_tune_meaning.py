"""Tiles whose extent is part of what a kernel computes are not varied; those of everyday kernels are."""

from __future__ import annotations

import pytest

from tilewright.kernelfile import KernelFile
from tilewright.proposers.tune.tunables import find_tunables

FILE = """import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def scaled_sum(total, at, scales, K, TILE: tl.constexpr):
    for k in range(0, K, TILE):
        total += tl.sum(tl.load(at + k), axis=1) * tl.load(scales)
        scales += 1
    return total


@triton.jit
def kernel(x, y, s, n, K, BLOCK: tl.constexpr, BLOCK_K: tl.constexpr):
    pid = tl.program_id(0)
    offs = pid * BLOCK + tl.arange(0, BLOCK)
    cols = tl.arange(0, BLOCK_K)
{body}


class ModelNew(nn.Module):
    def forward(self, x, y, s):
        grid = lambda META: (triton.cdiv(x.shape[0], META["BLOCK"]),)
        kernel[grid](x, y, s, x.shape[0], x.shape[1], BLOCK=64, BLOCK_K=32)
        return y
"""


def left_alone(body: str) -> dict[str, str]:
    """Each tile that is left alone, with the reason."""
    indented = "\n".join(f"    {line}" for line in body.strip("\n").splitlines())
    tunables, notes = find_tunables(KernelFile.parse(FILE.format(body=indented)), None)
    (tunable,) = tunables
    own = [note.removeprefix("kernel: ") for note in notes if note.startswith("kernel: ")]
    found = dict(note.split(" is left alone: ", 1) for note in own)
    assert {tile.name for tile in tunable.tiles} | set(found) == {"BLOCK", "BLOCK_K"}
    return found


@pytest.mark.parametrize(
    ("body", "tile", "why"),
    [
        (  # one scale for the elements of a program
            """
a = tl.load(x + offs)
scale = tl.max(tl.abs(a)) / 127.0
tl.store(y + offs, a / scale)
for k in range(0, K, BLOCK_K):
    tl.store(s + k + cols, tl.load(x + k + cols))
""",
            "BLOCK",
            "line 22: what is stored depends on max over one tile of it",
        ),
        (  # one scale for the elements of a turn
            """
for k in range(0, K, BLOCK_K):
    a = tl.load(x + offs[:, None] * K + k + cols[None, :])
    scale = tl.max(tl.abs(a), axis=1)
    tl.store(y + offs[:, None] * K + k + cols[None, :], a / scale[:, None])
""",
            "BLOCK_K",
            "line 23: what is stored depends on max over one tile of it",
        ),
        (  # sums that begin anew in every chunk
            """
for k in range(0, K, BLOCK_K):
    a = tl.load(x + offs[:, None] * K + k + cols[None, :])
    tl.store(y + offs[:, None] * K + k + cols[None, :], tl.cumsum(a, axis=0))
""",
            "BLOCK",
            "line 22: cumsum goes over one tile of it at a time",
        ),
        (  # one scale for BLOCK_K elements of the inner dimension
            """
at = x + offs[:, None] * K + cols[None, :]
scales = s + offs
total = tl.zeros((BLOCK,), dtype=tl.float32)
for k in range(tl.cdiv(K, BLOCK_K)):
    total += tl.sum(tl.load(at), axis=1) * tl.load(scales)
    at += BLOCK_K
    scales += 1
tl.store(y + offs, total)
""",
            "BLOCK_K",
            "line 26: scales advances by the same for every tile of it",
        ),
        (
            """
total = tl.zeros((BLOCK,), dtype=tl.float32)
for k in range(0, tl.cdiv(K, BLOCK_K)):
    scale = tl.load(s + k)
    total += scale * tl.sum(tl.load(x + offs[:, None] * K + k * BLOCK_K + cols[None, :]), axis=1)
tl.store(y + offs, total)
""",
            "BLOCK_K",
            "line 22: memory is addressed by the number of its tile",
        ),
        (  # the same in a function that the kernel calls
            """
at = x + offs[:, None] * K + cols[None, :]
tl.store(y + offs, scaled_sum(tl.zeros((BLOCK,), dtype=tl.float32), at, s, K, BLOCK_K))
""",
            "BLOCK_K",
            "line 11: scales advances by the same for every tile of it",
        ),
        (  # one scale for the elements of a program, made elsewhere
            """
total = tl.zeros((BLOCK,), dtype=tl.float32)
for k in range(0, K, BLOCK_K):
    total += tl.sum(tl.load(x + offs[:, None] * K + k + cols[None, :]), axis=1)
tl.store(y + offs, total * tl.load(s + pid))
""",
            "BLOCK",
            "line 23: load goes by the number of its tile",
        ),
        (  # random numbers that begin anew in every program
            """
total = tl.zeros((BLOCK,), dtype=tl.float32)
for k in range(0, K, BLOCK_K):
    total += tl.sum(tl.load(x + offs[:, None] * K + k + cols[None, :]), axis=1)
tl.store(y + offs, tl.where(tl.rand(n + pid, tl.arange(0, BLOCK)) > 0.5, total, 0.0))
""",
            "BLOCK",
            "line 23: rand goes by the number of its tile",
        ),
    ],
)
def test_a_tile_that_means_something_is_left_alone(body: str, tile: str, why: str) -> None:
    assert left_alone(body) == {tile: f"another extent would compute something else: {why}"}


@pytest.mark.parametrize(
    "body",
    [
        """
total = tl.zeros((BLOCK,), dtype=tl.float32)
for k in range(0, K, BLOCK_K):
    total += tl.sum(tl.load(x + offs[:, None] * K + k + cols[None, :]), axis=1)
tl.store(y + offs, total / K)
""",
        """
at = x + offs[:, None] * K + cols[None, :]
for k in range(tl.cdiv(K, BLOCK_K)):
    a = tl.load(at, mask=cols[None, :] < K - k * BLOCK_K, other=0.0)
    tl.store(y + offs[:, None] * K + k * BLOCK_K + cols[None, :], a * tl.load(s + (k * BLOCK_K + cols) // 4))
    at += BLOCK_K
""",
        """
low = tl.full((BLOCK,), float("inf"), dtype=tl.float32)
for k in range(0, K, BLOCK_K):
    low = tl.minimum(low, tl.min(tl.load(x + offs[:, None] * K + k + cols[None, :]), axis=1))
for k in range(0, K, BLOCK_K):
    a = tl.load(x + offs[:, None] * K + k + cols[None, :])
    tl.store(y + offs[:, None] * K + k + cols[None, :], a - low[:, None])
tl.store(s + pid, tl.sum(low))
""",
        """
carry = 0.0
for k in range(0, K, BLOCK_K):
    a = tl.load(x + offs[:, None] * K + k + cols[None, :])
    tl.store(y + offs[:, None] * K + k + cols[None, :], tl.cumsum(a, axis=1) + carry)
    carry += tl.sum(a, axis=1)[:, None]
""",
    ],
)
def test_tiles_of_everyday_loops_are_varied(body: str) -> None:
    assert left_alone(body) == {}
