"""Compares every element of every output with what it should be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from tilewright.judge.answer import slices
from tilewright.judge.answer.budget import CONSTANT, Expected, relative_errors
from tilewright.judge.verdict import Outcome, OutputError

MISMATCH = Outcome.MISMATCH


@dataclass(frozen=True)
class Comparison:
    """One trial's answer. `outcome` is CORRECT, WRONG or MISMATCH."""

    outcome: Outcome
    reason: str
    errors: tuple[OutputError, ...]


def flatten(value: Any) -> list[Any]:
    """The leaves of nested tuples, lists and dicts, in order; a dict's by its own order of keys."""
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in flatten(item)]
    if isinstance(value, tuple | list):
        return [leaf for item in value for leaf in flatten(item)]
    return [value]


def rebuilt(container: Any, items: Iterable[Any]) -> Any:
    """A tuple or list of the same class, named fields too, with other items."""
    kind: Any = type(container)
    return kind(*items) if hasattr(container, "_fields") else kind(items)


def structure(value: Any) -> str:
    """How outputs are nested, lists and tuples alike: "(·, ·)" for a pair, "{h: ·}" for a dict."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {structure(item)}" for key, item in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "(" + ", ".join(structure(item) for item in value) + ")"
    return "·"


def compare(outputs: list[Any], expected: list[Expected | Any]) -> Comparison:
    """Compare flattened outputs, as many as expected; the first one that differs gives the reason."""
    errors: list[OutputError] = []
    for index, (output, wanted) in enumerate(zip(outputs, expected, strict=True)):
        if not isinstance(wanted, Expected):
            if isinstance(output, torch.Tensor) or output != wanted:
                return Comparison(
                    MISMATCH, f"output {index} is {_shown(output)}, not {wanted!r}", tuple(errors)
                )
            continue
        mismatch = _mismatch(output, wanted.native)
        if mismatch:
            return Comparison(MISMATCH, f"output {index} {mismatch}", tuple(errors))
        if wanted.exact is None:
            wrong = _unequal(output, wanted)
            errors.append(OutputError(index, float(bool(wrong)), 0.0, float(bool(wrong)), 0.0))
        else:
            wrong, error = _inexact(index, output, wanted, wanted.exact)
            errors.append(error)
        if wrong:
            return Comparison(Outcome.WRONG, f"output {index} {wrong}", tuple(errors))
    return Comparison(Outcome.CORRECT, "", tuple(errors))


def _mismatch(output: Any, native: torch.Tensor) -> str:
    """How an output differs in kind; empty when it does not."""
    if not isinstance(output, torch.Tensor):
        return f"is {_shown(output)}, not a tensor"
    for name in ("shape", "dtype", "device"):
        got, wanted = getattr(output, name), getattr(native, name)
        if got != wanted:
            if name == "shape":
                got, wanted = list(got), list(wanted)
            return f"has {name} {got}, the reference's has {wanted}"
    return ""


def _shown(value: Any) -> str:
    return "a tensor" if isinstance(value, torch.Tensor) else f"{type(value).__name__} {value!r:.60}"


def _unequal(output: torch.Tensor, wanted: Expected) -> str:
    """Integers and booleans must be equal, to the float64 run or to the reference's own."""
    off = output != wanted.native
    if wanted.alternative is not None:
        off &= output != wanted.alternative
    return _report(off, off.double(), output, wanted.native) if off.any() else ""


def _inexact(
    index: int, output: torch.Tensor, wanted: Expected, exact: torch.Tensor
) -> tuple[str, OutputError]:
    """Floating point: the same NaN and infinities, the rest within both budgets."""
    value = output.to(exact.dtype)
    finite = exact.isfinite() & wanted.native.isfinite()
    odd = _odd_values(value, wanted.native, exact, finite)
    if odd.any():
        error = OutputError(index, float("inf"), wanted.norm_budget, float("inf"), wanted.max_budget)
        return _report(odd, odd.double(), output, exact), error
    norm_error, max_error = relative_errors(value, exact, finite, wanted)
    error = OutputError(index, norm_error, wanted.norm_budget, max_error, wanted.max_budget)
    distance = torch.where(finite, (value - exact).abs(), 0.0)
    local = _constant(distance, wanted) or _slice(distance, exact, finite, wanted)
    if norm_error <= wanted.norm_budget and max_error <= wanted.max_budget:
        return local, error
    allowed = wanted.max_budget * wanted.max_scale
    if max_error <= wanted.max_budget:  # only the norm is off: count what is above its share
        allowed = wanted.norm_budget * wanted.norm_scale / max(exact.numel(), 1) ** 0.5
    figures = (
        f"; error {norm_error:.2g} in norm (budget {wanted.norm_budget:.2g}),"
        f" {max_error:.2g} at most (budget {wanted.max_budget:.2g})"
    )
    return _report(distance > allowed, distance, output, exact) + figures, error


def _constant(distance: torch.Tensor, wanted: Expected) -> str:
    """An error as large as a constant would leave; empty when it is smaller, or the reference's is not."""
    off = float(distance.norm()) / wanted.spread if wanted.spread > 0.0 else 0.0
    return f"is no better than a constant: {off:.2g} of what varies in it is lost" if off >= CONSTANT else ""


def _slice(distance: torch.Tensor, exact: torch.Tensor, finite: torch.Tensor, wanted: Expected) -> str:
    """The row, column, plane or tile without a correct digit that is furthest off; empty without one."""
    errors = slices.norms(distance) if wanted.slice_budgets else {}
    found = slices.worst(errors, wanted.slice_budgets, exact.shape)
    if found is None:
        return ""
    kind, index = found
    error = float(errors[kind].reshape(-1)[index])
    size = float(slices.norms(torch.where(finite, exact, 0.0))[kind].reshape(-1)[index])
    off = (
        f"off by {error / size:.2g} of its size" if size > 0.0 else f"off by {error:.2g}, and should be zero"
    )
    return f"{slices.place(kind, index, exact.shape)} is {off}"


def _odd_values(
    value: torch.Tensor, native: torch.Tensor, exact: torch.Tensor, finite: torch.Tensor
) -> torch.Tensor:
    """NaN and infinities that neither the reference nor its float64 run has there.

    Where only the reference's own dtype overflows, both its infinity and the finite truth are right.
    """

    def same(other: torch.Tensor) -> torch.Tensor:
        return (value == other) | (value.isnan() & other.isnan())

    overflowed = native.isfinite() != exact.isfinite()
    allowed = same(native.to(exact.dtype)) | same(exact) | (overflowed & value.isfinite())
    return torch.where(finite, ~value.isfinite(), ~allowed)


def _report(off: torch.Tensor, badness: torch.Tensor, output: torch.Tensor, wanted: torch.Tensor) -> str:
    """The worst element, what it is, what it should be, and how many are off."""
    flat = int(badness.reshape(-1).argmax()) if badness.numel() else 0
    place = [int(i) for i in torch.unravel_index(torch.tensor(flat), badness.shape)] if badness.ndim else []
    got, right = output.reshape(-1)[flat].item(), wanted.reshape(-1)[flat].item()
    shown = f"{got:.7g}, should be {right:.7g}" if isinstance(got, float) else f"{got}, should be {right}"
    return f"{place} is {shown}; {int(off.sum())} of {off.numel()} elements are off"
