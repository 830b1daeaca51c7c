"""The kernel of a product whose left operand comes in parts: its tiles, their order, K split among programs.

With few rows a product is as fast as its weight can be read, so all rows share one tile where they can, and
tiles of the same weight follow one another, the later ones finding it in the L2 cache. Where tiles are fewer
than multiprocessors, several programs share one along K and a second kernel adds their sums up, always in the
same order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tilewright.gpu.model import Gpu
from tilewright.inspect.costs import L2_BYTES_PER_CYCLE
from tilewright.proposers.recurrence.emit.gemm import DOTS, epilogue

FUNCTION = "multiply"
BYTES = 4  # of a float32 element
INNER = 32  # of K in one stage: a line of the cache
MOST_SUMS = 128  # registers of a thread that hold sums
STAGES = (3, 5)  # copies that run ahead hide the way to memory from three on
SPLITS = (1, 2, 4, 8)
REACHED = 0.6  # of the tensor cores' peak
SECOND_KERNEL_US = 6.0  # its start, and the tensor between the two


@dataclass(frozen=True)
class Tile:
    """One program's part of the result, and the programs that share it along K."""

    rows: int
    columns: int
    split: int
    warps: int
    stages: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """As the file's `multiply` takes them."""
        return self.rows, self.columns, self.split, self.warps, self.stages


def choose_tile(rows: int, columns: int, inner: int, precision: str, gpu: Gpu) -> Tile:
    """The tile with the shortest expected time.

    Args:
        rows, columns, inner: sizes of the product, elements.
        precision: of the operands.
    """
    return min(_tiles(rows, gpu), key=lambda tile: _expected_us(tile, rows, columns, inner, precision, gpu))


def _tiles(rows: int, gpu: Gpu) -> Iterator[Tile]:
    tallest = min(128, max(16, 1 << (rows - 1).bit_length()))
    for height in dict.fromkeys((tallest, max(16, tallest // 2))):
        for width in (256, 128, 64, 32):
            stages = min(STAGES[1], gpu.shared_memory_per_block_bytes // ((height + width) * INNER * BYTES))
            for warps in (4, 8):
                fits = height * width // (32 * warps) <= MOST_SUMS and (
                    warps == 4 or height * width >= 128 * 64
                )
                if fits and stages >= STAGES[0]:
                    yield from (Tile(height, width, split, warps, stages) for split in SPLITS)


def _expected_us(tile: Tile, rows: int, columns: int, inner: int, precision: str, gpu: Gpu) -> float:
    """Waves of programs, each as long as its arithmetic or its way from L2; the memory's time at least."""
    programs = -(-rows // tile.rows) * -(-columns // tile.columns) * tile.split
    depth = -(-inner // tile.split)
    kind = {"float16": "fp16", "bfloat16": "bf16"}.get(precision, "tf32")
    rate = gpu.tflops.get(kind, gpu.tflops["fp32"]) * REACHED / (3 if precision == "float32" else 1)
    computing = 2 * tile.rows * tile.columns * depth / (rate * 1e6 / gpu.sms)
    feeding = (tile.rows + tile.columns) * depth * BYTES / (L2_BYTES_PER_CYCLE * gpu.clock_mhz)
    memory = (rows + columns) * inner * BYTES / (gpu.memory_bandwidth_gbs * 1e3)
    adding = 0.0
    if tile.split > 1:
        passed_on = 2 * tile.split * rows * columns * BYTES
        adding = SECOND_KERNEL_US + passed_on / (gpu.memory_bandwidth_gbs * 1e3)
    return max(-(-programs // gpu.sms) * max(computing, feeding), memory) + adding


def kernel(parts: int, precision: str, activations: frozenset[str]) -> str:
    """The kernel for a left operand in so many parts.

    Args:
        precision: of the operands; sums are float32.
        activations: keys of EPILOGUES that the file asks for.
    """
    dot = 'tl.dot(x, tl.trans(w), acc, input_precision="tf32")' if precision == "tf32" else DOTS[precision]
    pointers = ", ".join(f"x{i}_ptr, inner{i}, stride_x{i}m, stride_x{i}k" for i in range(parts))
    loops = for_each_part(_PART.replace("DOT", dot), parts)
    text = _KERNEL.replace("POINTERS", pointers).replace("COUNT", str(parts))
    return text.replace("    # parts\n", loops).replace("    # epilogue\n", epilogue(activations))


def for_each_part(text: str, parts: int) -> str:
    """Lines for every part of a left operand: PART is its number, BEFORE the columns before it."""
    before = [" + ".join(f"inner{j}" for j in range(i)) or "0" for i in range(parts)]
    return "".join(text.replace("PART", str(i)).replace("BEFORE", before[i]) for i in range(parts))


def by_parts(text: str, kernel: str, counts: frozenset[int]) -> str:
    """A launch of KERNEL as that of the kernel for as many parts as there are.

    Args:
        kernel: what the kernels' names begin with.
        counts: of parts, that there are kernels for.
    """
    if len(counts) == 1:
        return text.replace("KERNEL", f"{kernel}_{min(counts)}")
    listed = ", ".join(f"{count}: {kernel}_{count}" for count in sorted(counts))
    return text.replace("    KERNEL", f"    kernel = {{{listed}}}[len(parts)]\n    kernel")


def finish(activations: frozenset[str]) -> str:
    """The kernel that adds up what several programs computed along K."""
    return _FINISH.replace("    # epilogue\n", epilogue(activations))


_KERNEL = '''@triton.jit
def multiply_kernel_COUNT(
    POINTERS,
    weight_ptr, bias_ptr, out_ptr, rows, columns, inner,
    stride_wn, stride_wk,
    SPLIT: tl.constexpr, EVEN: tl.constexpr, HAS_BIAS: tl.constexpr, ACTIVATION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):
    """One tile of x @ weight.T over this program's share of K; tiles of the same weight come together."""
    tiles_m = tl.cdiv(rows, BLOCK_M)
    row = tl.program_id(0) % tiles_m * BLOCK_M + tl.arange(0, BLOCK_M)
    column = tl.program_id(0) // tiles_m * BLOCK_N + tl.arange(0, BLOCK_N)
    read_row = tl.minimum(row, rows - 1).to(tl.int64)
    read_column = tl.minimum(column, columns - 1).to(tl.int64)
    share = tl.cdiv(tl.cdiv(inner, BLOCK_K), SPLIT) * BLOCK_K
    first = tl.program_id(1) * share
    last = tl.minimum(first + share, inner)
    w_rows = weight_ptr + read_column[:, None] * stride_wn
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    # parts
    if HAS_BIAS:
        acc += tl.load(bias_ptr + read_column)[None, :]
    # epilogue
    out = out_ptr + (tl.program_id(1) * rows + row[:, None]).to(tl.int64) * columns + column[None, :]
    tl.store(out, acc, mask=(row < rows)[:, None] & (column < columns)[None, :])
'''

_PART = """    before = BEFORE
    x_rows = xPART_ptr + read_row[:, None] * stride_xPARTm
    begin = tl.maximum(first - before, 0)
    end = tl.minimum(last - before, innerPART)
    for start in range(begin, end, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        if EVEN:
            x = tl.load(x_rows + k[None, :] * stride_xPARTk)
            w = tl.load(w_rows + (before + k)[None, :] * stride_wk)
        else:
            x = tl.load(x_rows + k[None, :] * stride_xPARTk, mask=k[None, :] < end, other=0.0)
            w = tl.load(w_rows + (before + k)[None, :] * stride_wk, mask=k[None, :] < end, other=0.0)
        acc = DOT
"""

_FINISH = '''@triton.jit
def finish_kernel(
    sums_ptr, bias_ptr, out_ptr, elements, columns,
    SPLIT: tl.constexpr, HAS_BIAS: tl.constexpr, ACTIVATION: tl.constexpr, BLOCK: tl.constexpr,
):
    """Adds up the sums of SPLIT programs, always in the same order, then bias and activation."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    live = at < elements
    acc = tl.zeros((BLOCK,), dtype=tl.float32)
    for part in tl.static_range(SPLIT):
        acc += tl.load(sums_ptr + part * elements + at, mask=live, other=0.0)
    if HAS_BIAS:
        acc += tl.load(bias_ptr + at % columns, mask=live, other=0.0)
    # epilogue
    tl.store(out_ptr + at, acc, mask=live)
'''

_HEAD = '''def multiply(parts, weight, bias, tile, activation=None):
    """activation(cat(parts, -1) @ weight.T + bias), the parts [..., inner] never joined.

    tile: rows, columns, programs that share K, warps, stages.
    """
    block_m, block_n, split, warps, stages = tile
    leading, width = parts[0].shape[:-1], weight.shape[0]
    flat = [part.reshape(-1, part.shape[-1]) for part in parts]
    rows, inner = flat[0].shape[0], sum(part.shape[1] for part in flat)
    if weight.shape[1] != inner:
        raise ValueError(f"a weight {list(weight.shape)} for a left operand of {inner} columns")
    even = all(part.shape[1] % BLOCK_K == 0 for part in flat)
    out = torch.empty((rows, width), device=weight.device, dtype=torch.float32)
    sums = out if split == 1 else out.new_empty((split, rows, width))
    grid = (triton.cdiv(rows, block_m) * triton.cdiv(width, block_n), split)
    operands = [value for part in flat for value in (part, part.shape[1], part.stride(0), part.stride(1))]
    shared = weight if bias is None else bias.contiguous()
'''.replace("BLOCK_K", str(INNER))

_CALL = """    KERNEL[grid](
        *operands, weight, shared, sums, rows, width, inner, weight.stride(0), weight.stride(1),
        SPLIT=split, EVEN=even, HAS_BIAS=bias is not None and split == 1,
        ACTIVATION=activation if split == 1 else None,
        BLOCK_M=block_m, BLOCK_N=block_n, BLOCK_K=INNER, num_warps=warps, num_stages=stages,
    )
""".replace("INNER", str(INNER))

# What a wrapper does after the programs that share K: `finish_kernel` over their sums.
ADD_UP = """    if split > 1:
        finish_kernel[(triton.cdiv(out.numel(), 1024),)](
            sums, shared, out, out.numel(), width,
            SPLIT=split, HAS_BIAS=bias is not None, ACTIVATION=activation, BLOCK=1024, num_warps=4,
        )
"""


def wrapper(counts: frozenset[int], *, splits: bool) -> str:
    """The function that launches the kernels for these numbers of parts.

    Args:
        splits: whether any product is shared along K.
    """
    call = by_parts(_CALL, "multiply_kernel", counts)
    return _HEAD + call + (ADD_UP if splits else "") + "    return out.reshape(*leading, width)\n"
