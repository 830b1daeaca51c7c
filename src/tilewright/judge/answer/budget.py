"""How far an output may be from the float64 reference: derived from what the reference itself loses.

Two runs of the reference are set against its run in float64, on the same inputs:

- its own run, in its own dtype, float32 meaning float32;
- a float64 run whose matrix products take operands rounded to the precision of today's code.

The larger loss times FACTOR is the budget. Loss is counted in two metrics, because each hides what the
other shows: ‖y − y64‖ / ‖y64‖ and max |y − y64| / max |y64|. FACTOR is 4: another order of summation, or
another place to round, is another draw of the same noise. Where TF32 is allowed it is TF32_FACTOR, 2: that
run already drops the bits as tensor cores do (`precision.rounded`; on a vanilla RNN of 256 steps it loses
1.28e-3, and Triton code on an H100 was measured at 1.27e-3), and 2.5 times that is what bfloat16 loses.
No budget is above CAP, whatever the reference loses.

A long sum has a budget of its own. The reference may add up a million numbers in a tree and be right to the
last place by luck, while a kernel adds numbers, or partial sums, one after another. With `terms` numbers read
for each one written, the larger of two is allowed, ε that of float32:

- ε √n / CHAIN in norm and ε √n at most, for n terms, no more than LONGEST_CHAIN, in a row: 24 sums of 2000
  numbers about zero, drawn 12000 times, were seen to lose 0.15 ε √n in norm as a rule and 0.38 in the worst
  draw; at most, 0.18 as a rule and 0.97 in the worst draw.
- ε √terms / TREE: adding 4096 partial sums of 2^20 uniform numbers one after another was seen to lose 5 ε,
  where this gives 32.

Up to FEW outputs can all be near zero by chance, and then every way to sum loses more digits, the
reference's own, by luck, not always. So both are multiplied by the condition of such outputs: how much they
`sway`, relative to their size, when the inputs move by ε each for itself, over ε; from 1 to MOST_CONDITION.
Nor does a norm average over few: ε √n is allowed in both metrics.

Two more bounds hold apart from those:

- Every slice (`slices`: rows, columns, planes, tiles) keeps a correct digit wherever the reference's runs
  do. Its error may be the largest of a tenth of its own norm, 16 times the reference's loss there, and 16
  times the median of that loss over all slices that lose anything. The last is for slices that hold next to
  nothing among others that hold much, as behind a ReLU, where one value that the noise lifts above zero is
  all there is. A slice counts down to about a hundredth of the others' size with TF32, to a millionth
  with float32.
- No constant does as well: where the reference's runs keep a correct digit of y64 − mean(y64), the error
  is below half of its norm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from tilewright.judge.answer import slices

FACTOR = 4.0
TF32_FACTOR = 2.0
ULPS = 4.0  # an exact reference (a copy, relu) still leaves a replacement a few units in the last place
CHAIN, LONGEST_CHAIN = 2.0, 2**14
FEW = 16  # of as many standard normal values one draw in a million is below a third of its usual norm
MOST_CONDITION = 2.0**13  # a reference that rounds its inputs leaps when they move, and stays decidable
TREE = 32.0
NO_DIGIT = 0.1  # a reference that loses more than a tenth has no correct digit
CAP = 0.2
SLICE_FACTOR = 16.0  # a slice has few errors to average over, so its noise varies more
CONSTANT = 0.5
UNDERFLOW = 6.0e-8  # float16 has nothing smaller; a device may take float32 below 1.2e-38 for zero


class Undecidable(Exception):
    """The reference's own result holds no correct digit, so nothing can be compared with it."""


@dataclass(frozen=True)
class Expected:
    """What one output should be.

    Args:
        native: the reference's own output: gives shape, dtype and device.
        exact: the float64 output; None for integers and booleans, which must be equal.
        alternative: the integers of the float64 run, equally right where a near tie fell differently.
        norm_scale, max_scale: what errors are relative to.
        norm_budget, max_budget: how large the relative errors may be.
        in_range: the float64 runs are finite, also with operands rounded.
        spread: ‖y64 − mean(y64)‖ where the reference's runs keep a digit of it, else 0.
        slice_budgets: the norm of the error that each slice may have, by kind as `slices.norms` gives them;
            none where errors are relative to the inputs.
    """

    native: torch.Tensor
    exact: torch.Tensor | None = None
    alternative: torch.Tensor | None = None
    norm_scale: float = 1.0
    max_scale: float = 1.0
    norm_budget: float = 0.0
    max_budget: float = 0.0
    in_range: bool = True
    spread: float = 0.0
    slice_budgets: Mapping[str, torch.Tensor] = field(default_factory=dict)


def expectation(
    native: Any,
    exact: Any,
    rounded: Any,
    input_scale: float,
    *,
    precision: str = "",
    terms: float = 0.0,
    sway: tuple[float, float] = (0.0, 0.0),
    slack: float = 1.0,
) -> Expected | Any:
    """The budget of one output from three runs of the reference; what is no tensor is itself expected.

    Errors are relative to the output's own size. Where the reference's own run has no correct digit
    the output is rounding noise about zero (a mean of centred values, say), and errors are relative
    to the largest magnitude among the inputs instead; so they are where the output is zero throughout.

    Args:
        native: its own run; exact: in float64; rounded: in float64 with operands rounded.
        input_scale: the largest magnitude among inputs and parameters.
        precision: what the operands were rounded to.
        terms: elements in all inputs and parameters, for each element of this output.
        sway: how far few outputs move, in norm and at most, when inputs move by float32's ε.
        slack: times as much is allowed where the reference's loss says less (`regimes.Regime.slack`).

    Raises:
        Undecidable: no correct digit either way.
    """
    if not isinstance(native, torch.Tensor):
        return native
    if not native.is_floating_point():
        return Expected(native, alternative=exact.to(native.dtype) if exact.shape == native.shape else None)
    finite = native.isfinite() & exact.isfinite() & rounded.isfinite()
    kept = torch.where(finite, exact, 0.0)
    count = max(kept.numel(), 1)
    single = torch.finfo(torch.float32).eps
    in_a_row, in_a_tree = min(terms, LONGEST_CHAIN) ** 0.5, terms**0.5 / TREE
    summed = max(in_a_row / (CHAIN if count > FEW else 1.0), in_a_tree), max(in_a_row, in_a_tree)
    units = ULPS * torch.finfo(native.dtype).eps
    own = float(kept.norm()), float(kept.abs().max()) if kept.numel() else 0.0
    of_inputs = input_scale * count**0.5, input_scale
    off = [torch.where(finite, run.to(exact.dtype) - exact, 0.0) for run in (native, rounded)]
    lost = [(float(o.norm()), float(o.abs().max()) if o.numel() else 0.0) for o in off]
    factors = slack * FACTOR, slack * (TF32_FACTOR if precision == "tf32" else FACTOR)
    for scales in (own, of_inputs):
        if not scales[0] > 0.0 and kept.numel():
            continue
        losses = [[relative(loss[metric], scales[metric]) for metric in (0, 1)] for loss in lost]
        if max(map(max, losses)) <= NO_DIGIT:
            swayed = [relative(sway[metric], scales[metric]) / single for metric in (0, 1)]
            condition = [min(max(1.0, one), MOST_CONDITION) for one in swayed]
            floors = [
                max(units, min(summed[metric] * condition[metric] * single, NO_DIGIT)) for metric in (0, 1)
            ]
            norm_budget, max_budget = (
                min(
                    max(floors[metric], *(f * loss[metric] for f, loss in zip(factors, losses, strict=True))),
                    CAP,
                )
                for metric in (0, 1)
            )
            return Expected(
                native,
                exact,
                norm_scale=scales[0],
                max_scale=scales[1],
                norm_budget=norm_budget,
                max_budget=max_budget,
                in_range=bool((exact.isfinite() & rounded.isfinite()).all()),
                spread=_spread(kept, finite, slack * max(norm for norm, _ in lost)),
                slice_budgets=_slice_budgets(kept, off, slack * SLICE_FACTOR) if scales is own else {},
            )
    raise Undecidable(
        f"the reference's own {str(native.dtype).removeprefix('torch.')} output differs from its float64 run"
        f" by {max(map(max, losses)):.2g} of the inputs' scale"
    )


def _spread(kept: torch.Tensor, finite: torch.Tensor, loss: float) -> float:
    """‖y64 − mean(y64)‖ over the finite elements; 0 where the reference has no correct digit of it."""
    count = int(finite.sum())
    if count < 2:
        return 0.0
    norm = float(torch.where(finite, kept - kept.sum() / count, 0.0).norm())
    return norm if loss <= NO_DIGIT * norm else 0.0


def _slice_budgets(
    kept: torch.Tensor, off: Sequence[torch.Tensor], factor: float
) -> Mapping[str, torch.Tensor]:
    """What the norm of the error may be in each slice."""
    size = slices.norms(kept)
    lost = [slices.norms(o) for o in off]
    budgets: dict[str, torch.Tensor] = {}
    for kind, norm in size.items():
        loss = torch.maximum(*(one[kind] for one in lost))
        losing = loss[loss > 0.0]
        usual = float(losing.median()) if losing.numel() else 0.0
        budget = torch.maximum(factor * loss, NO_DIGIT * norm).clamp(
            min=max(factor * usual, UNDERFLOW * slices.elements(kind, kept.shape) ** 0.5)
        )
        small = slices.too_small(kind, kept.shape, kept.device)
        budgets[kind] = budget if small is None else budget.masked_fill(small, float("inf"))
    return budgets


def relative_errors(
    value: torch.Tensor, exact: torch.Tensor, finite: torch.Tensor, scales: Expected
) -> tuple[float, float]:
    """‖value − exact‖ and max |value − exact| over the finite elements, relative to the two scales."""
    distance = torch.where(finite, value - exact, 0.0)
    if not distance.numel():
        return 0.0, 0.0
    largest = float(distance.abs().max())
    norm = float(distance.norm())
    return relative(norm, scales.norm_scale), relative(largest, scales.max_scale)


def relative(error: float, scale: float) -> float:
    """An error over a scale; over a scale of zero, no error is 0 and any other infinite."""
    return error / scale if scale > 0.0 else (0.0 if error == 0.0 else float("inf"))


def magnitude(values: Sequence[Any]) -> float:
    """The largest finite magnitude among floating-point tensors; 1 where there is none."""
    tensors = [
        v.detach() for v in values if isinstance(v, torch.Tensor) and v.is_floating_point() and v.numel()
    ]
    largest = max((float(torch.where(t.isfinite(), t, 0.0).abs().max()) for t in tensors), default=0.0)
    return largest or 1.0
