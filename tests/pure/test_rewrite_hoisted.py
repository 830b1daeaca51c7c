"""Which loads leave their loop, and which have to stay in it."""

from __future__ import annotations

import pytest
from rewriting import HEAD, changes, rewritten

from tilewright.proposers.rewrite.base import Declined
from tilewright.proposers.rewrite.hoisted import Hoisted

SCALE = f"""{HEAD}def scale_kernel(x_ptr, weight_ptr, bias_ptr, out_ptr, rows, n, BLOCK: tl.constexpr):
    for row in range(tl.program_id(0), rows, tl.num_programs(0)):
        cols = tl.arange(0, BLOCK)
        weight = tl.load(weight_ptr + cols, mask=cols < n, other=0.0)
        x = tl.load(x_ptr + row * n + cols, mask=cols < n)
        tl.store(out_ptr + row * n + cols, x * weight + tl.load(bias_ptr), mask=cols < n)


def scale(x, weight, bias):
    out = torch.empty_like(x)
    rows, n = x.shape
    scale_kernel[(8,)](x, weight, bias, out, rows, n, BLOCK=256)
    return out
"""


def hoist(source: str) -> str:
    return rewritten(Hoisted(), source, rows=100, n=200)


def test_a_load_goes_before_its_loop_with_what_it_needs() -> None:
    after = hoist(SCALE)
    assert changes(SCALE, after) == [
        "cols = tl.arange(0, BLOCK)",
        "weight = tl.load(weight_ptr + cols, mask=(cols < n) & (tl.program_id(0) < rows), other=0.0)",
        "bias_tile = tl.load(bias_ptr, mask=tl.program_id(0) < rows)",
        "tl.store(out_ptr + row * n + cols, x * weight + bias_tile, mask=cols < n)",
    ]
    assert after.index("bias_tile =") < after.index("for row in")
    assert after.count("weight = ") == after.count("cols = ") == 1


def test_a_loop_that_certainly_runs_needs_no_condition() -> None:
    after = hoist(SCALE.replace("tl.program_id(0), rows, tl.num_programs(0)", "4"))
    assert "bias_tile = tl.load(bias_ptr)\n" in after


def test_out_of_two_loops_under_the_conditions_of_both() -> None:
    source = SCALE.replace("        cols = ", "        for _ in range(n):\n            cols = ", 1)
    for name in ("weight =", "x =", "tl.store"):
        source = source.replace(f"        {name}", f"            {name}")
    source = source.replace("            cols = tl.arange(0, BLOCK)\n", "")
    source = source.replace("    for row", "    cols = tl.arange(0, BLOCK)\n    for row")
    after = hoist(source)
    assert (
        "\n    bias_tile = tl.load(bias_ptr, mask=(tl.program_id(0) < rows) & (0 < n))\n    for row" in after
    )


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("x, weight, bias, out", "out, out, out, out", "its memory may be written"),
        (
            "tl.store(out_ptr",
            "tl.store(weight_ptr + cols, x)\n        tl.store(out_ptr",
            "its memory may be written",
        ),
        ("        tl.store(", "    tl.store(", "nothing is written in its loop, so the compiler moves it"),
        ("tl.load(weight_ptr", "tl.load(x_ptr + row + weight_ptr", "no load in a loop"),
        ("cols = tl.arange(0, BLOCK)", "cols = row + tl.arange(0, BLOCK)", "no load in a loop"),
        ("other=0.0)", "volatile=True)", "no load in a loop"),
        ("tl.num_programs(0))", "-1)", "no load in a loop"),
        ("range(tl.program_id(0)", "range(tl.load(x_ptr)", "no load in a loop"),
    ],
)
def test_it_stays_where_moving_it_could_change_it_or_gains_nothing(old: str, new: str, reason: str) -> None:
    source = SCALE.replace(" + tl.load(bias_ptr)", "")
    assert old in source
    with pytest.raises(Declined, match=reason):
        hoist(source.replace(old, new))


def test_a_load_that_may_not_be_reached_stays() -> None:
    source = SCALE.replace(" + tl.load(bias_ptr)", "").replace(
        "weight = tl.load", "if row > 3:\n            weight = tl.load"
    )
    with pytest.raises(Declined, match="no load in a loop"):
        hoist(source)


def test_a_name_with_two_values_stays_where_it_is() -> None:
    source = SCALE.replace("        x = tl", "        weight += 1.0\n        x = tl")
    after = hoist(source)
    assert "\n    weight_tile = tl.load(weight_ptr + cols" in after
    assert "\n        weight = weight_tile\n        weight += 1.0\n" in after
