"""Rows, columns, planes and tiles of an output, each of which must keep a correct digit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tilewright.judge.answer import slices
from tilewright.judge.answer.budget import CAP, FACTOR, TF32_FACTOR, Expected, expectation
from tilewright.judge.answer.compare import Comparison, compare
from tilewright.judge.answer.precision import rounded
from tilewright.judge.verdict import Outcome

pytestmark = pytest.mark.interpreted


def wanted(exact: torch.Tensor, noise: float = 1e-4) -> Expected:
    """What to expect of a reference that loses so much of every element."""
    torch.manual_seed(1)
    runs = [exact * (1 + noise * torch.randn_like(exact)) for _ in range(2)]
    found = expectation(runs[0].float(), exact, runs[1], 1.0)
    assert isinstance(found, Expected)
    return found


def judged(output: torch.Tensor, expected: Expected) -> Comparison:
    return compare([output.float()], [expected])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=4).map(tuple))
def test_norms_are_those_of_a_loop_over_the_slices(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    values = torch.randn(shape, dtype=torch.float64)
    for kind, norms in slices.norms(values).items():
        assert slices.elements(kind, values.shape) >= slices.FEWEST
        index = int(norms.reshape(-1).argmax())
        name = slices.place(kind, index, values.shape)
        assert float(norms.max()) == pytest.approx(float(_cut_out(values, kind, index, name).norm()))


def _cut_out(values: torch.Tensor, kind: str, index: int, name: str) -> torch.Tensor:
    if kind == "row":
        return values.reshape(-1, values.shape[-1])[index]
    if kind == "column":
        return values[..., index]
    if kind == "tile":
        corner = [int(part) for part in name.partition("[")[2].rstrip("]").split(",")]
        sides = slices.tile_sides(values.shape)
        plain = corner[: -len(sides)]
        return values[(*plain, *[slice(c, c + s) for c, s in zip(corner[len(plain) :], sides, strict=True)])]
    return values.select(int(kind.rpartition(" ")[2]), index)


def lopsided(*shape: int, axis: int) -> torch.Tensor:
    """Normal values, the first four along an axis 300 times larger, so that a norm sees only them."""
    torch.manual_seed(0)
    exact = torch.randn(shape, dtype=torch.float64)
    exact.narrow(axis, 0, 4).mul_(300.0)
    return exact


def test_a_lost_row_among_larger_ones_is_named() -> None:
    exact = lopsided(64, 200, axis=0)
    broken = exact.clone()
    broken[17] = 0
    expected = wanted(exact, 2e-3)
    answer = judged(broken, expected)
    assert answer.outcome is Outcome.WRONG
    assert answer.reason == "output 0 row 17 is off by 1 of its size"
    assert answer.errors[0].norm_error < expected.norm_budget
    assert answer.errors[0].max_error < expected.max_budget
    assert judged(exact * (1 + 2e-3), expected).outcome is Outcome.CORRECT


def test_a_skipped_tile_of_small_values_is_named() -> None:
    exact = lopsided(64, 64, axis=0).reshape(1, 64, 64)
    broken = exact.clone()
    broken[0, 32:48, 16:32] = 0
    answer = judged(broken, wanted(exact, 2e-3))
    assert answer.reason == "output 0 the tile of 16×16 at [0, 32, 16] is off by 1 of its size"


@pytest.mark.parametrize(
    ("axis", "at", "name"), [(2, (..., 5), "column 5"), (1, (slice(None), 7), "plane 7 of axis 1")]
)
def test_a_lost_column_or_plane_is_named(axis: int, at: tuple[object, ...], name: str) -> None:
    exact = lopsided(40, 30, 24, axis=axis)
    broken = exact.clone()
    broken[at] *= -1
    assert judged(broken, wanted(exact, 3e-3)).reason == f"output 0 {name} is off by 2 of its size"


def test_a_slice_may_lose_what_the_reference_loses_there() -> None:
    torch.manual_seed(0)
    exact = torch.randn(64, 100, dtype=torch.float64)
    exact[3] *= 1e-6
    noise = 1e-3 * torch.randn(2, 100).double()
    native, other = exact.clone(), exact.clone()
    native[3] += noise[0]
    other[3] += noise[1]
    assert judged(other, expectation(native.float(), exact, native, 1.0)).outcome is Outcome.CORRECT


def test_a_slice_that_a_relu_left_empty_may_hold_a_little() -> None:
    torch.manual_seed(0)
    exact = torch.relu(torch.randn(200, 32).double())
    exact[9] = 0
    exact[9, 4] = 1e-6
    answer = exact + 1e-3 * torch.randn_like(exact) * (exact > 0)
    assert judged(answer, wanted(exact, 1e-3)).outcome is Outcome.CORRECT


def test_what_should_be_zero_and_is_not() -> None:
    exact = torch.cat([lopsided(64, 64, axis=0), torch.zeros(32, 64).double()])
    broken = exact.clone()
    broken[70] = 0.1
    assert "row 70 is off by 0.8, and should be zero" in judged(broken, wanted(exact, 3e-4)).reason


def test_a_constant_is_no_answer_however_small_the_variation() -> None:
    torch.manual_seed(0)
    exact = 1.0 + 1e-4 * torch.randn(8, 5, dtype=torch.float64)
    expected = wanted(exact, 5e-6)
    loose = Expected(**{**vars(expected), "norm_budget": 1.0, "max_budget": 1.0})
    assert "no better than a constant" in judged(torch.ones(8, 5), loose).reason
    assert "no better than a constant" in judged(torch.zeros(8, 5), loose).reason
    assert judged(exact, loose).outcome is Outcome.CORRECT


def test_no_budget_is_above_the_cap() -> None:
    exact = torch.rand(100, 100, dtype=torch.float64) + 1
    assert wanted(exact, 0.02).max_budget == CAP


def test_long_sums_may_be_added_up_in_any_order() -> None:
    values = torch.rand(2**18)
    native, exact = values.sum(), values.double().sum()
    expected = expectation(native, exact, exact, 1.0, terms=values.numel())
    total = torch.zeros(())
    for part in values.view(-1, 128).sum(1):
        total += part
    assert compare([total], [expected]).outcome is Outcome.CORRECT
    assert expected.norm_budget < 2e-5


def test_tensor_cores_that_drop_bits_agree_with_tf32_and_bfloat16_does_not() -> None:
    torch.manual_seed(0)
    for draw in (torch.rand, torch.randn):
        a, b = draw(64, 1024).double(), draw(1024, 64).double()
        exact, other = a @ b, rounded(a, "tf32") @ rounded(b, "tf32")
        expected = expectation((a.float() @ b.float()), exact, other, 1.0, precision="tf32")
        assert compare([other.float()], [expected]).outcome is Outcome.CORRECT
        assert compare([exact.float()], [expected]).outcome is Outcome.CORRECT
        if draw is torch.randn:
            lossy = rounded(a, "bfloat16") @ rounded(b, "bfloat16")
            assert compare([lossy.float()], [expected]).outcome is Outcome.WRONG
    assert TF32_FACTOR < FACTOR


def test_zeros_may_be_off_by_a_few_units_of_the_inputs() -> None:
    exact = torch.zeros(20, 20, dtype=torch.float64)
    expected = expectation(exact.float(), exact, exact, 1.0)
    assert compare([exact.float() + 1e-7], [expected]).outcome is Outcome.CORRECT
    assert compare([exact.float() + 1e-3], [expected]).outcome is Outcome.WRONG


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (5, 2), (1, 1, 1, 1)])
def test_outputs_too_small_for_slices(shape: tuple[int, ...]) -> None:
    exact = torch.ones(shape, dtype=torch.float64)
    assert judged(exact, wanted(exact)).outcome is Outcome.CORRECT
