"""Rounding of operands, and the reference carried out in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tilewright.judge.answer.budget import Undecidable, expectation, relative_errors
from tilewright.judge.answer.compare import compare
from tilewright.judge.answer.precision import Float64, plain_arithmetic, rounded
from tilewright.judge.means.poison import Poisoned
from tilewright.judge.trial import find_truth
from tilewright.judge.verdict import Outcome

pytestmark = pytest.mark.interpreted

BITS = {"tf32": 10, "float16": 10, "bfloat16": 7, "float32": 23}
TOWARDS_ZERO = ("tf32",)


@pytest.mark.parametrize("precision", BITS)
@given(st.floats(2.0**-10, 60000.0, width=32), st.booleans())
def test_rounding_is_to_the_nearest_multiple_of_the_last_kept_bit_or_drops_what_follows(
    precision: str, size: float, negative: bool
) -> None:
    value = -size if negative else size
    got = float(rounded(torch.tensor([value], dtype=torch.float64), precision))
    unit = 2.0 ** (math.floor(math.log2(size)) - BITS[precision])
    to_whole = math.trunc if precision in TOWARDS_ZERO else round  # Python rounds ties to even
    assert got == to_whole(value / unit) * unit


def test_float16_overflows_and_tf32_does_not() -> None:
    large = torch.tensor([1e5, -1e5, math.inf, math.nan], dtype=torch.float64)
    assert rounded(large, "float16")[:2].tolist() == [math.inf, -math.inf]
    kept = rounded(large, "tf32")
    assert kept[:2].isfinite().all()
    assert kept[2] == math.inf
    assert kept[3].isnan()


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_are_seen_product_by_product(kind: type[nn.RNNBase]) -> None:
    torch.manual_seed(0)
    layer, x = kind(8, 16).double(), torch.randn(4, 2, 8).double()
    with torch.no_grad(), plain_arithmetic(recurrent=True):
        exact = layer(x)[0]
        with Float64(torch.float32):
            same = layer(x)[0]
        with Float64(torch.float32, "tf32"):
            lossy = layer(x)[0]
    assert torch.equal(exact, same)
    assert 1e-5 < float((lossy - exact).norm() / exact.norm()) < 1e-2


def test_attention_and_convolution_are_rounded_too() -> None:
    torch.manual_seed(0)
    q = torch.randn(1, 2, 8, 16).double()
    conv, image = nn.Conv2d(3, 4, 3).double(), torch.randn(1, 3, 8, 8).double()
    with torch.no_grad(), plain_arithmetic():
        exact = nn.functional.scaled_dot_product_attention(q, q, q), conv(image)
        with Float64(torch.float32, "bfloat16"):
            lossy = nn.functional.scaled_dot_product_attention(q, q, q), conv(image)
    for one, other in zip(lossy, exact, strict=True):
        assert float((one - other).norm() / other.norm()) > 1e-4


def test_random_numbers_are_those_that_the_plain_run_draws() -> None:
    def draws() -> list[torch.Tensor]:
        torch.manual_seed(3)
        x = torch.ones(64)
        return [torch.randn(5), torch.rand(5, 2), nn.functional.dropout(x, 0.5), torch.empty(4).normal_()]

    plain = draws()
    with Float64(torch.float32):
        wide = draws()
    for one, other in zip(plain, wide, strict=True):
        assert other.dtype == torch.float64
        assert torch.equal(one.double(), other)


def test_casts_inside_the_reference_do_not_lose_bits() -> None:
    x = torch.randn(100, dtype=torch.float64)
    with Float64(torch.float32):
        back = x.float().half().to(torch.bfloat16) * torch.ones(100)
    assert torch.equal(back, x)


def test_a_reference_without_a_correct_digit_gives_no_budget() -> None:
    exact = torch.randn(50, dtype=torch.float64)
    with pytest.raises(Undecidable):
        expectation(-exact.float(), exact, exact, input_scale=0.1)


def test_an_exact_reference_still_leaves_a_few_units_in_the_last_place() -> None:
    exact = torch.randn(50).double()
    expected = expectation(exact.float(), exact, exact, input_scale=1.0)
    assert 2.0**-23 < expected.max_budget < 1e-6


@pytest.mark.parametrize("seed", [277, 997, 1868])  # of 4000 draws, those with the largest errors
def test_sums_added_one_after_another_are_within_the_budget_of_long_sums(seed: int) -> None:
    x = torch.randn(2000, 24, generator=torch.Generator().manual_seed(seed))
    exact = x.double().sum(0)
    expected = expectation(exact.float(), exact, exact, float(x.abs().max()), precision="float32", terms=2000)
    in_a_row = torch.from_numpy(np.add.accumulate(x.numpy(), axis=0, dtype=np.float32)[-1])
    norm, most = relative_errors(in_a_row.double(), exact, torch.ones(24, dtype=torch.bool), expected)
    assert norm < expected.norm_budget and most < expected.max_budget < 1e-5


class Total(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum()


def near_zero() -> torch.Tensor:
    """Of 300 draws of 5000 numbers about zero the one whose sum is nearest to it."""
    generator = torch.Generator().manual_seed(0)
    return min(
        (torch.randn(5000, generator=generator) for _ in range(300)), key=lambda x: abs(float(x.sum()))
    )


def test_a_single_sum_may_be_near_zero_by_chance() -> None:
    x = near_zero()
    (expected,) = find_truth(Total(), [x], 0, path="problem.py", precision="float32").expected
    in_a_row = torch.from_numpy(np.add.accumulate(x.numpy(), dtype=np.float32)[-1:])[0]
    assert relative_errors(in_a_row.double(), expected.exact, torch.tensor(True), expected)[0] > 2.0**-14
    assert compare([in_a_row], [expected]).outcome is Outcome.CORRECT
    for wrong in (x[:-1].sum(), x.bfloat16().float().sum(), torch.zeros(())):
        assert compare([wrong], [expected]).outcome is Outcome.WRONG


def test_a_sum_that_is_not_near_zero_keeps_its_budget() -> None:
    x = torch.rand(5000, generator=torch.Generator().manual_seed(0))
    (expected,) = find_truth(Total(), [x], 0, path="problem.py", precision="float32").expected
    assert expected.norm_budget < 1e-5


def test_inputs_stay_in_their_range_where_the_condition_of_few_outputs_is_taken() -> None:
    class Entropy(nn.Module):
        def forward(self, p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
            assert bool((p >= 0).all() and (p <= 1).all() and (q >= -1).all() and (q <= 1).all())
            return nn.functional.binary_cross_entropy(p, q.abs())

    ends = torch.tensor([0.0, 1.0, 0.5, 1.0])
    (expected,) = find_truth(Entropy(), [ends, -ends], 0, path="problem.py", precision="float32").expected
    assert expected.max_budget < 1e-3  # where the logarithm of zero is cut off, what is left varies more


def test_a_reference_may_want_its_inputs_to_the_last_digit() -> None:
    class Chosen(nn.Module):
        def forward(self, x: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
            if not bool(((chosen == 0.0) | (chosen == 1.0)).all()):
                raise ValueError("chosen is 0 or 1")
            return (x * chosen).sum()

    x = torch.rand(100, generator=torch.Generator().manual_seed(0))
    given = [x, (x > 0.5).float()]
    (expected,) = find_truth(Chosen(), given, 0, path="problem.py", precision="float32").expected
    assert expected.norm_budget < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.int8, torch.bool])
def test_fresh_memory_is_poisoned(dtype: torch.dtype) -> None:
    with Poisoned():
        made = [
            torch.empty(3, dtype=dtype),
            torch.empty_like(torch.zeros(2, dtype=dtype)),
            torch.zeros(2, dtype=dtype).new_empty(4),
            torch.empty_strided((2, 2), (1, 2), dtype=dtype),
        ]
        kept = torch.zeros(3, dtype=dtype)
    for tensor in made:
        poison = (
            tensor.isnan()
            if dtype.is_floating_point
            else tensor == (1 if dtype == torch.bool else torch.iinfo(dtype).max)
        )
        assert poison.all()
    assert not kept.any()
