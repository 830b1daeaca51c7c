"""Does a candidate hold beyond the very inputs it was written for, or refuse what it does not take?

A file may be specialised: to its sizes, to contiguous inputs, to aligned ones. Then it must say so by
raising. One that answers wrongly instead will do so in somebody's model. Judge's side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from tilewright.errors import AmbiguousParameters, ProblemError
from tilewright.judge.answer.budget import Undecidable
from tilewright.judge.answer.compare import flatten
from tilewright.judge.failures import CandidateFailure
from tilewright.judge.inputs.constants import size_constants, with_sizes
from tilewright.judge.means.findings import Finding, Kind
from tilewright.judge.sides import apply
from tilewright.judge.trial import Called, Case, Instance, build, call
from tilewright.judge.verdict import Outcome
from tilewright.problem import import_problem

REFUSALS = frozenset({Outcome.ERROR, Outcome.COMPILE_ERROR, Outcome.NOT_CHECKED})
MOST_SIZES = 8


def generality(case: Case, seed: int) -> Iterator[tuple[str, Callable[[], list[Finding]]]]:
    """What there is to try, each once, and what tries it: other sizes, strided inputs and misaligned ones."""
    for name, value in other_sizes(case.text):
        yield f"another {name}", partial(_at_size, case, name, value)
    yield "strided and misaligned inputs", partial(_placed_otherwise, case, seed)


def _placed_otherwise(case: Case, seed: int) -> list[Finding]:
    """Raises CandidateFailure where the candidate cannot be built once more."""
    found: list[Finding] = []
    instance = build(case, seed)
    strided = apply(strided_copy, instance.inputs)
    unlike = any(
        isinstance(new, torch.Tensor) and new.stride() != old.stride()
        for old, new in zip(flatten(instance.inputs), flatten(strided), strict=True)
    )
    ways: list[tuple[str, list[Any], bool]] = [("misaligned", instance.inputs, True)]
    if unlike:
        ways.insert(0, ("strided", strided, False))
    for how, inputs, misaligned in ways:
        try:
            wrong = _wrong(lambda i=inputs, m=misaligned: _called(case, instance, i, misaligned=m))
            if wrong and not misaligned:  # the same values: what is right for those is right
                truth = case.truth(instance.reference, instance.inputs, instance.seed)
                wrong = _wrong(lambda i=inputs, t=truth: _called(case, instance, i, truth=t))
        except (ProblemError, Undecidable):  # the reference does not take such inputs
            continue
        if wrong:
            found.append(Finding(Kind.STRIDES, f"wrong on {how} inputs, which it does not refuse: {wrong}"))
    return found


def other_sizes(text: str) -> Iterator[tuple[str, int]]:
    """For each size of a problem another, odd value close by, name by name.

    A size that Model reads by itself is left as it is: with another one it would be another function, and a
    file is told of a size by its arguments only.
    """
    own = size_constants(text, ("Model",))
    free = [constant for constant in size_constants(text).values() if constant.name not in own]
    for constant in free[:MOST_SIZES]:
        yield constant.name, constant.value + (1 if constant.value % 2 == 0 else 2)


def strided_copy(tensor: torch.Tensor) -> torch.Tensor:
    """The same values with other strides: the last two axes the other way round, or every second element."""
    if tensor.dim() >= 2:
        return tensor.transpose(-1, -2).contiguous().transpose(-1, -2)
    if tensor.dim() == 1:
        return torch.stack([tensor, tensor], dim=1)[:, 0]
    return tensor


def _at_size(case: Case, name: str, value: int) -> list[Finding]:
    other = with_sizes(case.text, {name: value})

    def at_size() -> Called:
        changed = replace(case, problem=import_problem(other, case.problem_path), text=other)
        instance = build(changed, 0)
        return call(changed, instance, instance.inputs, 0, fresh=True, config=case.any_config)

    try:
        wrong = _wrong(at_size)
    except (ProblemError, AmbiguousParameters, Undecidable):  # this size is not free
        return []
    if not wrong:
        return []
    was = size_constants(case.text)[name].value
    return [Finding(Kind.SIZES, f"wrong at {name} {was} → {value}, which it does not refuse: {wrong}")]


def _called(case: Case, instance: Instance, inputs: list[Any], **how: Any) -> Called:
    """One call. The reference gets the same strides: torch draws random numbers in the order of memory."""
    return call(case, instance, inputs, instance.seed, fresh=True, config=case.any_config, **how)


def _wrong(attempt: Any) -> str:
    """What is wrong with the answer; empty where it is right, or where the candidate refuses."""
    try:
        comparison = attempt().comparison
    except CandidateFailure as failure:
        return "" if failure.outcome in REFUSALS else f"{failure.outcome}: {failure.reason}"
    return str(comparison.reason)
