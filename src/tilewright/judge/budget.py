"""How far an output may be from the float64 reference: derived from what the reference itself loses.

Two runs of the reference are set against its run in float64, on the same inputs:

- its own run, in its own dtype, float32 meaning float32;
- a float64 run whose matrix products take operands rounded to the precision of today's code.

The larger loss times FACTOR is the budget. FACTOR is 4: the second run rounds operands to nearest,
while tensor cores may drop the bits below TF32's ten, which errs up to twice as far in each of two
operands, and always to the same side. (On a vanilla RNN of 256 steps on an H100: 4.0e-4 for cuBLAS,
which rounds, and 1.27e-3 for Triton code that lets the hardware drop them.)

Loss is counted in two metrics, because each hides what the other shows: ‖y − y64‖ / ‖y64‖ and
max |y − y64| / max |y64|.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

FACTOR = 4.0
ULPS = 4.0  # an exact reference (a copy, relu) still leaves a replacement a few units in the last place
NO_DIGIT = 0.1  # a reference that loses more than a tenth has no correct digit


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
    """

    native: torch.Tensor
    exact: torch.Tensor | None = None
    alternative: torch.Tensor | None = None
    norm_scale: float = 1.0
    max_scale: float = 1.0
    norm_budget: float = 0.0
    max_budget: float = 0.0
    in_range: bool = True


def expectation(native: Any, exact: Any, rounded: Any, input_scale: float) -> Expected | Any:
    """The budget of one output from three runs of the reference; what is no tensor is itself expected.

    Errors are relative to the output's own size. Where the reference's own run has no correct digit
    the output is rounding noise about zero (a mean of centred values, say), and errors are relative
    to the largest magnitude among the inputs instead.

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
    floor = ULPS * torch.finfo(native.dtype).eps
    own = float(kept.norm()), float(kept.abs().max()) if kept.numel() else 0.0
    of_inputs = input_scale * count**0.5, input_scale
    for norm_scale, max_scale in (own, of_inputs):
        scaled = Expected(native, exact, None, norm_scale, max_scale)
        losses = [relative_errors(run.to(exact.dtype), exact, finite, scaled) for run in (native, rounded)]
        norm_loss, max_loss = (max(loss[metric] for loss in losses) for metric in (0, 1))
        if max(norm_loss, max_loss) <= NO_DIGIT:
            return Expected(
                native,
                exact,
                None,
                norm_scale,
                max_scale,
                max(FACTOR * norm_loss, floor),
                max(FACTOR * max_loss, floor),
                bool((exact.isfinite() & rounded.isfinite()).all()),
            )
    raise Undecidable(
        f"the reference's own {str(native.dtype).removeprefix('torch.')} output differs from its float64 run"
        f" by {max_loss:.2g} of the inputs' scale"
    )


def relative_errors(
    value: torch.Tensor, exact: torch.Tensor, finite: torch.Tensor, scales: Expected
) -> tuple[float, float]:
    """‖value − exact‖ and max |value − exact| over the finite elements, relative to the two scales."""
    distance = torch.where(finite, value - exact, 0.0)
    if not distance.numel():
        return 0.0, 0.0
    largest = float(distance.abs().max())
    norm = float(distance.norm())
    return _relative(norm, scales.norm_scale), _relative(largest, scales.max_scale)


def _relative(error: float, scale: float) -> float:
    return error / scale if scale > 0.0 else (0.0 if error == 0.0 else float("inf"))


def magnitude(values: Sequence[Any]) -> float:
    """The largest finite magnitude among floating-point tensors; 1 where there is none."""
    tensors = [
        v.detach() for v in values if isinstance(v, torch.Tensor) and v.is_floating_point() and v.numel()
    ]
    largest = max((float(torch.where(t.isfinite(), t, 0.0).abs().max()) for t in tensors), default=0.0)
    return largest or 1.0
