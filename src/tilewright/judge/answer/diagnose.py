"""What a wrong output looks like, in one line, so that a reader need not guess from two numbers.

A likeness is no proof of how the output came about; the verdict does not rest on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from tilewright.judge.answer.budget import Expected, relative
from tilewright.judge.means.poison import poison_value

ALIKE = 0.7  # cosine between two errors that have the same cause; independent ones are near 0
TOLERANCE = 2.0  # budgets; of an output that is right but for one thing
LEAST = 1e-6  # of the norm; for budgets of exact outputs


def diagnose(
    output: torch.Tensor,
    expected: Expected,
    inputs: Sequence[Any] = (),
    earlier_outputs: Sequence[torch.Tensor] = (),
    poison_values: Sequence[float] | None = None,
    lower: Mapping[str, Callable[[], torch.Tensor]] | None = None,
    other_outputs: Mapping[int, Expected] | None = None,
) -> str:
    """One line on a wrong output; empty when nothing fits.

    Args:
        output: of the shape and dtype that are expected, on the same device.
        inputs: the flat list of inputs of this call.
        earlier_outputs: what this output was in earlier calls, where something else was right.
        poison_values: what fresh memory held; by default either fill of `poison.poison_value`.
        lower: precision → a float64 run of the reference with operands rounded to it, run when asked for.
        other_outputs: what the other outputs should be, by their position.
    """
    if not output.numel() or output.is_complex():
        return ""
    given = [value for value in inputs if isinstance(value, torch.Tensor)]
    line = (
        _unwritten(output, expected, poison_values)
        or _constant(output)
        or _stale(output, earlier_outputs)
        or _passed_through(output, given)
        or _zeroed(output, expected)
    )
    if line or _fits(output, expected):  # what fits as a whole also fits scaled by nearly one, and so on
        return line
    return (
        _swapped(output, other_outputs or {})
        or _scaled(output, expected)
        or _reordered(output, expected)
        or _lower(output, expected, lower or {})
    )


def _wanted(expected: Expected) -> torch.Tensor:
    return expected.native if expected.exact is None else expected.exact


def _off(values: torch.Tensor, wanted: torch.Tensor) -> float:
    """‖values − wanted‖ / ‖wanted‖ over what is finite in `wanted`; infinite for other shapes and for NaN."""
    if values.shape != wanted.shape:
        return float("inf")
    finite = wanted.isfinite()
    kept = torch.where(finite, wanted, 0).double()
    off = relative(float(torch.where(finite, values.double() - kept, 0.0).norm()), float(kept.norm()))
    return off if off == off else float("inf")


def _fits(values: torch.Tensor, expected: Expected) -> bool:
    """Whether values would do as this output, generously."""
    return _off(values, _wanted(expected)) <= TOLERANCE * max(expected.norm_budget, LEAST)


def _unwritten(output: torch.Tensor, expected: Expected, values: Sequence[float] | None) -> str:
    if values is None:
        values = [poison_value(output.dtype, finite=finite) for finite in (False, True)]
    wanted = _wanted(expected)
    held = torch.zeros_like(output, dtype=torch.bool)
    for value in values:
        if value != value:
            held |= output.isnan() & ~wanted.isnan()
        elif output.dtype != torch.bool:  # one of two values proves nothing
            held |= (output == value) & (wanted != value)
    if not bool(held.any()):
        return ""
    return _where(held, "hold what the memory held before: never written, or computed from such")


def _constant(output: torch.Tensor) -> str:
    first = output.reshape(-1)[0]
    if output.numel() < 2 or not bool((output == first).all()):
        return ""
    return "all zeros" if first == 0 else f"one constant, {first.item():.7g}"


def _stale(output: torch.Tensor, earlier: Sequence[torch.Tensor]) -> str:
    for calls, old in enumerate(reversed(earlier), start=1):
        if old.shape == output.shape and torch.equal(old.to(output.device), output):
            ago = "of the call before" if calls == 1 else f"of {calls} calls before"
            return f"bit by bit the answer {ago}, though other inputs were given: stale or cached"
    return ""


def _passed_through(output: torch.Tensor, given: Sequence[torch.Tensor]) -> str:
    for index, value in enumerate(given):
        for name, view in _views(value, output.shape):
            if torch.equal(view.to(output), output):
                return f"equal to {name.format(f'input {index}')}"
    return ""


def _views(value: torch.Tensor, shape: torch.Size) -> Iterator[tuple[str, torch.Tensor]]:
    """What an input gives without arithmetic: itself, reshaped, transposed, or its beginning."""
    if value.shape == shape:
        yield "{}", value
    elif value.numel() == shape.numel():
        yield "{}, reshaped", value.reshape(shape)
        if value.ndim > 1:
            yield "{}, transposed", value.transpose(-1, -2).reshape(shape)
    elif value.ndim == len(shape) and all(a >= b for a, b in zip(value.shape, shape, strict=True)):
        yield "a part of {}", value[tuple(slice(extent) for extent in shape)]
    elif value.numel() > shape.numel():
        yield "the first elements of {}", value.reshape(-1)[: shape.numel()].reshape(shape)


def _zeroed(output: torch.Tensor, expected: Expected) -> str:
    """Zeros where something else belongs, and nothing else wrong."""
    zero = (output == 0) & (_wanted(expected) != 0)
    if not bool(zero.any()) or not _fits(torch.where(zero, _wanted(expected), output), expected):
        return ""
    return _where(zero, "are zero that should not be, the others are right")


def _swapped(output: torch.Tensor, others: Mapping[int, Expected]) -> str:
    for index, other in others.items():
        if _fits(output, other):
            return f"right for output {index}: outputs are swapped"
    return ""


def _scaled(output: torch.Tensor, expected: Expected) -> str:
    """Right but for one factor, or for one term."""
    wanted = _wanted(expected).double()
    value = output.double()
    if (
        not output.is_floating_point()
        or output.numel() < 3
        or not bool((wanted.isfinite() & value.isfinite()).all())
    ):
        return ""
    size = float((wanted * wanted).sum())
    factor = float((value * wanted).sum()) / size if size > 0.0 else 0.0
    if factor not in (0.0, 1.0) and _fits(value / factor, expected):
        return f"right except for a factor of {factor:.6g}"
    term = float((value - wanted).mean())
    if term != 0.0 and _fits(value - term, expected):
        return f"right except for {abs(term):.6g} {'added to' if term > 0 else 'taken from'} each element"
    return ""


def _reordered(output: torch.Tensor, expected: Expected) -> str:
    """The right values in other places: transposed, or with rows or columns in another order."""
    wanted = _wanted(expected)
    if output.ndim < 2:
        return ""
    if _fits(output, _as(expected, wanted.transpose(-1, -2).reshape(wanted.shape))):
        return "the transpose of what it should be"
    for name, axis in (("rows", 0), ("columns", 1)):
        rows, right = (t.reshape(-1, t.shape[-1]).transpose(0, axis).double() for t in (output, wanted))
        # Rows sorted by where they fall along one direction: the same order for the same rows.
        direction = torch.linspace(1.0, 2.0, rows.shape[1], dtype=torch.float64, device=rows.device).sin()
        ordered = rows[(rows @ direction).argsort()]
        if len(rows) > 1 and _fits(ordered, _as(expected, right[(right @ direction).argsort()])):
            return f"right up to the order of its {name}"
    return ""


def _as(expected: Expected, exact: torch.Tensor) -> Expected:
    """The same budget for other values."""
    return Expected(expected.native, exact, norm_budget=expected.norm_budget)


def _lower(output: torch.Tensor, expected: Expected, lower: Mapping[str, Callable[[], torch.Tensor]]) -> str:
    """The precision whose error the output's error resembles in direction and size."""
    wanted = expected.exact
    if wanted is None or not bool(wanted.isfinite().all() & output.isfinite().all()):
        return ""
    error = output.double() - wanted
    size = float(error.norm())
    best: tuple[float, str] = (ALIKE, "")
    for precision, run in lower.items():
        other = run().to(wanted) - wanted
        norm = float(other.norm())
        if size > 0.0 and norm > 0.0 and 0.5 <= size / norm <= 2.0:
            best = max(best, (float((error * other).sum()) / (size * norm), precision))
    return f"as if computed with {best[1]} operands" if best[1] else ""


def _where(marked: torch.Tensor, what: str) -> str:
    """How many elements, and the first unbroken range of them."""
    flat = marked.reshape(-1)
    first = int(flat.byte().argmax())
    rest = flat[first:]
    length = len(rest) if bool(rest.all()) else int((~rest).byte().argmax())
    count, total = int(flat.sum()), flat.numel()
    start, end = (_place(at, marked.shape) for at in (first, first + length - 1))
    place = f", first {start}" + (f" to {end}" if length > 1 else "")
    return f"{count} of {total} elements {what}{'' if count == total else place}"


def _place(flat: int, shape: torch.Size) -> list[int]:
    return [int(i) for i in torch.unravel_index(torch.tensor(flat), shape)] if shape else []
