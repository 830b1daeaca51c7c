"""Sizes at which a candidate can be interpreted in the time there is. Worker side.

A problem's sizes are its module-level integer constants. They are halved, one after another, until
one forward fits: first those that only change how often kernels are launched (time steps), then
those that change the number of programs (batch), then those that change one program's work; among
equals first those whose full value the candidate's own text does not mention, since such a file may
hold for that one size only.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn

from tilewright.errors import AmbiguousParameters, ProblemError
from tilewright.judge.answer.budget import Undecidable
from tilewright.judge.answer.compare import flatten
from tilewright.judge.failures import CandidateFailure, reference_code
from tilewright.judge.inputs.constants import described, integer_literals, size_constants, with_sizes
from tilewright.judge.sides import cloned, forward, pairs
from tilewright.judge.trial import Case, build
from tilewright.judge.verdict import Outcome
from tilewright.problem import call_piece, import_problem

MOST_ELEMENTS = 2**25  # inputs and parameters together; about a second to draw on one core
FEWEST_STEPS = 4  # launches that follow one another: enough for a state to be carried on
SMALLEST = 16  # of any other size: the least a tl.dot takes, so that tiles stay tiles
REFERENCE_RUNS = 6  # the reference's three runs, one of them watched operation by operation
NOT_FREE = (ProblemError, CandidateFailure, AmbiguousParameters)  # of `measure`, at a size that cannot be cut
TOLERATED = 3.0  # running this much over the limit is better than cutting another size, or giving up


@dataclass(frozen=True)
class Cost:
    """One forward of the candidate and the reference's runs beside it.

    Args:
        programs: of each kernel, in its largest launch.
    """

    launches: int
    total_programs: int
    seconds: float
    programs: Mapping[str, int]


@dataclass(frozen=True)
class Fit:
    """The problem's text at sizes that fit, what was cut ("STEPS 256 → 16"), and the expected time."""

    text: str
    cut: str
    names: tuple[str, ...]
    seconds: float


def fit(text: str, measure: Callable[[str], Cost], candidate: str, seconds: float) -> Fit:
    """Cut the sizes of a problem until one forward takes no more than `seconds`.

    Args:
        measure: the cost of a problem's text at its sizes.
        candidate: the candidate's text.

    Raises:
        Undecidable: nothing is left to cut and it still takes far too long.
        ProblemError, CandidateFailure: from `measure`, at sizes nothing could be cut from.
    """
    search = _Search(text, measure, {c.name: c.value for c in size_constants(text).values()})
    search.cut_to_memory()
    try:
        cost = search.cost()
    except CandidateFailure as failure:
        if search.sizes == search.full or failure.outcome is Outcome.NOT_CHECKED:
            raise
        raise Undecidable(
            f"too large to run here at full size, and at {described(text, search.sizes)} the candidate"
            f" fails: {failure.reason}"
        ) from failure
    if cost.seconds > seconds:
        for name in search.ranked(cost, integer_literals(candidate)):
            cost = search.halve(name, cost, seconds)
            if cost.seconds <= TOLERATED * seconds:
                break
    cut = described(text, search.sizes)
    if cost.seconds > TOLERATED * seconds:
        at = f"even with {cut}" if cut else "and no size in the problem can be cut down"
        raise Undecidable(
            f"one forward takes about {cost.seconds:.0f} s under Triton's interpreter, {at}"
            f" (limit {seconds:.1f} s)"
        )
    names = tuple(name for name, value in search.sizes.items() if value != search.full[name])
    return Fit(with_sizes(text, search.sizes), cut, names, cost.seconds)


class _Search:
    """The sizes so far, and what they cost."""

    def __init__(self, text: str, measure: Callable[[str], Cost], full: dict[str, int]) -> None:
        self.text = text
        self.measure = measure
        self.full = full
        self.sizes = dict(full)
        self.floors: dict[str, int] = {}

    def cost(self, **changes: int) -> Cost:
        return self.measure(with_sizes(self.text, {**self.sizes, **changes}))

    def cut_to_memory(self) -> None:
        """Halve whatever saves most elements until inputs and parameters fit."""
        while (count := elements(with_sizes(self.text, self.sizes))) is not None and count > MOST_ELEMENTS:
            options: list[tuple[int, str]] = []
            for name, value in self.sizes.items():
                if value // 2 >= SMALLEST:
                    less = elements(with_sizes(self.text, {**self.sizes, name: value // 2}))
                    if less is not None and less < count:
                        options.append((less, name))
            if not options:
                return
            _, name = min(options)
            self.sizes[name] //= 2

    def ranked(self, cost: Cost, literals: set[int]) -> list[str]:
        """Constants worth halving, best first, from what halving each would change."""
        ranks: list[tuple[tuple[float, ...], str]] = []
        for name, value in self.sizes.items():
            if value // 2 < FEWEST_STEPS:
                continue
            try:
                halved = self.cost(**{name: value // 2})
            except NOT_FREE:
                continue
            fewer_launches = halved.launches < cost.launches
            if not fewer_launches and value // 2 < SMALLEST:
                continue
            # Programs are counted, which is exact; the time of one is measured, on whatever else runs here.
            if halved.total_programs < cost.total_programs or halved.seconds < 0.9 * cost.seconds:
                self.floors[name] = FEWEST_STEPS if fewer_launches else SMALLEST
                kind = 0 if fewer_launches else 1 if halved.total_programs < cost.total_programs else 2
                ranks.append(((_last_tile(cost, halved), self.full[name] in literals, kind, -value), name))
        return [name for _, name in sorted(ranks)]

    def halve(self, name: str, cost: Cost, seconds: float) -> Cost:
        """Halve one constant until the forward fits or the constant has become too small.

        The first guess is that time is proportional to it; each guess is measured.
        """
        while cost.seconds > seconds and self.sizes[name] // 2 >= self.floors[name]:
            halvings = max(1, math.floor(math.log2(cost.seconds / seconds)))
            while self.sizes[name] >> halvings < self.floors[name]:
                halvings -= 1
            try:
                cost = self.cost(**{name: self.sizes[name] >> halvings})
            except NOT_FREE:
                break
            self.sizes[name] >>= halvings
        return cost


def _last_tile(cost: Cost, halved: Cost) -> bool:
    """Whether some kernel of several programs would be left with one, and its indexing unseen."""
    return any(halved.programs.get(name, 0) < 2 <= count for name, count in cost.programs.items())


def elements(text: str) -> int | None:
    """Numbers in all inputs and parameters of a problem, without allocating them; None if unknown."""
    try:
        with torch.device("meta"):
            problem = import_problem(text, "problem.py")
            model = problem.model(*call_piece(problem, "get_init_inputs", "problem.py"))
            inputs = call_piece(problem, "get_inputs", "problem.py")
    except Exception:  # noqa: BLE001  not every problem runs without memory; then its size stays
        return None
    tensors = [*model.parameters(), *(v for v in flatten(inputs) if isinstance(v, torch.Tensor))]
    return sum(int(tensor.numel()) for tensor in tensors)


def matched_at_full_size(case: Case, text: str) -> dict[str, str]:
    """The map of parameters, from the full sizes: shapes that differ there may coincide when cut.

    Raises:
        AmbiguousParameters: parameters match in more than one way, or not at all.
        ProblemError, CandidateFailure: a constructor does not run.
        Undecidable: constructor arguments cannot be handed to another process.
    """
    problem = import_problem(text, case.problem_path)

    init_inputs = call_piece(problem, "get_init_inputs", case.problem_path)

    def construct() -> nn.Module:
        with reference_code(case.problem_path):
            return problem.model(*cloned(init_inputs))

    try:
        with torch.device("meta"):  # shapes are enough
            reference = construct()
    except ProblemError:  # not every constructor runs without memory
        reference = construct()
    shapes = case.command("shapes", init_inputs=init_inputs).values
    return {**(case.mapping or {}), **pairs(reference, shapes["parameters"], shapes["buffers"], case.mapping)}


def measured(case: Case, seed: int) -> Callable[[str], Cost]:
    """The cost of a problem's text for this candidate, from a sample of its programs."""

    def measure(text: str) -> Cost:
        cut = replace(case, problem=import_problem(text, case.problem_path), text=text)
        instance = build(cut, seed)
        case.announce("reference")
        reference_seconds = math.inf
        for _ in range(2):  # the first run may prepare much that later ones find ready
            started = time.process_time()
            with reference_code(case.problem_path):
                forward(instance.reference, cloned(instance.inputs), seed)
            reference_seconds = min(reference_seconds, time.process_time() - started)
        cost = case.command("cost", inputs=instance.inputs, seed=seed).values
        return Cost(
            cost["launches"],
            cost["programs"],
            cost["seconds"] + REFERENCE_RUNS * reference_seconds,
            cost["most_by_kernel"],
        )

    return measure
