"""One call of both sides on the same values: the reference in its three runs, the candidate in its cell."""

from __future__ import annotations

import contextlib
import copy
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import torch
from torch import nn

from tilewright.errors import ProblemError
from tilewright.judge.answer.budget import FEW, Expected, Undecidable, expectation, magnitude
from tilewright.judge.answer.compare import Comparison, compare, flatten, structure
from tilewright.judge.answer.precision import Float64, is_real, plain_arithmetic
from tilewright.judge.cell.outside import Answer, Cell
from tilewright.judge.cell.prints import print_of
from tilewright.judge.cell.protocol import PLAIN, Received, Unsendable, opened
from tilewright.judge.failures import CandidateFailure, one_line, reference_code
from tilewright.judge.sides import apply, build_reference, cloned, draw, forward, pairs, state_of
from tilewright.judge.verdict import Outcome
from tilewright.problem import ProblemModule

HOST = torch.device("cpu")
SHAKES = 4  # by chance one leaves an output where it is, hardly all
KEY_BITS = 62  # of what `prints.print_of` takes
MOST_PADDING_BYTES = 2**24  # before an instance; the memory around it is cut from blocks of 2 and 20 MiB


@dataclass(frozen=True)
class Case:
    """What stays the same over all calls of a check.

    Args:
        text: the problem's own text, at the sizes in use.
        cell: where the candidate is.
        source: the candidate's text.
        mapping: parameter of ModelNew → parameter of Model.
        precision: what matrix operands may be rounded to; None for what the inputs are.
        device: where both sides run.
        announce: told what runs next, so that a death can be laid at the right door.
    """

    problem: ProblemModule
    problem_path: str
    text: str
    cell: Cell
    source: str
    mapping: Mapping[str, str] | None
    precision: str | None
    device: torch.device
    announce: Callable[[str], None]

    @property
    def any_config(self) -> int | None:
        """The autotune config of a single call: the first when interpreted, Triton's choice on a GPU."""
        return None if self.device.type == "cuda" else 0

    def truth(self, reference: nn.Module, inputs: list[Any], seed: int, *, slack: float = 1.0) -> Truth:
        """What these inputs must give; see `find_truth`."""
        return find_truth(
            reference, inputs, seed, path=self.problem_path, precision=self.precision, slack=slack
        )

    def command(self, name: str, /, **arguments: Any) -> Answer:
        """Have the cell serve a command.

        Raises:
            CandidateFailure: the candidate failed.
            Undecidable: an argument cannot be handed to another process.
        """
        return self._asked(name, arguments)()

    def beside(
        self, work: Callable[[], nn.Module], name: str, /, **arguments: Any
    ) -> tuple[nn.Module, Answer]:
        """Have the cell serve a command while this process does some work of the reference's.

        Raises:
            CandidateFailure, Undecidable: see `command`.
            ProblemError: the work raised it, whatever the candidate did.
        """
        wait = self._asked(name, arguments)
        self.announce("reference")
        try:
            done = work()
        except Exception:
            self.announce("candidate")
            with contextlib.suppress(CandidateFailure):  # else the next command would get this answer
                wait()
            raise
        self.announce("candidate")
        return done, wait()

    def _asked(self, name: str, arguments: Mapping[str, Any]) -> Callable[[], Answer]:
        self.announce("candidate")
        try:
            return self.cell.ask(name, **arguments)
        except Unsendable as error:
            raise Undecidable(str(error)) from error


@dataclass(frozen=True)
class Instance:
    """Both sides constructed alike, with the same parameters.

    Args:
        inputs: as the problem draws them.
        pairs: parameter or buffer of the candidate → the reference's.
    """

    seed: int
    init_inputs: list[Any]
    inputs: list[Any]
    reference: nn.Module
    pairs: dict[str, str]


@dataclass(frozen=True)
class Called:
    """One call compared: what the candidate gave, and what it should have given.

    Args:
        inputs: as they were handed over.
        outputs: flattened, on the judge's device; empty where they could not be read.
        most, used: the longest list of autotune configs so far, and the configs of this call.
        broken: what was written into guard zones.
    """

    comparison: Comparison
    truth: Truth
    inputs: list[Any]
    outputs: list[Any]
    most: int
    used: str
    broken: tuple[str, ...]


@dataclass(frozen=True)
class Truth:
    """What one set of inputs must give.

    Args:
        expected: one per leaf of the outputs, then one per input that the reference itself changes.
        shape: how the outputs are nested.
        inputs: how many there are, flattened.
        changed: which of these the reference changes.
        precision: what the budget was derived for.
    """

    expected: list[Expected | Any]
    shape: str
    inputs: int
    changed: tuple[int, ...]
    precision: str


def build(case: Case, seed: int) -> Instance:
    """Construct both sides from fresh arguments and give the candidate the reference's parameters.

    Where in memory the candidate lies is drawn anew: it can make one binary a few percent faster.

    Raises:
        ProblemError: the problem itself does not run.
        CandidateFailure: the candidate raised.
        AmbiguousParameters: its parameters cannot be matched.
        Undecidable: constructor arguments cannot be handed to another process.
    """
    case.announce("reference")
    init_inputs, inputs = draw(case.problem, case.problem_path, seed, case.device)
    reference, built = case.beside(
        lambda: build_reference(case.problem, case.problem_path, init_inputs, seed, HOST),
        "build",
        init_inputs=init_inputs,
        seed=seed,
        padding_bytes=secrets.randbelow(MOST_PADDING_BYTES),
    )
    matched = pairs(reference, built.values["parameters"], built.values["buffers"], case.mapping)
    return Instance(seed, init_inputs, inputs, _loaded(case, reference, matched), matched)


def with_new_parameters(case: Case, instance: Instance, seed: int) -> Instance:
    """The same candidate with other values in its parameters' own memory, and inputs drawn anew."""
    case.announce("reference")
    _, inputs = draw(case.problem, case.problem_path, seed, case.device)
    reference = build_reference(case.problem, case.problem_path, instance.init_inputs, seed, HOST)
    return replace(instance, seed=seed, inputs=inputs, reference=_loaded(case, reference, instance.pairs))


def _loaded(case: Case, reference: nn.Module, matched: Mapping[str, str]) -> nn.Module:
    """Give the candidate the reference's parameters; returns the reference on the device.

    They are sent from the host, where they were drawn, while the reference moves.
    """

    def move() -> nn.Module:
        with reference_code(case.problem_path):
            return reference.to(case.device)

    state = state_of(reference)
    moved, _ = case.beside(move, "load", values={new: state[old] for new, old in matched.items()})
    return moved


def call(
    case: Case,
    instance: Instance,
    inputs: list[Any],
    seed: int,
    truth: Truth | None = None,
    *,
    keep: bool = False,
    **how: Any,
) -> Called:
    """Call both sides on these inputs and compare.

    Args:
        truth: what these inputs must give, where that is known already.
        keep: hold the last call's outputs meanwhile.
        how: other options of the cell's `call`.

    Raises:
        ProblemError: the reference does not run on them.
        CandidateFailure: the candidate raised.
        Undecidable: the reference gives nothing to compare with.
    """
    if truth is None:
        case.announce("reference")
        truth = case.truth(instance.reference, inputs, seed)
    case.command("prepare", keep=keep)
    return compared(case, truth, inputs, case.command("call", inputs=inputs, seed=seed, **how))


def compared(case: Case, truth: Truth, inputs: list[Any], answer: Answer) -> Called:
    """What the last call's answer is worth.

    Args:
        inputs: as they were handed over.

    Raises:
        CandidateFailure: its process ended.
    """
    values = answer.values
    outputs, foreign = unpacked(values["outputs"], case.device)
    key = secrets.randbits(KEY_BITS)
    held = case.command("inputs_again", key=key, whole=list(truth.changed)).values
    prints, rewritten = held["prints"], unpacked(held["values"], case.device)[0]
    leaves = flatten(inputs)
    if not (isinstance(prints, list) and len(prints) == len(leaves) and len(rewritten) == len(truth.changed)):
        raise CandidateFailure(
            Outcome.CRASH, "its process broke the protocol: other inputs than it was given"
        )

    def kept(index: int) -> bool:
        leaf = leaves[index]
        return not isinstance(leaf, torch.Tensor) or prints[index] == print_of(leaf, key)

    comparison = foreign or settle(truth, kept, outputs, rewritten)
    return Called(
        comparison,
        truth,
        inputs,
        flatten(outputs),
        int(values["most"]),
        str(values["used"]),
        tuple(str(line) for line in values["broken"]),
    )


def unpacked(value: Any, device: torch.device) -> tuple[Any, Comparison | None]:
    """Received outputs as tensors on the judge's device; a mismatch where one is of another kind."""
    mismatches: list[str] = []

    def open_one(received: Received) -> Any:
        if received.kind not in PLAIN.values():
            mismatches.append(f"is a {received.kind}, a tensor that may compute when it is read")
        elif received.device != device.type:
            mismatches.append(f"has device {received.device}, the reference's has {device.type}")
        return received.tensor.detach().to(device)

    leaves = opened(open_one, value)
    if not mismatches:
        return leaves, None
    return leaves, Comparison(Outcome.MISMATCH, f"an output {mismatches[0]}", ())


def find_truth(
    reference: nn.Module,
    inputs: list[Any],
    seed: int,
    *,
    path: str,
    precision: str | None,
    slack: float = 1.0,
) -> Truth:
    """Run the reference three times: as it is, in float64, and in float64 with rounded operands.

    Args:
        path: of the problem, for messages.
        precision: what matrix operands may be rounded to; None for what the inputs are.
        slack: see `budget.expectation`.

    Raises:
        ProblemError: the reference does not run.
        Undecidable: it does not run in float64, or holds no correct digit.
    """
    real = [value for value in [*flatten(inputs), *reference.parameters()] if is_real(value)]
    native_dtype = real[0].dtype if real else torch.float32
    precision = precision or str(native_dtype).removeprefix("torch.")

    native_inputs = cloned(inputs)
    with reference_code(path), plain_arithmetic():
        native = forward(copy.deepcopy(reference), native_inputs, seed)
    before, after = flatten(inputs), flatten(native_inputs)
    changed = tuple(i for i, (old, new) in enumerate(zip(before, after, strict=True)) if not same(old, new))

    def in_float64(operands: str | None, given: list[Any] = inputs) -> list[Any]:
        return run_in_float64(reference, given, seed, changed, native_dtype, operands)

    try:
        exact, rounded = in_float64(None), in_float64(precision)
    except Exception as error:  # an operation without float64, say; then there is no truth to compare with
        raise Undecidable(
            f"the reference does not run in float64: {type(error).__name__}: {one_line(str(error))}"
        ) from error
    runs = zip([*flatten(native), *(after[i] for i in changed)], exact, rounded, strict=True)
    scale = magnitude(real)
    elements = sum(value.numel() for value in real)

    sways = _sways(exact, lambda moved: in_float64(None, moved), inputs, seed, path)

    def expected_of(index: int, native: Any, exact: Any, rounded: Any) -> Any:
        own = native.numel() if isinstance(native, torch.Tensor) else 1
        return expectation(
            native,
            exact,
            rounded,
            scale,
            precision=precision,
            terms=elements / max(own, 1),
            sway=sways.get(index, (0.0, 0.0)),
            slack=slack,
        )

    expected = [expected_of(index, *run) for index, run in enumerate(runs)]
    return Truth(expected, structure(native), len(before), changed, precision)


def _sways(
    exact: Sequence[Any],
    run: Callable[[list[Any]], list[Any]],
    inputs: list[Any],
    seed: int,
    path: str,
) -> dict[int, tuple[float, float]]:
    """How far outputs of at most FEW numbers move with the inputs: root mean squares, in norm and at most.

    Args:
        exact: all outputs in float64.
        run: the same for other inputs.
        path: of the problem, for messages.

    Returns:
        By number of the output; nothing where the reference refuses inputs that moved.
    """
    moves: dict[int, list[torch.Tensor]] = {
        index: [] for index, value in enumerate(exact) if is_real(value) and 0 < value.numel() <= FEW
    }
    seeds = count(seed)
    try:
        for _ in range(SHAKES if moves else 0):
            with reference_code(path):
                moved = run(_shaken(inputs, seeds))
            for index, seen in moves.items():
                off = moved[index] - exact[index]
                seen.append(torch.where(off.isfinite(), off, 0.0).flatten())
    except ProblemError:  # it wants its inputs to the last digit
        return {}
    return {
        index: (
            float(torch.stack(seen).norm(dim=1).square().mean().sqrt()),
            float(torch.stack(seen).abs().amax(1).square().mean().sqrt()),
        )
        for index, seen in moves.items()
    }


def _shaken(inputs: list[Any], seeds: Iterator[int]) -> list[Any]:
    """The inputs in float64, moved by float32's ε each for itself; a seed for each.

    By 2ε or not at all, towards zero: what must lie between 0 and 1 still does.
    """
    step = 2.0 * torch.finfo(torch.float32).eps

    def shake(value: torch.Tensor) -> torch.Tensor:
        if not is_real(value):
            return value
        generator = torch.Generator(value.device).manual_seed(next(seeds))
        drawn = torch.randint(0, 2, value.shape, generator=generator, device=value.device, dtype=torch.int8)
        return value.double() * (1.0 - step * drawn)

    moved: list[Any] = apply(shake, inputs)
    return moved


def run_in_float64(
    reference: nn.Module,
    inputs: list[Any],
    seed: int,
    changed: Sequence[int],
    native: torch.dtype,
    operands: str | None,
) -> list[Any]:
    """The reference's outputs in float64, flattened, then the inputs that it changes.

    Args:
        changed: which of the flattened inputs these are.
        native: the dtype that the reference draws random numbers in.
        operands: what those of matrix products are rounded to; None: nothing.
    """
    recurrent = any(isinstance(module, nn.RNNBase) for module in reference.modules())
    wide_inputs = apply(lambda t: t.double() if is_real(t) else t.clone(), inputs)
    wide_model = copy.deepcopy(reference).double()
    with plain_arithmetic(recurrent=recurrent), Float64(native, operands):
        outputs = forward(wide_model, wide_inputs, seed)
    leaves = flatten(wide_inputs)
    return [*flatten(outputs), *(leaves[i] for i in changed)]


def settle(truth: Truth, kept: Callable[[int], bool], outputs: Any, rewritten: Sequence[Any]) -> Comparison:
    """Compare what came out, and what became of the inputs that were handed over.

    Args:
        kept: whether an input, by number among all flattened, is what it was.
        rewritten: what those hold now that the reference changes.
    """
    if structure(outputs) != truth.shape:
        return Comparison(
            Outcome.MISMATCH, f"returns {structure(outputs)}, the reference returns {truth.shape}", ()
        )
    for index in range(truth.inputs):
        if index not in truth.changed and not kept(index):
            return Comparison(Outcome.MISMATCH, f"input {index} was changed by the forward", ())
    return compare([*flatten(outputs), *rewritten], truth.expected)


def same(old: Any, new: Any) -> bool:
    """Whether two tensors hold the same values, NaN equal to itself; anything else is taken as it is."""
    if not isinstance(old, torch.Tensor):
        return True
    if old.shape != new.shape:
        return False
    return bool(((old == new) | ((old != old) & (new != new))).all())
