"""Products whose operands are made float16 beforehand, every row with its own power of two.

Half precision holds as many bits as TF32 does, and tensor cores multiply it at twice the rate; what it lacks
is range. Each row of the left operand and of the weight is therefore scaled so that its largest value lies
just below 2^15: what is 2^29 times smaller still keeps all its bits, and factors of two cost none. The
tensor memory accelerator brings the tiles, so that no thread computes addresses.

On an H200, of 131072 rows: 2.1 to 2.3 ms with what narrowing takes where cuBLAS needed 3.1 in TF32 (1024
columns, 4096 wide), 0.72 to 0.80 (512, 2048).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from tilewright.gpu.model import Gpu
from tilewright.proposers.recurrence.emit.dense_kernel import (
    ADD_UP,
    SECOND_KERNEL_US,
    by_parts,
    for_each_part,
)
from tilewright.proposers.recurrence.emit.gemm import filled

IMPORT = "from triton.tools.tensor_descriptor import TensorDescriptor"
DESCRIBED = 90  # compute capability of the GPUs on which the kernel was timed
INNER = 64  # of K in one stage: a line of the cache
COLUMNS = 128  # of a tile
WARPS = 4
RESIDENT = 2  # programs on a multiprocessor: one computes while the other stores its tile
STAGES = {64: 4, 128: 3}  # by rows of a tile: as many as let two programs share a multiprocessor
SPLITS = (1, 2, 4, 8)
# Shares of the peak rates that an H200 reached: products of both kinds, and passes over memory.
OF_RATE, OF_RATE_TF32, OF_BANDWIDTH = 0.53, 0.62, 0.85
LAUNCH_US = 3.0  # a kernel more


@dataclass(frozen=True)
class Tile:
    """One program's part of the result, and the programs that share it along K."""

    rows: int
    split: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """As the file's `narrow_product` takes them."""
        return self.rows, COLUMNS, self.split, STAGES[self.rows]


def pays(rows: int, columns: int, inner: int, precision: str, gpu: Gpu, *, weight_read_once: bool) -> bool:
    """Whether narrowing the left operand is expected to take less time than it saves.

    Args:
        rows, columns, inner: sizes of the product, elements.
        precision: that the operands may have.
        weight_read_once: whether the weight's way from memory counts: no loop keeps it in L2 between.
    """
    if precision != "tf32" or gpu.compute_capability != DESCRIBED:
        return False
    before = 2e-6 * rows * columns * inner / (OF_RATE_TF32 * gpu.tflops["tf32"])
    if weight_read_once:
        before = max(before, 4 * columns * inner / _bytes_per_us(gpu))
    return expected_us(rows, columns, inner, gpu, weight_read_once=weight_read_once) < before


def expected_us(rows: int, columns: int, inner: int, gpu: Gpu, *, weight_read_once: bool) -> float:
    """What narrowing the left operand and multiplying it take; arguments as of `pays`, microseconds."""
    multiplying = 2e-6 * rows * columns * inner / (OF_RATE * gpu.tflops["fp16"])
    if weight_read_once:
        multiplying = max(multiplying, 2 * columns * inner / _bytes_per_us(gpu))
    return multiplying + 6 * rows * inner / _bytes_per_us(gpu) + LAUNCH_US


def choose_tile(rows: int, columns: int, inner: int, gpu: Gpu, *, shared: bool) -> Tile:
    """The tile whose rounds of programs are expected to end first.

    Args:
        rows, columns, inner: sizes of the product, elements.
        shared: whether programs may share it along K.
    """
    height = 64 if rows <= 64 else 128
    tiles = math.ceil(rows / height) * math.ceil(columns / COLUMNS)

    def rounds_us(split: int) -> float:
        rounds = math.ceil(tiles * split / (RESIDENT * gpu.sms))
        depth = math.ceil(inner / split)
        rate = OF_RATE * gpu.tflops["fp16"] * 1e6 / (RESIDENT * gpu.sms)
        adding = 0.0
        if split > 1:
            adding = SECOND_KERNEL_US + 8 * split * rows * columns / _bytes_per_us(gpu)
        return rounds * 2 * height * COLUMNS * depth / rate + adding

    return Tile(height, min(SPLITS if shared else SPLITS[:1], key=rounds_us))


def _bytes_per_us(gpu: Gpu) -> float:
    return OF_BANDWIDTH * gpu.memory_bandwidth_gbs * 1e3


def kernels(counts: frozenset[int], activations: frozenset[str]) -> Iterator[str]:
    """The kernels that narrow an operand in so many parts, and the product's.

    Args:
        counts: of parts; one of one part narrows weights too.
        activations: keys of EPILOGUES that the file asks for.
    """
    for count in sorted(counts | {1}):
        pointers = ", ".join(
            f"x{i}_ptr, inner{i}, stride_x{i}a, stride_x{i}b, stride_x{i}k" for i in range(count)
        )
        text = _NARROW.replace("POINTERS", pointers).replace("COUNT", str(count))
        text = text.replace("    # largest\n", for_each_part(_LARGEST, count))
        yield text.replace("    # parts\n", for_each_part(_PART, count))
    yield filled(_PRODUCT, activations)


_LARGEST = """    x_rows = (xPART_ptr + first * stride_xPARTa + second * stride_xPARTb)[:, None]
    for start in range(0, innerPART, BLOCK):
        k = start + tl.arange(0, BLOCK)[None, :]
        x = tl.abs(tl.load(x_rows + k * stride_xPARTk, mask=live & (k < innerPART), other=0.0))
        largest = tl.maximum(largest, tl.max(tl.where(x < float("inf"), x, 0.0), axis=1))
"""

_PART = """    x_rows = (xPART_ptr + first * stride_xPARTa + second * stride_xPARTb)[:, None]
    for start in range(0, innerPART, BLOCK):
        k = start + tl.arange(0, BLOCK)[None, :]
        x = tl.load(x_rows + k * stride_xPARTk, mask=live & (k < innerPART), other=0.0)
        inside = (row < rows)[:, None] & (k < innerPART)
        tl.store(out + BEFORE + k, (x * up[:, None]).to(tl.float16), mask=inside)
"""

_NARROW = '''@triton.jit
def narrow_kernel_COUNT(
    POINTERS,
    out_ptr, factor_ptr, rows, group, padded, stride_out,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):
    """Rows as float16: each times a power of two that puts its largest value below 2^15, and its inverse."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    first, second = (row // padded).to(tl.int64), (row % padded).to(tl.int64)
    live = ((row < rows) & (second < group))[:, None]
    largest = tl.zeros((ROWS,), dtype=tl.float32)
    # largest
    exponent = tl.maximum(largest.to(tl.int32, bitcast=True) >> 23, 15)
    up = ((268 - exponent) << 23).to(tl.float32, bitcast=True)
    out = out_ptr + row.to(tl.int64)[:, None] * stride_out
    # parts
    tl.store(factor_ptr + row, ((exponent - 14) << 23).to(tl.float32, bitcast=True), mask=row < rows)
'''

_PRODUCT = '''@triton.jit
def narrow_product_kernel(
    x, x_factor_ptr, weight, weight_factor_ptr, bias_ptr, out_ptr, rows,
    COLUMNS: tl.constexpr, INNER: tl.constexpr, SPLIT: tl.constexpr,
    HAS_BIAS: tl.constexpr, TILED: tl.constexpr, ACTIVATION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):
    """One tile of x @ weight.T over this program's share of K, from rows that `narrow` made.

    GROUP tiles of rows go through all columns together, so that L2 holds what they share.
    """
    # order
    first_column = within // together * BLOCK_N
    share: tl.constexpr = (INNER + SPLIT * BLOCK_K - 1) // (SPLIT * BLOCK_K) * BLOCK_K
    first = tl.program_id(1) * share
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for k in range(first, tl.minimum(first + share, INNER), BLOCK_K):
        acc = tl.dot(x.load([first_row, k]), tl.trans(weight.load([first_column, k])), acc)
    row = first_row + tl.arange(0, BLOCK_M)
    column = first_column + tl.arange(0, BLOCK_N)
    acc *= tl.load(weight_factor_ptr + column, mask=column < COLUMNS, other=0.0)[None, :]
    acc *= tl.load(x_factor_ptr + row, mask=row < rows, other=0.0)[:, None]
    if HAS_BIAS:
        acc += tl.load(bias_ptr + column, mask=column < COLUMNS, other=0.0)[None, :]
    # epilogue
    # stored in tiles
    else:
        out = out_ptr + (tl.program_id(1) * rows + row[:, None]).to(tl.int64) * COLUMNS + column[None, :]
        tl.store(out, acc, mask=(row < rows)[:, None] & (column < COLUMNS)[None, :])
'''

_NARROW_WRAPPER = '''def narrow(parts, padded=None):
    """cat(parts, -1) as float16 [rows, inner], and what each row of it is to be multiplied by.

    padded: rows that each of the first axis gets, the last of them zeros.
    """
    flat = [part if part.dim() == 3 else part.reshape(1, -1, part.shape[-1]) for part in parts]
    outer, group = flat[0].shape[:2]
    padded = padded or group
    rows, inner = outer * padded, sum(part.shape[2] for part in flat)
    stride = (inner + 7) // 8 * 8  # rows begin at multiples of 16 bytes
    out = torch.empty((rows, stride), device=parts[0].device, dtype=torch.float16)
    factors = torch.empty(rows, device=parts[0].device, dtype=torch.float32)
    operands = [value for part in flat for value in (part, part.shape[2], *part.stride())]
    block = min(4096, triton.next_power_of_2(max(part.shape[2] for part in flat)))
    height = 4096 // block if rows >= 4096 else 1
    KERNEL[(triton.cdiv(rows, height),)](
        *operands, out, factors, rows, group, padded, stride, ROWS=height, BLOCK=block, num_warps=4,
    )
    return out[:, :inner], factors
'''

_PRODUCT_WRAPPER = '''def narrow_product(parts, weight, bias, tile, tiled=False, activation=None):
    """activation(cat(parts, -1) @ weight.T + bias), the weight as `narrow` gives it.

    With tiled a part [T, B, inner] gives [T, tiles, width, 8], its rows from B on without meaning. tile:
    rows, columns, programs that share K, stages.
    """
    leading = parts[0].shape[:-1]
    padded = (leading[-1] + 7) // 8 * 8 if tiled else None
    (x, x_factors), (w, w_factors) = narrow(parts, padded), weight
    rows, inner, width = *x.shape, w.shape[0]
    if w.shape[1] != inner:
        raise ValueError(f"a weight {list(w.shape)} for a left operand of {inner} columns")
    block_m, block_n, split, stages = tile
    shape = (leading[0], padded // 8, width, 8) if tiled else (*leading, width)
    out = torch.empty(shape, device=x.device, dtype=torch.float32)
    sums = out if split == 1 else out.new_empty((split, rows, width))
    shared = w_factors if bias is None else bias.contiguous()
    narrow_product_kernel[(triton.cdiv(rows, block_m) * triton.cdiv(width, block_n), split)](
        TensorDescriptor.from_tensor(x, [block_m, INNER]), x_factors,
        TensorDescriptor.from_tensor(w, [block_n, INNER]), w_factors, shared, sums, rows,
        COLUMNS=width, INNER=inner, SPLIT=split, HAS_BIAS=bias is not None and split == 1,
        TILED=tiled, ACTIVATION=activation if split == 1 else None,
        BLOCK_M=block_m, BLOCK_N=block_n, BLOCK_K=INNER, num_warps=WARPS, num_stages=stages,
    )
    FINISH
    return out
'''


def wrappers(counts: frozenset[int], *, splits: bool) -> Iterator[str]:
    """The functions that launch these kernels.

    Args:
        counts: of parts of a left operand.
        splits: whether any product is shared along K.
    """
    yield by_parts(_NARROW_WRAPPER, "narrow_kernel", counts | {1})
    text = _PRODUCT_WRAPPER.replace("=INNER", f"={INNER}").replace(", INNER]", f", {INNER}]")
    text = text.replace("WARPS", str(WARPS))
    yield text.replace("    FINISH\n", ADD_UP if splits else "")
