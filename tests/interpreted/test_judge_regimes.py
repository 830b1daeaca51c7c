"""The kinds of inputs beside those a problem draws: what each changes, and when it counts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tilewright.judge.answer.budget import expectation
from tilewright.judge.inputs.regimes import CHANGEABLE, REGIMES, Regime, changeable, defined, root_mean_square

pytestmark = pytest.mark.interpreted


def named(part: str) -> Regime:
    (regime,) = [regime for regime in REGIMES if part in regime.name]
    return regime


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def under(part: str, *inputs: object, seed: int = 0) -> list[object]:
    return named(part).change(list(inputs), generator(seed))


def expected(reference: object, inputs: list[torch.Tensor]) -> list[object]:
    native = reference(*inputs)  # type: ignore[operator]
    exact = reference(*[value.double() for value in inputs])  # type: ignore[operator]
    return [expectation(native, exact, exact, 1.0)]


shapes = st.lists(st.integers(0, 9), max_size=4).map(tuple)


@pytest.mark.parametrize("regime", REGIMES, ids=lambda regime: regime.name)
@settings(max_examples=25, deadline=None)
@given(shape=shapes, dtype=st.sampled_from(sorted(CHANGEABLE, key=str)), seed=st.integers(0, 2**31))
def test_only_values_of_floating_point_inputs_change(
    regime: Regime, shape: tuple[int, ...], dtype: torch.dtype, seed: int
) -> None:
    value = torch.randn(shape, generator=generator(seed)).to(dtype).t() if len(shape) == 2 else None
    value = torch.randn(shape, generator=generator(seed)).to(dtype) if value is None else value
    inputs = [value, torch.arange(5), torch.tensor([True, False]), 3, "reflect", None]
    before = value.clone()
    new = regime.change(inputs, generator(seed))
    assert all(a is b for a, b in zip(new[1:], inputs[1:], strict=True))
    assert torch.equal(value, before)
    assert new[0].shape == value.shape
    assert new[0].dtype == value.dtype
    assert new[0].stride() == value.stride() or value.numel() < 2
    assert not new[0].isnan().any()
    if regime.needs_finite:
        assert new[0].isfinite().all()
    if changeable(value) and "resemble" not in regime.name:  # one input has none to resemble
        assert new[0].data_ptr() != value.data_ptr()


def test_signs_are_mixed_and_magnitudes_stay() -> None:
    value = torch.rand(1000) + 0.1
    (new,) = under("signs", value)
    assert torch.equal(new.abs(), value)
    assert 400 < int((new < 0).sum()) < 600


def test_scales() -> None:
    value = torch.randn(50)
    assert torch.equal(under("smaller", value)[0] * 256, value)
    assert torch.equal(under("larger", value)[0] / 32, value)
    assert not under("zero", value)[0].any()


def test_outliers_are_few_and_of_the_tensors_own_scale() -> None:
    value = 1e-3 * torch.randn(64, 64)
    (new,) = under("few elements", value)
    planted = new != value
    assert 1 <= int(planted.sum()) <= 4
    assert torch.allclose(new[planted].abs(), torch.tensor(1024 * root_mean_square(value)))


def test_outliers_are_of_both_signs_whatever_is_drawn() -> None:
    for seed in range(40):
        value = torch.rand(64, 64)
        (new,) = under("few elements", value, seed=seed)
        assert bool((new > 2).any()) and bool((new < 0).any())


def test_inputs_of_one_shape_come_to_resemble_the_first() -> None:
    inputs = [torch.rand(40), torch.rand(3), torch.rand(40), torch.rand(3).half(), torch.rand(40)]
    new = under("resemble", *inputs)
    assert [a is b for a, b in zip(new, inputs, strict=True)] == [True, True, False, True, False]
    for index in (2, 4):
        assert torch.allclose(new[index] - inputs[0], (inputs[index] - inputs[0]) / 8, atol=1e-6)
        assert bool(((new[index] >= 0) & (new[index] <= 1)).all())


@pytest.mark.parametrize(("part", "infinite"), [("infinite", True), ("changed since", False)])
def test_one_element_of_one_input_changes(part: str, infinite: bool) -> None:
    places = set()
    for seed in range(20):
        inputs = [torch.rand(4, 4), torch.arange(3), torch.rand(6)]
        new = under(part, *inputs, seed=seed)
        changed = [(i, int((a != b).sum())) for i, (a, b) in enumerate(zip(inputs, new, strict=True))]
        assert sum(count for _, count in changed) == 1
        places.update(i for i, count in changed if count)
        assert any(value.isinf().any() for value in new if value.is_floating_point()) == infinite
        if not infinite:
            assert all(bool((value >= 0).all()) for value in new)
    assert places == {0, 2}


def test_the_same_seed_gives_the_same_inputs() -> None:
    value = torch.randn(100)
    for regime in REGIMES:
        assert torch.equal(regime.change([value], generator(3))[0], regime.change([value], generator(3))[0])


def test_nothing_to_change() -> None:
    inputs = [torch.arange(4), 2.5, torch.empty(0)]
    for regime in REGIMES:
        new = regime.change(inputs, generator())
        assert all(a is b for a, b in zip(new, inputs, strict=True))


def test_values_stay_within_their_dtype() -> None:
    value = torch.full((10,), 6e4, dtype=torch.float16)
    assert under("few elements", value)[0].isfinite().all()
    assert under("changed since", value)[0].isfinite().all()


def test_nan_in_the_references_result_leaves_a_regime_out() -> None:
    value = torch.rand(100) + 0.5
    assert defined(named("larger"), expected(torch.log, [value]))
    assert not defined(named("signs"), expected(torch.log, under("signs", value)))
    softmax = lambda x: torch.softmax(x, -1)  # noqa: E731
    assert not defined(named("infinite"), expected(softmax, [torch.tensor([1.0, float("inf")])]))
    assert defined(named("infinite"), expected(softmax, [torch.tensor([1.0, -float("inf")])]))
    assert defined(named("infinite"), expected(torch.relu, [torch.tensor([1.0, float("inf")])]))


def test_leaving_the_range_of_a_dtype_leaves_a_regime_out_unless_the_problem_does_it_itself() -> None:
    infinite = expected(torch.log, [torch.tensor([0.0, 1.0])])
    finite = expected(torch.log, [torch.tensor([0.5, 1.0])])
    assert not defined(named("all inputs zero"), infinite)
    assert not defined(named("all inputs zero"), infinite, finite)
    assert defined(named("all inputs zero"), infinite, infinite)
    native = torch.tensor([3e4], dtype=torch.float16)
    overflowed = expectation(native, native.double(), torch.tensor([float("inf")]).double(), 1.0)
    assert not defined(named("larger"), [overflowed])


def test_indices_among_equal_values_are_open() -> None:
    index = expectation(torch.tensor([0]), torch.tensor([0]), torch.tensor([0]), 1.0)
    assert not defined(named("all inputs zero"), [index])
    assert defined(named("signs"), [index])
