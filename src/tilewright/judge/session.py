"""One check, from import to verdict. Worker side."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch

from tilewright.evidence import Evidence
from tilewright.judge import assembly, cooperative
from tilewright.judge.budget import Undecidable
from tilewright.judge.compare import Comparison
from tilewright.judge.constants import integer_literals, size_constants
from tilewright.judge.failures import CandidateFailure, candidate_code
from tilewright.judge.interpreter import ConfigChoice, repair
from tilewright.judge.sides import import_candidate
from tilewright.judge.sizes import Fit, fit, matched_at_full_size, measured
from tilewright.judge.trial import Case, run_trial
from tilewright.judge.verdict import Outcome, OutputError, Verdict
from tilewright.problem import import_problem

GPU_CONFIG_SECONDS = 60.0  # for trying the configs of a file's own autotune lists, on a GPU
OVERRUN = 2.0  # interpreted trials stop early once they took this many times what they were given


class Session:
    """Checks one candidate.

    Args:
        payload: see `judge.api.check`.
        device: where both sides run; the CPU means Triton's interpreter.
        announce: told what runs next.
    """

    def __init__(
        self, payload: dict[str, Any], device: torch.device, announce: Callable[[str], None]
    ) -> None:
        self.payload = payload
        self.device = device
        self.announce = announce
        self.on_gpu = device.type == "cuda"
        if not self.on_gpu:
            repair()
            cooperative.install()
            assembly.enable()
        self.choice = ConfigChoice()
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
        try:
            case = self._case()
            fitted = Fit(self.payload["problem"], "", (), 0.0)
            if not self.on_gpu:
                case = replace(case, mapping=matched_at_full_size(case, fitted.text))
                fitted = self._fit(case)
                case = replace(case, problem=import_problem(fitted.text, case.problem_path))
                self.answer = replace(self.answer, sizes=fitted.cut)
            return self._trials(case, fitted)
        except CandidateFailure as failure:
            return self._no(failure.outcome, failure.reason)
        except Undecidable as reason:
            return self._no(Outcome.NOT_CHECKED, str(reason))

    def _case(self) -> Case:
        payload = self.payload
        self.announce("candidate")
        source, path = payload["source"], payload["path"]
        with candidate_code(source, path, interpreted=not self.on_gpu):
            model_new = import_candidate(source, path)
        self.announce("problem")
        return Case(
            problem=import_problem(payload["problem"], payload["problem_path"]),
            problem_path=payload["problem_path"],
            model_new=model_new,
            source=source,
            path=path,
            mapping=payload["mapping"],
            precision=payload["precision"],
            device=self.device,
            announce=self.announce,
        )

    def _fit(self, case: Case) -> Fit:
        share = self.payload["interpreter_seconds"] / self.payload["trials"]
        with self.choice.applied():
            return fit(self.payload["problem"], measured(case, secrets.randbits(31)), case.source, share)

    def _trials(self, case: Case, fitted: Fit) -> Verdict:
        """Trials until enough are done and every autotune config was used, or time is up."""
        started = time.perf_counter()
        wanted = int(self.payload["trials"])
        number = 0
        while number < wanted or number < self._runs_for_configs():
            elapsed = time.perf_counter() - started
            if number and self._late(elapsed, enough=number >= wanted):
                break
            seed = secrets.randbits(31)
            # On a GPU the first trial leaves the file's own autotuning to Triton.
            as_written = self.on_gpu and number == 0
            self.choice.index = None if as_written else number - self.on_gpu
            with self.choice.applied():
                comparison, truth = run_trial(case, seed)
            number += 1
            self.answer = replace(
                self.answer,
                trials=number,
                seeds=(*self.answer.seeds, seed),
                precision=truth.precision,
                errors=_worst([*self.answer.errors, *comparison.errors]),
            )
            if comparison.outcome is not Outcome.CORRECT:
                return self._differs(case, fitted, comparison, as_written)
        return replace(self.answer, outcome=Outcome.CORRECT, notes=self._left_out(number))

    def _runs_for_configs(self) -> int:
        """Trials needed so that each config of every autotuned kernel is used once."""
        if self.on_gpu:
            return self.choice.most + 1 if self.choice.most > 1 else 1
        return self.choice.most

    def _late(self, elapsed: float, *, enough: bool) -> bool:
        if self.on_gpu:
            return enough and elapsed > GPU_CONFIG_SECONDS
        given = float(self.payload["interpreter_seconds"])
        second_config_owed = self.choice.most > 1 and self.answer.trials < 2
        return elapsed > (given if enough else OVERRUN * given) and not second_config_owed

    def _left_out(self, number: int) -> tuple[str, ...]:
        missing = self._runs_for_configs() - number
        if missing <= 0:
            return ()
        return (f"{missing} of {self.choice.most} autotune configs were not run: no time left",)

    def _differs(self, case: Case, fitted: Fit, comparison: Comparison, as_written: bool) -> Verdict:
        reason = comparison.reason
        if self.choice.most > 1 and not as_written:
            reason += f"; {self.choice}"
        full = size_constants(self.payload["problem"])
        named = [n for n in fitted.names if full[n].value in integer_literals(case.source)]
        if named:
            return self._no(
                Outcome.NOT_CHECKED,
                f"differs at {fitted.cut} ({reason}), but the file writes out the full value of"
                f" {' and '.join(named)} itself, so it may hold at full size only",
            )
        return self._no(comparison.outcome, f"{reason}; at {fitted.cut}" if fitted.cut else reason)

    def _no(self, outcome: Outcome, reason: str) -> Verdict:
        return replace(self.answer, outcome=outcome, reason=reason)


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
