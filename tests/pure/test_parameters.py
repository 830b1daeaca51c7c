"""Matching ModelNew's parameters with Model's."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilewright.errors import AmbiguousParameters
from tilewright.judge.parameters import match_parameters


def test_names_decide_before_shapes() -> None:
    reference = {"a": (4,), "b": (4,), "w": (4, 8)}
    assert match_parameters(reference, {"b": (4,), "a": (4,), "w": (4, 8)}) == {"b": "b", "a": "a", "w": "w"}
    assert match_parameters(reference, {"a": (4,), "bias": (4,), "weight": (4, 8)}) == {
        "a": "a",
        "bias": "b",
        "weight": "w",
    }


def test_two_biases_of_one_length_under_new_names_are_not_guessed() -> None:
    reference = {"i2h.weight": (256, 1280), "i2h.bias": (256,), "h2h.bias": (256,)}
    candidate = {"w": (256, 1280), "b1": (256,), "b2": (256,)}
    with pytest.raises(AmbiguousParameters) as caught:
        match_parameters(reference, candidate)
    assert "b1 [256], b2 [256]" in caught.value.what
    assert "i2h.bias [256], h2h.bias [256]" in caught.value.what
    assert "--map b1=i2h.bias" in caught.value.mend
    assert match_parameters(reference, candidate, {"b1": "h2h.bias"}) == {
        "w": "i2h.weight",
        "b1": "h2h.bias",
        "b2": "i2h.bias",
    }


def test_a_name_that_kept_its_place_but_not_its_shape_is_no_match() -> None:
    with pytest.raises(AmbiguousParameters, match=r"weight \[8, 4\] match none"):
        match_parameters({"weight": (4, 8)}, {"weight": (8, 4)})


def test_what_is_left_over_is_an_error() -> None:
    with pytest.raises(AmbiguousParameters, match=r"no parameter of ModelNew holds Model's b \[4\]"):
        match_parameters({"a": (4,), "b": (4,)}, {"a": (4,)})
    with pytest.raises(AmbiguousParameters, match=r"ModelNew's extra \[2\] match no parameter of Model"):
        match_parameters({"a": (4,)}, {"a": (4,), "extra": (2,)})


def test_bookkeeping_buffers_do_not_block() -> None:
    reference = {"bn.weight": (4,), "bn.num_batches_tracked": ()}
    assert match_parameters(reference, {"bn.weight": (4,)}) == {"bn.weight": "bn.weight"}
    assert match_parameters(reference, {"bn.weight": (4,), "bn.num_batches_tracked": ()}) == {
        "bn.weight": "bn.weight",
        "bn.num_batches_tracked": "bn.num_batches_tracked",
    }


@pytest.mark.parametrize(
    ("given_map", "message"),
    [
        ({"nope": "a"}, "names nope, which ModelNew does not have; ModelNew has x, y"),
        ({"x": "nope"}, "names nope, which Model does not have; Model has a, b"),
        ({"x": "b"}, r"pairs x \[4\] with b \[2\]"),
        ({"x": "a", "z": "a"}, "twice"),
    ],
)
def test_a_wrong_map_says_what_is_wrong(given_map: dict[str, str], message: str) -> None:
    candidate = {"x": (4,), "y": (2,)} | ({"z": (4,)} if "z" in given_map else {})
    with pytest.raises(AmbiguousParameters, match=message):
        match_parameters({"a": (4,), "b": (2,)}, candidate, given_map)


SHAPES = st.lists(st.integers(1, 3), max_size=2).map(tuple)


@settings(deadline=None)
@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=3), SHAPES, max_size=6), st.randoms())
def test_equal_names_and_shapes_always_match_themselves(
    parameters: dict[str, tuple[int, ...]], random
) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(parameters.items())
    random.shuffle(shuffled)
    assert match_parameters(parameters, dict(shuffled)) == {name: name for name in parameters}


@settings(deadline=None)
@given(st.lists(SHAPES, min_size=1, max_size=6))
def test_renamed_parameters_match_only_when_every_shape_is_unique(shapes: list[tuple[int, ...]]) -> None:
    reference = {f"old{i}": shape for i, shape in enumerate(shapes)}
    candidate = {f"new{i}": shape for i, shape in enumerate(shapes)}
    if len(set(shapes)) == len(shapes):
        assert match_parameters(reference, candidate) == {f"new{i}": f"old{i}" for i in range(len(shapes))}
    else:
        with pytest.raises(AmbiguousParameters):
            match_parameters(reference, candidate)
