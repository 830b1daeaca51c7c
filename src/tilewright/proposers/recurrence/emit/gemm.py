"""The matrix products before and after the loops: one Triton kernel for a whole sequence.

The rows of the left operand are addressed by two indices, so [T, B, inner] is read as it lies, whatever
its strides, and the result is written [T, B, width] or, for a loop that reads it so, in tiles of 8 rows:
[T, tiles, width, 8].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tilewright.gpu.model import Gpu

FUNCTION = "project"
STAGES_SHARED_BYTES = 4  # of one float32 element in a pipeline stage


@dataclass(frozen=True)
class Tile:
    """One program's part of the result, rows × columns, and its step along the inner axis."""

    rows: int
    columns: int
    inner: int
    warps: int
    stages: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """As the file's `project` takes them."""
        return self.rows, self.columns, self.inner, self.warps, self.stages

    @property
    def shared_bytes(self) -> int:
        return (self.rows + self.columns) * self.inner * STAGES_SHARED_BYTES * self.stages


# Largest first. 128 × 256 reads least for what the tensor cores compute, where shared memory holds it.
# 64 × 64 × 64 gives the 2048 × 256 result of the reference case 128 programs, one for nearly each of an
# H100's 132 SMs.
TILES = (
    Tile(128, 256, 32, 8, 4),
    Tile(128, 128, 32, 8, 4),
    Tile(128, 64, 32, 4, 4),
    Tile(64, 64, 64, 4, 4),
    Tile(64, 64, 64, 4, 3),
    Tile(64, 64, 64, 4, 2),
    Tile(64, 32, 64, 4, 3),
    Tile(32, 32, 64, 4, 3),
    Tile(16, 32, 64, 4, 3),
)
GROUP = 16  # tiles of rows that read the same columns of the weight one after another
ENOUGH = 0.7  # of the SMs with a program each: smaller tiles would read the operands more often


def choose_tile(rows: int, columns: int, inner: int, gpu: Gpu) -> Tile:
    """The largest tile that gives most SMs a program and fits a block's shared memory.

    Args:
        rows, columns, inner: sizes of the product, elements.
    """
    fitting = [tile for tile in TILES if tile.shared_bytes <= gpu.shared_memory_per_block_bytes]
    for tile in fitting:
        if math.ceil(rows / tile.rows) * math.ceil(columns / tile.columns) >= ENOUGH * gpu.sms:
            return tile
    return fitting[-1]


DOTS = {
    "float32": 'tl.dot(x, tl.trans(w), acc, input_precision="tf32x3")',
    "tf32": 'tl.dot(nearest_tf32(x), tl.trans(w), acc, input_precision="tf32")',
    "float16": "tl.dot(x.to(tl.float16), tl.trans(w.to(tl.float16)), acc)",
    "bfloat16": "tl.dot(x.to(tl.bfloat16), tl.trans(w.to(tl.bfloat16)), acc)",
}
# Helpers of ops.HELPERS. Rounding errs half as far as dropping bits; weights are rounded beforehand, so that
# tensor cores read them where the loads leave them.
USES = {"tf32": frozenset({"nearest_tf32"})}
ROUNDED = '''def rounded_to_tf32(weight):
    """weight with TF32's ten bits of fraction, the nearest: the tensor cores would drop the others."""
    bits = weight.contiguous().view(torch.int32)
    rounded = ((bits + 0x1000) & -0x2000).view(torch.float32)
    return torch.where(weight == weight, rounded, weight)
'''
EPILOGUES = {"tanh": "tanh(acc)", "sigmoid": "sigmoid(acc)", "relu": "tl.maximum(acc, 0.0)"}


def epilogue(activations: frozenset[str]) -> str:
    """Lines of a kernel that apply what ACTIVATION names to its sums.

    Args:
        activations: keys of EPILOGUES that the file asks for.
    """
    return "".join(
        f'    if ACTIVATION == "{name}":\n        acc = {EPILOGUES[name]}\n' for name in sorted(activations)
    )


# Of every kernel whose programs are tiles in this order: where a program's tile begins.
ORDER = """    tiles_n: tl.constexpr = (COLUMNS + BLOCK_N - 1) // BLOCK_N
    first_m = tl.program_id(0) // (GROUP * tiles_n) * GROUP
    within = tl.program_id(0) % (GROUP * tiles_n)
    together = tl.minimum(tl.cdiv(rows, BLOCK_M) - first_m, GROUP)
    first_row = (first_m + within % together) * BLOCK_M
"""
# Of every kernel that may lay its result in tiles of 8 rows: where it does.
STORED_IN_TILES = """    if TILED:
        eight = first_row // 8 + tl.arange(0, BLOCK_M // 8)
        out = out_ptr + eight.to(tl.int64)[:, None, None] * (COLUMNS * 8) + column[None, :, None] * 8
        tiles = acc.reshape(BLOCK_M // 8, 8, BLOCK_N).permute(0, 2, 1)
        live = (eight < rows // 8)[:, None, None] & (column < COLUMNS)[None, :, None]
        tl.store(out + tl.arange(0, 8)[None, None, :], tiles, mask=live)
"""


def filled(text: str, activations: frozenset[str]) -> str:
    """A kernel's text with the lines it shares with others: the tiles' order, the epilogue, the store.

    Args:
        activations: keys of EPILOGUES that the file asks for.
    """
    text = text.replace("    # order\n", ORDER).replace("    # stored in tiles\n", STORED_IN_TILES)
    return text.replace("    # epilogue\n", epilogue(activations)).replace("GROUP", str(GROUP))


def kernel(precision: str, activations: frozenset[str]) -> str:
    """The source of the kernel.

    Args:
        precision: of the operands, "float32", "tf32", "float16" or "bfloat16"; sums are float32.
        activations: keys of EPILOGUES that the file asks for.
    """
    return filled(_KERNEL.replace("DOT", DOTS[precision]), activations)


_KERNEL = '''@triton.jit
def project_kernel(
    x_ptr, weight_ptr, bias_ptr, out_ptr, rows, group, padded,
    stride_x0, stride_x1, stride_xk, stride_wn, stride_wk,
    COLUMNS: tl.constexpr, INNER: tl.constexpr,
    HAS_BIAS: tl.constexpr, TILED: tl.constexpr, ACTIVATION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):
    """out = x @ weight.T + bias over the last axis of x [rows // group, group, INNER].

    GROUP tiles of rows go through all columns together, so that L2 holds what they share.
    """
    # order
    row = first_row + tl.arange(0, BLOCK_M)
    column = within // together * BLOCK_N + tl.arange(0, BLOCK_N)
    first = (row // padded).to(tl.int64)
    second = row % padded
    there = ((row < rows) & (second < group))[:, None]
    x_rows = x_ptr + first * stride_x0 + second * stride_x1
    w_rows = weight_ptr + column * stride_wn
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for start in range(0, INNER, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        inside = (k < INNER)[None, :] | (INNER % BLOCK_K == 0)
        x = tl.load(x_rows[:, None] + k[None, :] * stride_xk, mask=there & inside, other=0.0)
        w = tl.load(
            w_rows[:, None] + k[None, :] * stride_wk, mask=(column < COLUMNS)[:, None] & inside, other=0.0
        )
        acc = DOT
    if HAS_BIAS:
        acc += tl.load(bias_ptr + column, mask=column < COLUMNS, other=0.0)[None, :]
    # epilogue
    # stored in tiles
    else:
        out = out_ptr + row.to(tl.int64)[:, None] * COLUMNS + column[None, :]
        tl.store(out, acc, mask=(row < rows)[:, None] & (column < COLUMNS)[None, :])
'''

# The kernel waits for its launch: sizes in one read, no call of a helper, arguments by position.
WRAPPER = '''def project(x, weight, bias, tile, tiled=False, activation=None):
    """activation(x @ weight.T + bias): x [T, B, inner] or [B, inner] -> [T, B, width] or [B, width].

    With tiled the result is [T, tiles, width, 8], its rows from B on without meaning. tile: rows, columns,
    inner, warps, stages.
    """
    sequence = x if x.dim() == 3 else x.unsqueeze(0)
    outer, group, inner = sequence.shape
    padded = (group + 7) // 8 * 8 if tiled else group
    width, rows = weight.shape[0], outer * padded
    shape = (outer, padded // 8, width, 8) if tiled else (outer, group, width)
    out = torch.empty(shape, device=x.device, dtype=torch.float32)
    block_m, block_n, block_k, warps, stages = tile
    project_kernel[((rows + block_m - 1) // block_m * ((width + block_n - 1) // block_n),)](
        sequence, weight, weight if bias is None else bias.contiguous(), out, rows, group, padded,
        *sequence.stride(), *weight.stride(), width, inner,
        bias is not None, tiled, activation, block_m, block_n, block_k,
        num_warps=warps, num_stages=stages,
    )
    return out if x.dim() == 3 else out[0]
'''
