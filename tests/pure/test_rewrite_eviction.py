"""Which loads are told to leave the cache first, which to stay in it, and which are told nothing."""

from __future__ import annotations

import pytest
from rewriting import HEAD, changes, rewritten, view

from tilewright.proposers.rewrite.base import Declined
from tilewright.proposers.rewrite.eviction import BOTH, FIRST, LAST, Eviction

NORM = f"""{HEAD}def norm_kernel(x_ptr, weight_ptr, out_ptr, n, BLOCK: tl.constexpr):
    x_ptr += tl.program_id(0) * n
    for start in range(0, n, BLOCK):
        at = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + at, mask=at < n)
        weight = tl.load(
            weight_ptr + at,
            mask=at < n,
        )
        tl.store(out_ptr + tl.program_id(0) * n + at, x * weight, mask=at < n)


def norm(x, weight):
    out = torch.empty_like(x)
    norm_kernel[(x.shape[0],)](x, weight, out, x.shape[1], BLOCK=64)
    return out
"""
X = ['x = tl.load(x_ptr + at, mask=at < n, eviction_policy="evict_first")']
WEIGHT = ['eviction_policy="evict_last",']
SIZES = {"grid": (32, 1, 1), "n": 256, "x_ptr": (32, 256), "weight_ptr": (256,)}


@pytest.mark.parametrize(("choice", "expected"), [(BOTH, X + WEIGHT), (FIRST, X), (LAST, WEIGHT)])
def test_what_is_read_once_leaves_first_and_what_every_program_reads_last(
    choice: str, expected: list[str]
) -> None:
    assert changes(NORM, rewritten(Eviction(), NORM, choice, **SIZES)) == expected


def test_programs_of_one_axis_may_share_a_row() -> None:
    source = f"""{HEAD}def product_kernel(a_ptr, b_ptr, out_ptr, n, k, BLOCK: tl.constexpr):
    across = tl.cdiv(n, BLOCK)
    rows = tl.program_id(0) // across * BLOCK + tl.arange(0, BLOCK)
    cols = tl.program_id(0) % across * BLOCK + tl.arange(0, BLOCK)
    inner = tl.arange(0, BLOCK)
    a = a_ptr + rows[:, None] * k + inner[None, :]
    b = b_ptr + inner[:, None] * n + cols[None, :]
    total = tl.zeros((BLOCK, BLOCK), dtype=tl.float32)
    for _ in range(0, k, BLOCK):
        total += tl.dot(tl.load(a), tl.load(b))
        a += BLOCK
        b += BLOCK * n
    tl.store(out_ptr + rows[:, None] * n + cols[None, :], total)


def product(a, b):
    out = torch.empty(a.shape[0], b.shape[1])
    product_kernel[GRID](a, b, out, b.shape[1], a.shape[1], BLOCK=16)
    return out
"""
    sizes = {"n": 128, "k": 64, "a_ptr": (16, 64), "b_ptr": (64, 128)}
    tall = rewritten(Eviction(), source, BOTH, grid=(8, 1, 1), **sizes)  # one row of tiles
    assert 'tl.load(a, eviction_policy="evict_last"), tl.load(b, eviction_policy="evict_first")' in tall
    square = rewritten(Eviction(), source, LAST, grid=(64, 1, 1), **sizes)
    assert square.count("evict_last") == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("        tl.store(", "        x += tl.load(x_ptr + at)\n        tl.store("),  # it is read again
        ("x = tl.load(x_ptr + at", "x = tl.load(x_ptr + at * 32"),  # turns overlap
        ("x = tl.load(x_ptr + at", "x = tl.load(x_ptr + tl.load(weight_ptr)"),  # nothing is known of it
        (
            "n, BLOCK=64)",
            "n, BLOCK=64)\n    norm_kernel[(x.shape[0],)](x, weight, out, x.shape[1], BLOCK=64)",
        ),
        ("tl.load(x_ptr + at,", 'tl.load(x_ptr + at, cache_modifier=".cg",'),
    ],
)
def test_what_may_be_read_again_is_not_sent_away(old: str, new: str) -> None:
    source = NORM.replace("x.shape[1], BLOCK=64", "n, BLOCK=64").replace(
        "    out =", "    n = x.shape[1]\n    out ="
    )
    assert old in source
    seen = view(source.replace(old, new), SIZES["grid"], n=256)
    if "norm_kernel[(x" in new:  # the forward launches it twice
        recording = type(seen.recording)(seen.recording.launches, (0, 0))
        seen = type(seen)(seen.file, recording, seen.gpu)
    kernel = seen.file.kernels[0]
    try:
        choices = Eviction().choices(seen, kernel)
    except Declined:
        choices = ()
    assert set(choices) <= {LAST}


def test_what_does_not_fit_the_cache_is_not_asked_to_stay() -> None:
    large = {**SIZES, "weight_ptr": (2**24,)}
    assert "evict_last" not in rewritten(Eviction(), NORM, **large)


def test_one_program_shares_with_none() -> None:
    source = NORM.replace("x_ptr += tl.program_id(0) * n", "x_ptr += 0").replace("x * weight", "x * x")
    source = source.replace("tl.load(x_ptr", "tl.load(weight_ptr")
    with pytest.raises(Declined, match="no load is certainly"):
        rewritten(Eviction(), source, **{**SIZES, "grid": (1, 1, 1)})


def test_what_a_called_function_loads_is_not_known() -> None:
    helper = "def row(x_ptr, at):\n    return tl.load(x_ptr + at)\n\n\n@triton.jit\n"
    source = NORM.replace("@triton.jit\n", f"@triton.jit\n{helper}").replace("x * weight", "row(x_ptr, at)")
    seen = view(source, SIZES["grid"], n=256)
    with pytest.raises(Declined, match="a function that it calls loads"):
        Eviction().choices(seen, seen.file.kernel("norm_kernel"))


def test_arithmetic_that_has_no_value_is_not_known() -> None:
    source = NORM.replace("tl.program_id(0) * n\n    for", "tl.program_id(n) + (1 << -n) + n % 0\n    for")
    assert source != NORM
    assert FIRST not in Eviction().choices(view(source, SIZES["grid"], n=256), view(source).file.kernels[0])
