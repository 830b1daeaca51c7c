"""Kinds of inputs beside those a problem draws, under which a shortcut stops to hold.

A kernel that drops a ReLU because torch.rand is never negative, that keys a cache by a few elements, or
that subtracts no maximum before exp, agrees with the reference on the problem's own inputs. Each regime
changes the floating-point ones; integers, booleans and what is no tensor stay, since they index, count
or select.

A regime counts only where the reference itself defines the result. It is left out when

- the reference raises, or `budget.expectation` raises Undecidable (the caller sees both; on a GPU some
  references check their inputs by a device-side assertion, after which that process is of no more use);
- an output holds NaN (the log of a negative number, 0/0, ∞ − ∞), in its own run or in float64;
- finite inputs give an infinity that the inputs as drawn did not give, in its own run, in float64, or
  with operands rounded to the precision that was asked for: a range is left, and nothing was promised there;
- all values are equal and an output holds integers: which of several equal values an index names is open.

The scales are powers of two, so scaling alone rounds nothing. 2^5 takes standard normal values, at most
about 6 in 10^8, to 200, and a product of two inputs to 2^10 times its size: a sum of 4096 such products
has a standard deviation of 6.6e4, so float16 operands (up to 65 504) have room, and only a result that was
within three orders of magnitude of float16's end leaves it, which the rule above then sees. exp without its
maximum subtracted overflows float32 from 89 on. 2^-8 leaves all but one in a hundred normal values
above float16's smallest normal number, 6.1e-5, and takes squares to 2^-16, where an epsilon of 1e-5 shows.
An outlier of 2^10 times the root mean square stays within float16 as an operand; its square does not.

A loss or a similarity may be zero for inputs that are drawn independently, whatever the kernel does.
Inputs that resemble the first of their shape, 7/8 of it and 1/8 of their own, have a cosine of 0.99 with it
and stay in any convex range, such as probabilities. Their differences are an eighth of those drawn.

Where few large values decide, a softmax or a saturated tanh becomes nearly a step, and which of the noise
gets to cross it is luck: the reference's own loss says less about an honest kernel's, and `slack` times
as much is allowed. Shortcuts err by far more; precision is judged by the other regimes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tilewright.judge.answer.budget import Expected

SMALL = 2.0**-8
LARGE = 2.0**5
OUTLIER = 2.0**10  # times the root mean square of the tensor it is planted in
MOST_OUTLIERS = 4  # in one tensor; few enough that most rows of a large one hold none
CHANGE = 2.0**6  # what an element grows by, in root mean squares
LIKENESS = 7.0 / 8.0  # of the first input of a shape in those that come to resemble it
SLACK = 8.0
CHANGEABLE = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})


@dataclass(frozen=True)
class Regime:
    """One kind of inputs.

    Args:
        name: for people, to follow "wrong": "with the signs drawn at random".
        change: the flat list of inputs and a generator to the changed list, in new memory where changed,
            dtypes, shapes, devices and strides kept. The generator may be of another device.
        needs_finite: counts only where outputs are finite, or were infinite as drawn.
        makes_ties: leaves equal values only.
        slack: times the budget is widened (`budget.expectation`).
        follows: changes the inputs of the trial before, which are to be given, rather than fresh ones.
    """

    name: str
    change: Callable[[list[Any], torch.Generator], list[Any]]
    needs_finite: bool = True
    makes_ties: bool = False
    slack: float = 1.0
    follows: bool = False


def changeable(value: Any) -> bool:
    """Whether regimes change this input: a tensor of float16, bfloat16, float32 or float64 with elements."""
    return isinstance(value, torch.Tensor) and value.dtype in CHANGEABLE and value.numel() > 0


def defined(
    regime: Regime, expected: Sequence[Expected | Any], as_drawn: Sequence[Expected | Any] = ()
) -> bool:
    """Whether a regime counts: whether the reference's runs define its result.

    Args:
        expected: per output, from the reference's runs under the regime.
        as_drawn: the same for inputs as the problem draws them, where an infinity is the problem's own.
    """
    ordinary = list(as_drawn) or [None] * len(expected)
    for wanted, usual in zip(expected, ordinary, strict=True):
        if not isinstance(wanted, Expected):
            continue
        if wanted.exact is None:
            if regime.makes_ties:
                return False
            continue
        if bool(wanted.native.isnan().any()) or bool(wanted.exact.isnan().any()):
            return False
        usual_too = isinstance(usual, Expected) and _leaves_range(usual)
        if regime.needs_finite and _leaves_range(wanted) and not usual_too:
            return False
    return True


def _leaves_range(wanted: Expected) -> bool:
    return not wanted.in_range or not bool(wanted.native.isfinite().all())


def _signs(inputs: list[Any], generator: torch.Generator) -> list[Any]:
    def change(tensor: torch.Tensor) -> torch.Tensor:
        drawn = torch.randint(
            0, 2, tensor.shape, generator=generator, device=generator.device, dtype=torch.int8
        )
        return tensor.mul_(drawn.mul_(2).sub_(1).to(tensor.device))

    return _each(inputs, change)


def _scaled(factor: float) -> Callable[[list[Any], torch.Generator], list[Any]]:
    return lambda inputs, _: _each(inputs, lambda tensor: tensor.mul_(factor))


def _zeros(inputs: list[Any], _: torch.Generator) -> list[Any]:
    return _each(inputs, lambda tensor: tensor.zero_())


def _outliers(inputs: list[Any], generator: torch.Generator) -> list[Any]:
    def change(tensor: torch.Tensor) -> torch.Tensor:
        size = OUTLIER * root_mean_square(tensor) * _sign(generator)
        for _ in range(min(MOST_OUTLIERS, tensor.numel())):  # of both signs, whichever chance gives first
            _replace(tensor, generator, _always(size))
            size = -size
        return tensor

    return _each(inputs, change)


def _resembling(inputs: list[Any], _: torch.Generator) -> list[Any]:
    first: dict[Any, torch.Tensor] = {}
    changed = []
    for value in inputs:
        if changeable(value):
            model = first.setdefault((value.shape, value.dtype), value)
            if model is not value:
                value = value.detach().clone().mul_(1.0 - LIKENESS).add_(model, alpha=LIKENESS)
        changed.append(value)
    return changed


def _infinite(inputs: list[Any], generator: torch.Generator) -> list[Any]:
    return _one(inputs, generator, lambda _old, _scale: _sign(generator) * float("inf"))


def _changed(inputs: list[Any], generator: torch.Generator) -> list[Any]:
    # Away from zero on its own side: what is never negative stays so.
    return _one(inputs, generator, lambda old, scale: old + (-CHANGE if old < 0.0 else CHANGE) * scale)


def root_mean_square(tensor: torch.Tensor) -> float:
    """Of the finite elements; 1 where all are zero."""
    kept = torch.where(tensor.isfinite(), tensor, 0.0)
    norm = float(torch.linalg.vector_norm(kept, dtype=torch.float64))
    return norm / float(tensor.numel()) ** 0.5 or 1.0


def _each(inputs: list[Any], change: Callable[[torch.Tensor], torch.Tensor]) -> list[Any]:
    """Every changeable input replaced by its copy as changed in place."""
    return [change(value.detach().clone()) if changeable(value) else value for value in inputs]


def _one(inputs: list[Any], generator: torch.Generator, change: Callable[[float, float], float]) -> list[Any]:
    """One element of one input, both at random, replaced: (its value, the tensor's scale) to the new one."""
    places = [index for index, value in enumerate(inputs) if changeable(value)]
    if not places:
        return list(inputs)
    chosen = places[_below(len(places), generator)]
    tensor = inputs[chosen].detach().clone()
    scale = root_mean_square(tensor)
    _replace(tensor, generator, lambda old: change(old, scale))
    return [*inputs[:chosen], tensor, *inputs[chosen + 1 :]]


def _replace(tensor: torch.Tensor, generator: torch.Generator, change: Callable[[float], float]) -> None:
    """A random element, kept within the range of its dtype unless it is to be infinite."""
    place = tuple(_below(extent, generator) for extent in tensor.shape)
    value = change(float(tensor[place]))
    limit = torch.finfo(tensor.dtype).max
    tensor[place] = value if value in (float("inf"), -float("inf")) else max(-limit, min(limit, value))


def _always(value: float) -> Callable[[float], float]:
    return lambda _old: value


def _below(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(0, count, (), generator=generator, device=generator.device))


def _sign(generator: torch.Generator) -> float:
    return 1.0 if _below(2, generator) else -1.0


REGIMES: tuple[Regime, ...] = (
    Regime("with the signs drawn at random", _signs),
    Regime("with inputs 256 times smaller", _scaled(SMALL)),
    Regime("with inputs 32 times larger", _scaled(LARGE), slack=SLACK),
    Regime("with all inputs zero", _zeros, makes_ties=True),
    Regime("with a few elements 1024 times the size of the others", _outliers, slack=SLACK),
    Regime("with inputs that resemble one another", _resembling, slack=SLACK),
    Regime("with one element infinite", _infinite, needs_finite=False),
    Regime("with one element changed since the call before", _changed, slack=SLACK, follows=True),
)
