"""One line that names what a wrong output looks like."""

from __future__ import annotations

import pytest
import torch

from tilewright.judge.answer.budget import Expected, expectation
from tilewright.judge.answer.diagnose import diagnose
from tilewright.judge.answer.precision import rounded

pytestmark = pytest.mark.interpreted


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def right(exact: torch.Tensor) -> Expected:
    exact = exact.double()
    noisy = exact * (1 + 1e-5 * draw(*exact.shape, seed=9))
    found = expectation(noisy.float(), exact, noisy, 1.0)
    assert isinstance(found, Expected)
    return found


Y = draw(12, 20)


def test_a_right_output_is_like_nothing() -> None:
    assert diagnose(Y, right(Y), [draw(12, 20, seed=1)], [draw(12, 20, seed=2)]) == ""
    assert diagnose(draw(12, 20, seed=5), right(Y)) == ""


def test_all_zeros_and_a_constant() -> None:
    assert diagnose(torch.zeros(12, 20), right(Y)) == "all zeros"
    assert diagnose(torch.full((12, 20), 1.5), right(Y)) == "one constant, 1.5"


def test_an_input_handed_back() -> None:
    x = draw(4, 60, seed=1)
    for output, value, said in (
        (draw(12, 20, seed=1), draw(12, 20, seed=1), "equal to input 1"),
        (x.reshape(12, 20), x, "equal to input 1, reshaped"),
        (x.t().reshape(12, 20), x, "equal to input 1, transposed"),
        (draw(30, 40, seed=1)[:12, :20], draw(30, 40, seed=1), "equal to a part of input 1"),
        (draw(300, seed=1)[:240].view(12, 20), draw(300, seed=1), "equal to the first elements of input 1"),
    ):
        assert diagnose(output.clone(), right(Y), [draw(3), value, 7]) == said


def test_an_answer_of_an_earlier_call() -> None:
    earlier = [draw(12, 20, seed=3), draw(12, 20, seed=4)]
    assert "bit by bit the answer of the call before" in diagnose(earlier[1].clone(), right(Y), [], earlier)
    assert "of 2 calls before" in diagnose(earlier[0].clone(), right(Y), [], earlier)


@pytest.mark.parametrize("value", [float("nan"), -7.4e8])
def test_memory_never_written(value: float) -> None:
    broken = Y.clone()
    broken[3, 16:] = value
    broken[11] = value
    said = diagnose(broken, right(Y))
    assert said.startswith("24 of 240 elements hold what the memory held before")
    assert said.endswith("first [3, 16] to [3, 19]")
    assert diagnose(torch.full_like(Y, value), right(Y)).startswith("240 of 240 elements hold what")
    assert not diagnose(broken, right(Y), poison_values=[1.25]).startswith("24 of 240")


def test_nan_where_nan_is_right_is_no_poison() -> None:
    exact = Y.clone()
    exact[0, 0] = float("nan")
    assert diagnose(exact, right(exact)) == ""


def test_a_skipped_tile_in_zeroed_memory() -> None:
    broken = Y.clone()
    broken[2, 4:9] = 0
    said = diagnose(broken, right(Y))
    assert (
        said == "5 of 240 elements are zero that should not be, the others are right, first [2, 4] to [2, 8]"
    )


def test_swapped_outputs() -> None:
    other = draw(12, 20, seed=8)
    assert diagnose(other, right(Y), other_outputs={1: right(other)}) == (
        "right for output 1: outputs are swapped"
    )


def test_a_factor_and_a_term() -> None:
    assert diagnose(Y * 2, right(Y)) == "right except for a factor of 2"
    assert diagnose(-Y, right(Y)) == "right except for a factor of -1"
    assert diagnose(Y + 0.5, right(Y)) == "right except for 0.5 added to each element"
    assert diagnose(Y - 0.5, right(Y)) == "right except for 0.5 taken from each element"


def test_the_right_values_in_other_places() -> None:
    square = draw(16, 16)
    assert diagnose(square.t(), right(square)) == "the transpose of what it should be"
    assert diagnose(Y.t().reshape(12, 20), right(Y)) == "the transpose of what it should be"
    assert diagnose(Y.flip(0), right(Y)) == "right up to the order of its rows"
    assert diagnose(Y.roll(3, 1), right(Y)) == "right up to the order of its columns"


def test_precision_is_named_by_the_error_it_leaves() -> None:
    a, b = draw(40, 100).double(), draw(100, 30, seed=1).double()
    asked: list[str] = []

    def run(precision: str) -> torch.Tensor:
        asked.append(precision)
        return rounded(a, precision) @ rounded(b, precision)

    lower = {"float16": lambda: run("float16"), "bfloat16": lambda: run("bfloat16")}
    expected = right(a @ b)
    for precision in lower:
        said = diagnose(run(precision).float(), expected, lower=lower)
        assert said == f"as if computed with {precision} operands"
    asked.clear()
    assert diagnose(torch.zeros(40, 30), expected, lower=lower) == "all zeros"
    assert not asked
    assert diagnose((a @ b + 1e-2 * draw(40, 30, seed=2)).float(), expected, lower=lower) == ""


def test_integers_and_single_elements() -> None:
    index = torch.tensor([3, 1, 2])
    expected = expectation(index, index, index, 1.0)
    assert diagnose(torch.zeros(3, dtype=torch.int64), expected) == "all zeros"
    assert diagnose(index, expected, [index]) == "equal to input 0"
    scalar = right(torch.tensor(2.0))
    assert diagnose(torch.tensor(float("nan")), scalar).startswith("1 of 1 elements hold")
    assert diagnose(torch.tensor(2.5), scalar) == ""
    flags = expectation(torch.tensor([True, False]), torch.tensor([True, False]), torch.tensor([True]), 1.0)
    assert diagnose(torch.tensor([True, True]), flags) == "one constant, 1"
