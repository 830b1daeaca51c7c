"""One check, from import to verdict. Worker side."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from tilewright.errors import ProblemError
from tilewright.evidence import Evidence
from tilewright.judge.answer.budget import Expected, Undecidable
from tilewright.judge.answer.compare import flatten, rebuilt
from tilewright.judge.answer.diagnose import diagnose
from tilewright.judge.cell.outside import Cell
from tilewright.judge.cell.prints import print_of
from tilewright.judge.cell.protocol import DTYPES
from tilewright.judge.failures import DEVICE_FAULT, CandidateFailure
from tilewright.judge.inputs.constants import integer_literals, size_constants
from tilewright.judge.inputs.generality import generality
from tilewright.judge.inputs.regimes import REGIMES, Regime, defined
from tilewright.judge.inputs.sizes import Fit, fit, matched_at_full_size, measured
from tilewright.judge.means.findings import Finding, Kind, forbidden
from tilewright.judge.means.needless import spirit
from tilewright.judge.sides import draw, state_of
from tilewright.judge.trial import (
    KEY_BITS,
    Called,
    Case,
    Instance,
    build,
    call,
    run_in_float64,
    same,
    with_new_parameters,
)
from tilewright.judge.verdict import Outcome, OutputError, Verdict
from tilewright.problem import import_problem

GPU_SECONDS = 60.0  # for regimes and for the configs of a file's own autotune lists, on a GPU
OVERRUN = 2.0  # interpreted calls stop early once they took this many times what they were given
CALLS_BESIDE_TRIALS = len(REGIMES) + 3  # those at the sizes that trials have; what follows may overrun
REMEMBERED = 3  # calls whose outputs are kept, to know them again
REST_SECONDS = 0.02  # between the two readings of an output


class Refuted(Exception):
    """The candidate came back with outputs, and they are not what they should be."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        self.outcome = outcome
        self.reason = reason
        super().__init__(f"{outcome}: {reason}")


class Session:
    """Checks one candidate.

    Args:
        payload: see `judge.api.check`.
        cell: where the candidate will be.
        device: where both sides run; the CPU means Triton's interpreter.
        announce: told what runs next.
    """

    def __init__(
        self, payload: dict[str, Any], cell: Cell, device: torch.device, announce: Callable[[str], None]
    ) -> None:
        self.payload = payload
        self.cell = cell
        self.device = device
        self.announce = announce
        self.on_gpu = device.type == "cuda"
        self.started = time.perf_counter()
        self.calls = 0
        self.configs = 1
        self.fault = ""
        self.earlier: list[list[Any]] = []
        self.always_zero: frozenset[int] | None = None  # outputs of the reference, over all calls so far
        self.answer = Verdict(
            Outcome.NOT_CHECKED,
            evidence=Evidence.MEASURED if self.on_gpu else Evidence.INTERPRETED,
            device=torch.cuda.get_device_name() if self.on_gpu else "CPU, Triton's interpreter",
            precision=payload["precision"] or "",
        )

    def verdict(self) -> Verdict:
        """Import the candidate, then draw inputs it could not have seen, and compare.

        Raises:
            ProblemError: the problem itself does not run.
            AmbiguousParameters: parameters cannot be matched.
        """
        answer = self._decided()
        if answer.outcome is Outcome.CORRECT:
            return answer
        return replace(answer, findings=tuple(dict.fromkeys([*answer.findings, *self._observed()])))

    def _decided(self) -> Verdict:
        try:
            case = self._case()
            fitted = Fit(self.payload["problem"], "", (), 0.0)
            if not self.on_gpu:
                case = replace(case, mapping=matched_at_full_size(case, fitted.text))
                fitted = self._fit(case)
                case = replace(case, problem=import_problem(fitted.text, case.problem_path), text=fitted.text)
                self.answer = replace(self.answer, sizes=fitted.cut)
            return self._calls(case, fitted)
        except (CandidateFailure, Refuted) as no:
            return self._no(no.outcome, no.reason)
        except Undecidable as reason:
            return self._no(Outcome.NOT_CHECKED, str(reason))

    def _case(self) -> Case:
        payload = self.payload
        self.announce("candidate")
        self.answer = replace(self.answer, isolation=self.cell.isolation)
        self.cell.command("open", source=payload["source"], path=payload["path"])
        self.announce("problem")
        return Case(
            problem=import_problem(payload["problem"], payload["problem_path"]),
            problem_path=payload["problem_path"],
            text=payload["problem"],
            cell=self.cell,
            source=payload["source"],
            mapping=payload["mapping"],
            precision=payload["precision"],
            device=self.device,
            announce=self.announce,
        )

    def _fit(self, case: Case) -> Fit:
        share = self.payload["interpreter_seconds"] / (self.payload["trials"] + CALLS_BESIDE_TRIALS)
        return fit(self.payload["problem"], measured(case, secrets.randbits(31)), case.source, share)

    def _calls(self, case: Case, fitted: Fit) -> Verdict:
        """Trials on inputs as drawn, then inputs of other kinds, then autotune configs still owed."""
        self.started = time.perf_counter()
        for number in range(int(self.payload["trials"])):
            instance, drawn = self._trial(case, fitted)
            if number == 0:
                self._settles(case, drawn)
        self._found(*spirit(case, instance.seed ^ 16))
        instance = build(case, instance.seed)  # leaving kernels out has built others
        self._beside(case, fitted, instance, drawn)
        while self.calls < self._calls_for_configs() and (not self._late() or self.calls < 2):
            self._trial(case, fitted)
        self._beyond(case, instance)
        for index in sorted(self.always_zero or ()):
            self._note(f"output {index} of the reference is zero on all that was tried: zeros would pass too")
        return replace(self.answer, outcome=Outcome.CORRECT, notes=(*self.answer.notes, *self._left_out()))

    def _beyond(self, case: Case, instance: Instance) -> None:
        """What the candidate does beside giving the right answer, set against the policy.

        Raises:
            Refuted: it does something that is not allowed.
        """
        untried: list[str] = []
        for what, tried in generality(case, instance.seed ^ 8):
            if self._late():
                untried.append(what)
            else:
                self._found(*tried())
        self._untried(untried)
        self._found(*self._observed())
        allowed = [Kind(kind) for kind in self.payload["allow"]]
        breaches = forbidden(self.answer.findings, allowed)
        if breaches:
            told = "; ".join(f"{breach.kind}: {breach.what}" for breach in breaches)
            raise Refuted(Outcome.NOT_ALLOWED, told)

    def _found(self, *findings: Finding) -> None:
        self.answer = replace(self.answer, findings=(*self.answer.findings, *findings))

    def _observed(self) -> tuple[Finding, ...]:
        """What was seen inside the cell; nothing where it is gone, which its verdict then says."""
        try:
            seen = self.cell.command("observed").values["findings"]
        except CandidateFailure:
            return ()
        return tuple(Finding(Kind(fields["kind"]), fields["what"]) for fields in seen)

    def _trial(self, case: Case, fitted: Fit) -> tuple[Instance, Called]:
        """Both sides constructed anew, and one call on inputs as drawn.

        Raises:
            Refuted: the outputs are not what they should be.
        """
        seed = self._seed(self.answer.trials)
        backwards = self.answer.trials % 2 == 1 and not self.on_gpu
        instance = build(case, seed)
        drawn = self._call(case, instance, instance.inputs, fresh=True, backwards=backwards)
        self.answer = replace(
            self.answer,
            trials=self.answer.trials + 1,
            seeds=(*self.answer.seeds, seed),
            precision=drawn.truth.precision,
            errors=_worst([*self.answer.errors, *drawn.comparison.errors]),
        )
        self._must_agree(
            case, fitted, instance, drawn, "with the programs in reverse order" if backwards else ""
        )
        return instance, drawn

    def _repeated(self, case: Case, fitted: Fit, instance: Instance, drawn: Called) -> None:
        """Two calls of one instance: in ordinary memory, then on the inputs of the last trial.

        Raises:
            Refuted: an output is not what it should be, or does not stay so; a parameter was changed.
        """
        self.announce("reference")
        _, others = draw(case.problem, case.problem_path, instance.seed ^ 32, case.device)
        first = self._call(case, instance, others, fresh=True, memory_of=1.0 + instance.seed / 2**31)
        self._must_agree(case, fitted, instance, first, "where fresh memory holds ordinary numbers")
        second = self._call(case, instance, instance.inputs, truth=drawn.truth, fresh=True, keep=True)
        self._must_agree(case, fitted, instance, second, "when it is called again")
        self._unchanged(case, first, "changes when the forward is called again", earlier=True)
        key = secrets.randbits(KEY_BITS)
        held = case.command("state", key=key).values["parameters"]
        wanted = state_of(instance.reference)
        for name in held.keys() & instance.pairs.keys():
            dtype = DTYPES.get(str(held[name]["dtype"]), torch.float32)
            if held[name] != print_of(wanted[instance.pairs[name]].to(dtype), key):
                raise Refuted(Outcome.MISMATCH, f"parameter {name} was changed by the forward")

    def _beside(self, case: Case, fitted: Fit, instance: Instance, drawn: Called) -> None:
        """The same instance called again, on inputs of other kinds in the memory of the last ones, then with
        other parameters in theirs.

        Raises:
            Refuted: the outputs are not what they should be.
        """
        again = partial(self._call, case, instance, instance.inputs, truth=drawn.truth, fresh=True)
        if (
            self.on_gpu
        ):  # first: what does not wait for the caller's stream can fail all that follows, by chance
            self._must_agree(case, fitted, instance, again(queued=True), "called amid the work of a stream")
        self._repeated(case, fitted, instance, drawn)
        generator = torch.Generator(self.device).manual_seed(instance.seed)
        untried: list[str] = []
        for regime in sorted(REGIMES, key=lambda regime: not regime.follows):
            if self._late():
                untried.append(regime.name)
            elif called := self._under(case, instance, regime, generator, drawn):
                self.answer = replace(self.answer, regimes=(*self.answer.regimes, regime.name))
                self._must_agree(case, fitted, instance, called, regime.name)
        if self.on_gpu and not self._late() and (broken := again(guarded=True).broken):
            raise Refuted(Outcome.STRAY_ACCESS, "; ".join(broken))
        self._untried(untried)
        if instance.pairs and not self._late():
            changed = with_new_parameters(case, instance, instance.seed ^ 1)
            called = self._call(case, changed, changed.inputs, fresh=True)
            self._must_agree(
                case, fitted, changed, called, "after its parameters were given other values in place"
            )

    def _under(
        self, case: Case, instance: Instance, regime: Regime, generator: torch.Generator, drawn: Called
    ) -> Called | None:
        """One call under a regime; None where it changes nothing, or the reference defines no result."""
        flat = flatten(instance.inputs)
        changed = regime.change(flat, generator)
        if all(new is old for new, old in zip(changed, flat, strict=True)):
            return None
        inputs = _refilled(instance.inputs, iter(changed))
        self.announce("reference")
        try:
            truth = case.truth(instance.reference, inputs, instance.seed, slack=regime.slack)
        except ProblemError as error:
            if self.on_gpu and DEVICE_FAULT.search(error.what):
                self.fault = f"{regime.name} the reference broke the judge's CUDA context: {error.what}"
                self._note(f"{self.fault}; what would have followed was not tried")
            return None
        except Undecidable:
            return None
        if not defined(regime, truth.expected, drawn.truth.expected):
            return None
        return self._call(case, instance, inputs, truth=truth, fresh=False)

    def _call(self, case: Case, instance: Instance, inputs: list[Any], **how: Any) -> Called:
        """One call with the next autotune config; the first one on a GPU leaves the choice to Triton."""
        config = self.calls - self.on_gpu
        called = call(case, instance, inputs, instance.seed, config=None if config < 0 else config, **how)
        self.calls += 1
        zero = frozenset(index for index, wanted in enumerate(called.truth.expected) if _is_zero(wanted))
        self.always_zero = zero if self.always_zero is None else self.always_zero & zero
        if called.comparison.outcome is Outcome.CORRECT:
            self.earlier = [*self.earlier[1 - REMEMBERED :], called.outputs]
        self.configs = max(self.configs, called.most)
        return called

    def _settles(self, case: Case, called: Called) -> None:
        """Read the outputs once more, a moment later.

        Raises:
            Refuted: they have changed since: work that nobody waited for.
        """
        time.sleep(REST_SECONDS)
        self._unchanged(case, called, "still changes after the forward has returned")

    def _unchanged(self, case: Case, called: Called, what: str, *, earlier: bool = False) -> None:
        """Raises Refuted where outputs that the cell still holds are no longer what they were."""
        later = case.command("outputs_again", earlier=earlier).values["outputs"]
        for index, (old, new) in enumerate(zip(called.outputs, flatten(later), strict=True)):
            if isinstance(old, torch.Tensor) and not same(old.cpu(), new.tensor):
                raise Refuted(Outcome.WRONG, f"output {index} {what}")

    def _seed(self, number: int) -> int:
        """A secret one, or the recorded one where a verdict is checked again."""
        recorded = self.payload["seeds"]
        return int(recorded[number]) if number < len(recorded) else secrets.randbits(31)

    def _calls_for_configs(self) -> int:
        """Calls needed so that each config of every autotuned kernel is used once."""
        return self.configs + self.on_gpu if self.configs > 1 else 1

    def _late(self) -> bool:
        """Whether nothing more is to be tried: time is up, or this process has lost its device."""
        if self.fault:
            return True
        elapsed = time.perf_counter() - self.started
        return elapsed > (
            GPU_SECONDS if self.on_gpu else OVERRUN * float(self.payload["interpreter_seconds"])
        )

    def _left_out(self) -> tuple[str, ...]:
        missing = self._calls_for_configs() - self.calls
        if missing <= 0:
            return ()
        return (f"{missing} of {self.configs} autotune configs were not run: no time left",)

    def _must_agree(
        self, case: Case, fitted: Fit, instance: Instance, called: Called, when: str = ""
    ) -> None:
        """Raises Refuted where a call's outputs are not what they should be."""
        comparison = called.comparison
        if comparison.outcome is Outcome.CORRECT:
            return
        reason = f"{when}: {comparison.reason}" if when else comparison.reason
        if comparison.outcome is Outcome.WRONG and (likeness := self._likeness(instance, called)):
            reason += f"; {likeness}"
        if called.used and called.most > 1:
            reason += f"; {called.used}"
        full = size_constants(self.payload["problem"])
        named = [n for n in fitted.names if full[n].value in integer_literals(case.source)]
        if named:
            raise Refuted(
                Outcome.NOT_CHECKED,
                f"differs at {fitted.cut} ({reason}), but the file writes out the full value of"
                f" {' and '.join(named)} itself, so it may hold at full size only",
            )
        raise Refuted(comparison.outcome, f"{reason}; at {fitted.cut}" if fitted.cut else reason)

    def _likeness(self, instance: Instance, called: Called) -> str:
        """What the output that is wrong looks like; see `diagnose`."""
        at = called.comparison.errors[-1].output
        expected = called.truth.expected

        def rounded(precision: str) -> Any:
            native = expected[at].native.dtype
            return run_in_float64(
                instance.reference, called.inputs, instance.seed, called.truth.changed, native, precision
            )[at]

        return diagnose(
            called.outputs[at],
            expected[at],
            flatten(called.inputs),
            [outputs[at] for outputs in self.earlier if isinstance(outputs[at], torch.Tensor)],
            lower={precision: partial(rounded, precision) for precision in ("float16", "bfloat16")},
            other_outputs={
                i: other for i, other in enumerate(expected) if i != at and isinstance(other, Expected)
            },
        )

    def _untried(self, what: Sequence[str]) -> None:
        if what:
            self._note(f"not tried, no time left: {'; '.join(what)}")

    def _note(self, text: str) -> None:
        self.answer = replace(self.answer, notes=(*self.answer.notes, text))

    def _no(self, outcome: Outcome, reason: str) -> Verdict:
        return replace(self.answer, outcome=outcome, reason=reason)


def _is_zero(wanted: Expected | Any) -> bool:
    return isinstance(wanted, Expected) and wanted.native.numel() > 0 and not bool(wanted.native.any())


def _refilled(value: Any, leaves: Any) -> Any:
    """The same nested containers with other leaves, in order."""
    if isinstance(value, dict):
        return {key: _refilled(item, leaves) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return rebuilt(value, (_refilled(item, leaves) for item in value))
    return next(leaves)


def _worst(errors: Iterable[OutputError]) -> tuple[OutputError, ...]:
    """For each output the trial that came closest to its budget, or went furthest past it."""
    worst: dict[int, OutputError] = {}
    for error in errors:
        if error.output not in worst or _strain(error) > _strain(worst[error.output]):
            worst[error.output] = error
    return tuple(worst[output] for output in sorted(worst))


def _strain(error: OutputError) -> float:
    pairs = ((error.norm_error, error.norm_budget), (error.max_error, error.max_budget))
    return max(e / b if b > 0 else (float("inf") if e > 0 else 0.0) for e, b in pairs)
