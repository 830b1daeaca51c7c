"""Rows kept in registers between passes: the text, and what is left alone."""

from __future__ import annotations

import pytest
from rewriting import HEAD, changes, rewritten, view

from tilewright.proposers.rewrite.base import Declined
from tilewright.proposers.rewrite.registers import RowsInRegisters

SOFTMAX = (
    HEAD
    + """\
def kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    x_ptr += tl.program_id(0) * n
    largest = -float("inf")
    for start in range(0, n, BLOCK):
        at = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + at, mask=at < n, other=-float("inf"))
        largest = tl.maximum(largest, tl.max(x, axis=0))
    total = 0.0
    for start in range(0, n, BLOCK):  # of exponentials
        cols = start + tl.arange(0, BLOCK)
        inside = cols < n
        x = tl.load(x_ptr + cols, mask=inside, other=0.0)
        total += tl.sum(tl.where(inside, tl.exp(x - largest), 0.0), axis=0)
    for start in range(0, n, BLOCK):
        at = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + at, mask=at < n)
        tl.store(out_ptr + tl.program_id(0) * n + at, tl.exp(x - largest) / total, mask=at < n)


def softmax(x):
    out = torch.empty_like(x)
    kernel[(x.shape[0],)](x, out, x.shape[1], BLOCK=1024)
    return out
"""
)
ROW = {"n": 4096}


def test_one_load_feeds_every_pass_where_the_row_is_one_tile() -> None:
    text = rewritten(RowsInRegisters(), SOFTMAX, **ROW)
    passes = text[text.index("    largest") : text.index("def softmax")]
    assert passes.startswith("""\
    largest = -float("inf")
    if ONE_TILE:
        start = 0
        at = start + tl.arange(0, BLOCK)
        loaded = tl.load(x_ptr + at, mask=at < n, other=-float('inf'))
        x = loaded
        largest = tl.maximum(largest, tl.max(x, axis=0))
    else:
        for start in range(0, n, BLOCK):
            at = start + tl.arange(0, BLOCK)
            x = tl.load(x_ptr + at, mask=at < n, other=-float("inf"))
            largest = tl.maximum(largest, tl.max(x, axis=0))
    total = 0.0
    if ONE_TILE:
        start = 0
        cols = start + tl.arange(0, BLOCK)
        inside = cols < n
        x = tl.where(inside, loaded, 0.0)
""")
    assert passes.count("x = loaded\n") == 2
    assert "        for start in range(0, n, BLOCK):  # of exponentials\n" in passes
    assert changes(SOFTMAX, text[text.index("def softmax") :]) == [
        "one_tile = 0 < x.shape[1] <= 8192 and "
        "(x.shape[1] == triton.next_power_of_2(x.shape[1]) or x.shape[1] % 1024 != 0)",
        "kernel[(x.shape[0],)](x, out, x.shape[1], "
        "BLOCK=max(1024, triton.next_power_of_2(x.shape[1])) if one_tile else 1024, ONE_TILE=one_tile)",
    ]
    with pytest.raises(Declined, match="one after another"):
        rewritten(RowsInRegisters(), text, **ROW)


@pytest.mark.parametrize("n", [16384, 3072])
def test_a_row_that_stays_in_the_loops_is_left_alone(n: int) -> None:
    seen = view(SOFTMAX, n=n)
    with pytest.raises(Declined, match="no recorded row fits"):
        RowsInRegisters().choices(seen, seen.file.kernels[0])


@pytest.mark.parametrize(
    "old, new, why",
    [
        ("    total = 0.0\n", "    total = 0.0\n    tl.store(x_ptr, largest)\n", "loads again"),
        ("    total = 0.0\n", "    total = 0.0\n    x_ptr += 1\n", None),
        ("    total = 0.0\n", "    total = 0.0\n    x_ptr += BLOCK\n", "more than a tile's extent"),
        ("x_ptr += tl.program_id(0) * n", "x_ptr += tl.program_id(0) * BLOCK", "more than a tile's extent"),
        ("range(0, n, BLOCK):  #", "range(0, n - 1, BLOCK):  #", "over a row"),
        ("range(0, n, BLOCK):  #", "range(1, n, BLOCK):  #", "over a row"),
        ("    total = 0.0\n", "    total = tl.load(x_ptr + tl.arange(0, BLOCK))\n", "outside of the loops"),
        ("kernel[(x.shape[0],)]", "kernel[lambda meta: (meta['BLOCK'],)]", "the grid reads BLOCK"),
        ("x.shape[1], BLOCK", "width(x), BLOCK", "computed in the call"),
        ("largest = -", "many = tl.arange(0, 16)[:, None]\n    largest = -", "two dimensions"),
    ],
)  # fmt: skip
def test_left_alone(old: str, new: str, why: str | None) -> None:
    assert old in SOFTMAX
    source = SOFTMAX.replace(old, new)
    if why is None:  # passes over other addresses: the last two still share
        text = rewritten(RowsInRegisters(), source, **ROW)
        assert text.count("loaded = tl.load") == 1
        assert "x = loaded\n" in text[text.index("of exponentials") :]
        return
    with pytest.raises(Declined, match=why):
        rewritten(RowsInRegisters(), source, **ROW)


def test_masks_that_drop_where_the_row_is_whole_are_no_hindrance() -> None:
    source = SOFTMAX.replace("mask=at < n", "mask=(at < n) | (n % BLOCK == 0)")
    source = source.replace("inside = cols < n", "inside = (cols < n) | (n % BLOCK == 0)")
    text = rewritten(RowsInRegisters(), source, **ROW)
    assert text.count("loaded = tl.load") == 1
    assert text.count("loaded") == 4
