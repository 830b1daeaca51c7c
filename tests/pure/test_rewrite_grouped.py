"""Programs numbered in groups: the text, the order that comes out, and what is left alone."""

from __future__ import annotations

import types

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rewriting import HEAD, changes, rewritten, view

from tilewright.proposers.rewrite.base import Declined
from tilewright.proposers.rewrite.even_masks import EvenMasks
from tilewright.proposers.rewrite.grouped import Grouped

BODY = """\
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for start in range(0, k, 32):
        a = tl.load(a_ptr + rows[:, None] * k + start + tl.arange(0, 32)[None, :])
        b = tl.load(b_ptr + (start + tl.arange(0, 32))[:, None] * n + cols[None, :])
        acc = tl.dot(a, b, acc)
    tl.store(out_ptr + rows[:, None] * n + cols[None, :], acc)


def matmul(a, b, out):
    kernel[grid](a, b, out, 4096, 4096, 64, BM=64, BN=64)
"""
START = HEAD + "def kernel(a_ptr, b_ptr, out_ptr, m, n, k, BM: tl.constexpr, BN: tl.constexpr):\n"
TWO_AXES = """\
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    pid_n = tl.program_id(1).to(tl.int64)
    cols = pid_n * BN + tl.arange(0, BN)
"""
ONE_AXIS = """\
    pid = tl.program_id(axis=0)
    columns = tl.cdiv(n, BN)
    rows = pid // columns * BM + tl.arange(0, BM)
    pid_n = pid % columns
    cols = pid_n * BN + tl.arange(0, BN)
"""


def test_two_axes_are_swizzled_inside_the_kernel() -> None:
    source = START + TWO_AXES + BODY
    assert changes(source, rewritten(Grouped(), source, "8", grid=(64, 64, 1))) == [
        "program = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)",
        "band = 8 * tl.num_programs(0)",
        "first = program // band * 8",
        "lines = tl.minimum(tl.num_programs(1) - first, 8)",
        "tile_1 = first + program % band % lines",
        "tile_0 = program % band // lines",
        "rows = tile_0 * BM + tl.arange(0, BM)",
        "pid_n = tile_1.to(tl.int64)",
    ]


def test_one_id_is_renumbered_before_it_is_taken_apart() -> None:
    source = START + ONE_AXIS + BODY
    assert changes(source, rewritten(Grouped(), source, "4", grid=(4096, 1, 1))) == [
        "in_group = pid % (4 * columns)",
        "first = pid - in_group",
        "pid = tl.where(",
        "first + 4 * columns <= tl.num_programs(0),",
        "first + (in_group % 4 * columns + in_group // 4),",
        "pid,",
        ")",
    ]


@given(st.integers(1, 200), st.integers(1, 23), st.sampled_from([4, 8, 16]))
def test_one_id_is_mapped_one_to_one_at_every_grid(programs: int, columns: int, group: int) -> None:
    text = rewritten(Grouped(), START + ONE_AXIS + BODY, str(group), grid=(4096, 1, 1))
    lines = text[text.index("    in_group =") : text.index("    rows =")]
    code = compile("if True:\n" + lines, "kernel", "exec")
    tl = types.SimpleNamespace(where=lambda c, a, b: a if c else b, num_programs=lambda axis: programs)
    order = []
    for pid in range(programs):
        names = {"pid": pid, "columns": columns, "tl": tl}
        exec(code, names)
        order.append(names["pid"])
    assert sorted(order) == list(range(programs))
    rows = [pid // columns for pid in order[: group * columns]]
    if programs >= group * columns:  # the first group is done before any other, a column of it at a time
        assert set(rows) == set(range(group))
        assert [pid % columns for pid in order[:group]] == [0] * group


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([4, 8, 16]))
def test_two_axes_are_mapped_one_to_one_at_every_grid(across: int, down: int, group: int) -> None:
    text = rewritten(Grouped(), START + TWO_AXES + BODY, str(group), grid=(64, 64, 1))
    lines = text[text.index("    program =") : text.index("    rows =")]
    code = compile("if True:\n" + lines, "kernel", "exec")
    order = []
    for one in range(down):
        for zero in range(across):  # the first axis is the fastest
            tl = types.SimpleNamespace(
                minimum=min, program_id=(zero, one).__getitem__, num_programs=(across, down).__getitem__
            )
            names = {"tl": tl}
            exec(code, names)
            order.append((names["tile_0"], names["tile_1"]))
    assert sorted(order) == [(zero, one) for zero in range(across) for one in range(down)]
    assert order[: min(group, down)] == [(0, one) for one in range(min(group, down))]


@pytest.mark.parametrize(
    "start, grid, text",
    [
        (TWO_AXES, (64, 64, 1), "(triton.cdiv(m, 64), triton.cdiv(n, 64))"),
        (ONE_AXIS, (4096, 1, 1), "(triton.cdiv(m, 64) * triton.cdiv(n, 64),)"),
    ],
)
def test_masks_of_grouped_tiles_still_drop_where_sizes_divide(
    start: str, grid: tuple[int, int, int], text: str
) -> None:
    masked = "cols[None, :], acc, mask=(rows[:, None] < m) & (cols[None, :] < n))"
    source = START + start + BODY.replace("cols[None, :], acc)", masked)
    source = source.replace("matmul(a, b, out)", "matmul(a, b, out, m, n, k)")
    source = source.replace("kernel[grid](a, b, out, 4096, 4096, 64", f"kernel[{text}](a, b, out, m, n, k")
    sizes = {"m": 4096, "n": 4096, "k": 64}
    both = rewritten(EvenMasks(), rewritten(Grouped(), source, grid=grid, **sizes), grid=grid, **sizes)
    assert "(m % BM == 0)" in both
    assert "(n % BN == 0)" in both


@pytest.mark.parametrize(
    "start, grid, why",
    [
        (TWO_AXES.replace("pid_n * BN", "pid_n * 3 // 2 * BN"), (64, 64, 1), "more than the index of a tile"),
        (TWO_AXES + "    b_ptr += pid_n\n", (64, 64, 1), "more than the index of a tile"),
        (TWO_AXES + "    tl.atomic_add(out_ptr, 1)\n", (64, 64, 1), "the order of programs may matter"),
        (TWO_AXES, (8, 8, 1), "at the same time"),
        (TWO_AXES, (1024, 2, 1), "too few lines"),
        (ONE_AXIS + "    out_ptr += pid\n", (4096, 1, 1), "more than two tile indices"),
        (ONE_AXIS.replace("pid % columns", "pid % (columns + 1)"), (4096, 1, 1), "of one count"),
        ("    rows = tl.program_id(0) * BM + tl.arange(0, BM)\n    cols = rows\n", (4096, 1, 1), "one axis"),
    ],
)
def test_left_alone(start: str, grid: tuple[int, int, int], why: str) -> None:
    seen = view(START + start + BODY, grid)
    with pytest.raises(Declined, match=why):
        Grouped().choices(seen, seen.file.kernels[0])


def test_a_grouped_kernel_is_not_grouped_again() -> None:
    for start, grid in ((TWO_AXES, (64, 64, 1)), (ONE_AXIS, (4096, 1, 1))):
        with pytest.raises(Declined):
            rewritten(Grouped(), rewritten(Grouped(), START + start + BODY, grid=grid), grid=grid)


def test_a_kernel_that_another_one_calls_is_left_alone() -> None:
    caller = "@triton.jit\ndef caller(a_ptr):\n    kernel(a_ptr, a_ptr, a_ptr, 1, 1, 1, 16, 16)\n\n\n"
    source = (START + TWO_AXES + BODY).replace("def matmul(", caller + "def matmul(")
    seen = view(source, (64, 64, 1))
    with pytest.raises(Declined, match="another kernel calls it"):
        Grouped().choices(seen, seen.file.kernels[0])
