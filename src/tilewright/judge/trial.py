"""One trial: fresh inputs and parameters, the reference in its three runs, the candidate once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tilewright.judge.budget import Expected, Undecidable, expectation, magnitude
from tilewright.judge.compare import Comparison, compare, flatten, structure
from tilewright.judge.failures import candidate_code, one_line, reference_code
from tilewright.judge.poison import Poisoned, poison_cache
from tilewright.judge.precision import Float64, is_real, plain_arithmetic
from tilewright.judge.sides import apply, build_candidate, build_reference, cloned, draw, forward
from tilewright.judge.verdict import Outcome
from tilewright.problem import ProblemModule


@dataclass(frozen=True)
class Case:
    """What stays the same over all trials of a check.

    Args:
        model_new: the candidate's class; source and path: its file.
        mapping: parameter of ModelNew → parameter of Model.
        precision: what matrix operands may be rounded to; None for what the inputs are.
        device: where both sides run.
        announce: told what runs next, so that a death can be laid at the right door.
    """

    problem: ProblemModule
    problem_path: str
    model_new: Callable[..., nn.Module]
    source: str
    path: str
    mapping: Mapping[str, str] | None
    precision: str | None
    device: torch.device
    announce: Callable[[str], None]

    @property
    def interpreted(self) -> bool:
        return str(self.device.type) == "cpu"


@dataclass(frozen=True)
class Truth:
    """What one set of inputs must give.

    Args:
        expected: one per leaf of the outputs, then one per input that the reference itself changes.
        shape: how the outputs are nested.
        changed: which of the flattened inputs the reference changes.
        precision: what the budget was derived for.
    """

    expected: list[Expected | Any]
    shape: str
    changed: tuple[int, ...]
    precision: str


def run_trial(case: Case, seed: int) -> tuple[Comparison, Truth]:
    """Draw, run both sides and compare.

    Raises:
        ProblemError: the problem itself does not run.
        CandidateFailure: the candidate raised.
        AmbiguousParameters: its parameters cannot be matched.
        Undecidable: the reference gives nothing to compare with.
    """
    case.announce("reference")
    init_inputs, inputs = draw(case.problem, case.problem_path, seed, case.device)
    reference = build_reference(case.problem, case.problem_path, init_inputs, seed, case.device)
    truth = find_truth(case, reference, inputs, seed)
    case.announce("candidate")
    with candidate_code(case.source, case.path, interpreted=case.interpreted), Poisoned():
        candidate = build_candidate(case.model_new, init_inputs, reference, seed, case.device, case.mapping)
        given = cloned(inputs)
        if case.device.type == "cuda":
            poison_cache()
        outputs = forward(candidate, given, seed)
    return settle(truth, inputs, given, outputs), truth


def find_truth(case: Case, reference: nn.Module, inputs: list[Any], seed: int) -> Truth:
    """Run the reference three times: as it is, in float64, and in float64 with rounded operands."""
    real = [value for value in [*flatten(inputs), *reference.parameters()] if is_real(value)]
    native_dtype = real[0].dtype if real else torch.float32
    precision = case.precision or str(native_dtype).removeprefix("torch.")
    recurrent = any(isinstance(module, nn.RNNBase) for module in reference.modules())

    native_inputs = cloned(inputs)
    with reference_code(case.problem_path), plain_arithmetic():
        native = forward(copy.deepcopy(reference), native_inputs, seed)
    before, after = flatten(inputs), flatten(native_inputs)
    changed = tuple(i for i, (old, new) in enumerate(zip(before, after, strict=True)) if not same(old, new))

    def in_float64(operands: str | None) -> list[Any]:
        wide_inputs = apply(lambda t: t.double() if is_real(t) else t.clone(), inputs)
        wide_model = copy.deepcopy(reference).double()
        with plain_arithmetic(recurrent=recurrent), Float64(native_dtype, operands):
            outputs = forward(wide_model, wide_inputs, seed)
        leaves = flatten(wide_inputs)
        return [*flatten(outputs), *(leaves[i] for i in changed)]

    try:
        exact, rounded = in_float64(None), in_float64(precision)
    except Exception as error:  # an operation without float64, say; then there is no truth to compare with
        raise Undecidable(
            f"the reference does not run in float64: {type(error).__name__}: {one_line(str(error))}"
        ) from error
    runs = zip([*flatten(native), *(after[i] for i in changed)], exact, rounded, strict=True)
    scale = magnitude(real)
    expected = [expectation(*run, input_scale=scale) for run in runs]
    return Truth(expected, structure(native), changed, precision)


def settle(truth: Truth, inputs: list[Any], given: list[Any], outputs: Any) -> Comparison:
    """Compare what came out, and what became of the inputs that were handed over."""
    if structure(outputs) != truth.shape:
        return Comparison(
            Outcome.MISMATCH, f"returns {structure(outputs)}, the reference returns {truth.shape}", ()
        )
    leaves = flatten(given)
    for index, (old, new) in enumerate(zip(flatten(inputs), leaves, strict=True)):
        if index not in truth.changed and not same(old, new):
            return Comparison(Outcome.MISMATCH, f"input {index} was changed by the forward", ())
    return compare([*flatten(outputs), *(leaves[i] for i in truth.changed)], truth.expected)


def same(old: Any, new: Any) -> bool:
    """Whether two tensors hold the same values, NaN equal to itself; anything else is taken as it is."""
    if not isinstance(old, torch.Tensor):
        return True
    if old.shape != new.shape:
        return False
    return bool(((old == new) | ((old != old) & (new != new))).all())
