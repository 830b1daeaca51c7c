"""Which masks fall away where sizes divide, and which stay because the tile may reach beyond the size."""

from __future__ import annotations

import pytest
from rewriting import HEAD, changes, rewritten

from tilewright.proposers.rewrite.base import Declined
from tilewright.proposers.rewrite.even_masks import EvenMasks

SCALE = f"""{HEAD}def scale_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n)
    tl.store(out_ptr + at, 2 * x, mask=at < n)


def scale(x):
    out = torch.empty_like(x)
    n = x.numel()
    grid = lambda meta: (triton.cdiv(n, meta["BLOCK"]),)
    scale_kernel[grid](x, out, n, BLOCK=256)
    return out
"""

TILED = f"""{HEAD}def copy_kernel(x_ptr, out_ptr, rows, cols, TALL: tl.constexpr, WIDE: tl.constexpr):
    across = tl.cdiv(cols, WIDE)
    BODY
    row = pid_m * TALL + tl.arange(0, TALL)
    col = pid_n * WIDE + tl.arange(0, WIDE)
    ok = (row[:, None] < rows) & (col[None, :] < cols)
    at = row[:, None] * cols + col[None, :]
    tl.store(out_ptr + at, tl.load(x_ptr + at, mask=ok), mask=ok)


def copy(x):
    rows, cols = x.shape
    out = torch.empty_like(x)
    copy_kernel[GRID](x, out, rows, cols, 8, 64)
    return out
"""
FLAT = "(triton.cdiv(rows, 8) * triton.cdiv(cols, 64),)"
GROUPED = """pid = tl.program_id(axis=0)
    width = 4 * across
    group = pid // width
    first = group * 4
    size = min(tl.cdiv(rows, TALL) - first, 4)
    pid_m = first + ((pid % width) % size)
    pid_n = (pid % width) // size"""
WAYS = {
    "two axes": (
        "pid_m, pid_n = tl.program_id(0), tl.program_id(1)",
        "(triton.cdiv(rows, 8), triton.cdiv(cols, 64))",
    ),
    "one axis": ("pid_m, pid_n = tl.program_id(0) // across, tl.program_id(0) % across", FLAT),
    "groups": (GROUPED, FLAT),
}


def tiled(body: str, grid: str) -> str:
    return TILED.replace("BODY", body).replace("GRID", grid)


def test_a_mask_gets_the_condition_under_which_it_always_holds() -> None:
    after = rewritten(EvenMasks(), SCALE, n=1024)
    assert changes(SCALE, after) == [
        "def scale_kernel(x_ptr, out_ptr, n: tl.constexpr, BLOCK: tl.constexpr):",
        "x = tl.load(x_ptr + at, mask=(at < n) | (n % BLOCK == 0))",
        "tl.store(out_ptr + at, 2 * x, mask=(at < n) | (n % BLOCK == 0))",
    ]


@pytest.mark.parametrize("way", WAYS)
def test_tiles_may_be_counted_in_any_order(way: str) -> None:
    source = tiled(*WAYS[way])
    assert changes(source, rewritten(EvenMasks(), source, rows=64, cols=256)) == [
        "def copy_kernel(x_ptr, out_ptr, rows: tl.constexpr, cols: tl.constexpr, "
        "TALL: tl.constexpr, WIDE: tl.constexpr):",
        "ok = ((row[:, None] < rows) | (rows % TALL == 0)) & ((col[None, :] < cols) | (cols % WIDE == 0))",
    ]


def test_only_what_holds_at_the_problem_s_sizes_is_touched() -> None:
    after = rewritten(EvenMasks(), tiled(*WAYS["two axes"]), rows=64, cols=250)
    assert "ok = ((row[:, None] < rows) | (rows % TALL == 0)) & (col[None, :] < cols)" in after
    assert "rows: tl.constexpr, cols, TALL" in after


def loop(head: str, index: str, mask: str) -> str:
    return f"""{HEAD}def sum_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr, STEP: tl.constexpr):
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for {head}:
        at = {index}
        total += tl.load(x_ptr + at, mask={mask}, other=0.0)
    tl.store(out_ptr, tl.sum(total, axis=0))


def total(x):
    out = torch.empty(1)
    sum_kernel[(1,)](x, out, x.numel(), BLOCK=64, STEP=32)
    return out
"""


@pytest.mark.parametrize(
    ("head", "index", "mask"),
    [
        ("start in range(0, n, BLOCK)", "start + tl.arange(0, BLOCK)", "at < n"),
        ("start in tl.range(0, n, BLOCK, num_stages=2)", "tl.arange(0, BLOCK) + start", "n > at"),
        ("i in range(tl.cdiv(n, BLOCK))", "i * BLOCK + tl.arange(0, BLOCK)", "at < n"),
        ("i in range(0, (n + BLOCK - 1) // BLOCK)", "i * BLOCK + tl.arange(0, BLOCK)", "at < n"),
        ("i in range(tl.cdiv(n, BLOCK))", "tl.arange(0, BLOCK)", "at < n - i * BLOCK"),
    ],
)
def test_a_loop_that_ends_at_the_size_needs_no_mask(head: str, index: str, mask: str) -> None:
    source = loop(head, index, mask)
    assert changes(source, rewritten(EvenMasks(), source, n=256))[1] == (
        f"total += tl.load(x_ptr + at, mask=({mask}) | (n % BLOCK == 0), other=0.0)"
    )


def test_one_block_that_spans_the_size() -> None:
    source = loop("_ in range(1)", "tl.arange(0, BLOCK)", "at < n")
    assert "mask=(at < n) | (n >= BLOCK)" in rewritten(EvenMasks(), source, n=64)
    with pytest.raises(Declined, match="line 12: n >= BLOCK does not hold"):
        rewritten(EvenMasks(), source, n=60)


@pytest.mark.parametrize("clamp", ["{} % n", "tl.minimum({}, n - 1)"])
def test_a_clamp_falls_away_with_its_condition(clamp: str) -> None:
    index = "start + tl.arange(0, BLOCK)"
    source = loop("start in range(0, n, BLOCK)", clamp.format(f"({index})"), "None")
    after = changes(source, rewritten(EvenMasks(), source, n=256))
    assert (
        after[1]
        == f"at = {index} if n % BLOCK == 0 else {clamp.format(f'({index})' if '%' in clamp else index)}"
    )


@pytest.mark.parametrize(
    ("head", "index", "mask"),
    [
        ("start in range(0, n, BLOCK)", "tl.minimum(start + tl.arange(0, BLOCK), n - 2)", "None"),
        ("start in range(0, n, BLOCK)", "(start + tl.arange(0, BLOCK)) % (n - 1)", "None"),
        ("start in range(0, n, BLOCK)", "(start + tl.arange(0, BLOCK) + 1) % n", "None"),
        ("start in range(0, n, STEP)", "start + tl.arange(0, BLOCK)", "at < n"),  # overlapping tiles
        ("start in range(STEP, n, BLOCK)", "start + tl.arange(0, BLOCK)", "at < n"),
        ("start in range(0, n + BLOCK, BLOCK)", "start + tl.arange(0, BLOCK)", "at < n"),
        ("start in range(0, n, BLOCK)", "start + tl.arange(0, BLOCK) + 1", "at < n"),
        ("start in range(0, n, BLOCK)", "start + tl.arange(0, BLOCK)", "at < n - 1"),
        ("start in range(0, n, BLOCK)", "start + tl.arange(1, BLOCK + 1)", "at < n"),
        ("i in range(tl.cdiv(n, STEP))", "i * BLOCK + tl.arange(0, BLOCK)", "at < n"),
    ],
)
def test_a_tile_that_reaches_beyond_keeps_its_mask(head: str, index: str, mask: str) -> None:
    with pytest.raises(Declined):
        rewritten(EvenMasks(), loop(head, index, mask), n=256)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('triton.cdiv(n, meta["BLOCK"])', 'triton.cdiv(n, meta["BLOCK"]) + 1'),
        ('triton.cdiv(n, meta["BLOCK"])', "4096"),
        ("x, out, n, BLOCK", "x, out, n // 2, BLOCK"),
        (
            '    grid = lambda meta: (triton.cdiv(n, meta["BLOCK"]),)\n',
            "    grid = (triton.cdiv(n, 256),)\n    n -= 1\n",
        ),
    ],
)
def test_a_grid_that_is_not_seen_to_end_with_the_size_keeps_the_mask(old: str, new: str) -> None:
    assert old in SCALE
    with pytest.raises(Declined, match="line 10: no grid or loop is seen to end where n does"):
        rewritten(EvenMasks(), SCALE.replace(old, new), n=1024)


def test_every_launch_must_agree() -> None:
    again = "    scale_kernel[(9,)](x, out, n, BLOCK=256)\n    return out\n"
    with pytest.raises(Declined, match="no grid or loop"):
        rewritten(EvenMasks(), SCALE.replace("    return out\n", again), n=1024)


def test_a_kernel_that_another_one_calls_keeps_its_masks() -> None:
    caller = "\n\n@triton.jit\ndef both(x_ptr, out_ptr, n, BLOCK: tl.constexpr):\n"
    caller += "    scale_kernel(x_ptr, out_ptr, n, BLOCK)\n"
    with pytest.raises(Declined, match="another kernel calls it"):
        rewritten(EvenMasks(), SCALE.replace("\n\n\ndef scale(", f"\n{caller}\n\ndef scale("), n=1024)


def test_it_is_done_once() -> None:
    after = rewritten(EvenMasks(), SCALE, n=1024)
    with pytest.raises(Declined, match="no mask or clamp compares"):
        rewritten(EvenMasks(), after, n=1024)
