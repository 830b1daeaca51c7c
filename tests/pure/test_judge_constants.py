"""Which constants a problem's sizes come from, and setting them to other values."""

from __future__ import annotations

import ast

from hypothesis import given
from hypothesis import strategies as st

from tilewright.judge.inputs.constants import described, integer_literals, size_constants, with_sizes

PROBLEM = """\
import torch

STEPS = 2 ** 8  # ü: a character of two bytes
BATCH, HIDDEN = 8, 1_024
GATES: int = 4 * 3
WIDTH = GATES * HIDDEN
UNUSED = 77
FLAG = True
TWICE = 5
TWICE = 6


def shape():
    return (STEPS, BATCH, WIDTH)


def get_inputs():
    return [torch.randn(*shape()), TWICE, FLAG]


def get_init_inputs():
    return [HIDDEN]
"""


def values(source: str) -> dict[str, int]:
    return {name: constant.value for name, constant in size_constants(source).items()}


def test_constants_are_found_through_functions_other_constants_and_tuples() -> None:
    assert values(PROBLEM) == {"STEPS": 256, "BATCH": 8, "HIDDEN": 1024, "GATES": 12}


def test_only_the_value_changes() -> None:
    changed = with_sizes(PROBLEM, {"STEPS": 16, "HIDDEN": 64})
    assert values(changed) == {"STEPS": 16, "BATCH": 8, "HIDDEN": 64, "GATES": 12}
    assert changed.replace("STEPS = 16 ", "STEPS = 2 ** 8 ").replace("8, 64", "8, 1_024") == PROBLEM


def test_what_was_cut_is_said() -> None:
    assert described(PROBLEM, {"STEPS": 16, "BATCH": 8}) == "STEPS 256 → 16"


def test_integer_literals_are_not_found_in_words_or_floats() -> None:
    assert integer_literals("BLOCK = 64\nname = 'size 128'\nx = 32.0\nok = True") == {64}


@given(
    st.dictionaries(
        st.sampled_from(["A", "LONG_NAME", "ñ", "b2"]), st.integers(2, 2**40), min_size=1, max_size=4
    ),
    st.integers(2, 2**40),
)
def test_setting_a_size_keeps_the_others(sizes: dict[str, int], other: int) -> None:
    lines = [f"{name} = {value}" for name, value in sizes.items()]
    source = "\n".join([*lines, f"def get_inputs(): return [{', '.join(sizes)}]"])
    first = next(iter(sizes))
    changed = with_sizes(source, {first: other})
    ast.parse(changed)
    assert values(changed) == {**sizes, first: other}
