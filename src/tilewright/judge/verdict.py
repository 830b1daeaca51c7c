"""What the judge says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tilewright.evidence import Evidence
from tilewright.judge.means.findings import Finding


class Outcome(StrEnum):
    """What came of checking a candidate. Only CORRECT is a yes."""

    CORRECT = "correct"
    WRONG = "wrong"  # an output differs by more than the budget, holds NaN, or work was left undone
    MISMATCH = "mismatch"  # shape, dtype, device or number of outputs differ, or an input was changed
    ERROR = "error"  # the candidate raised
    COMPILE_ERROR = "compile-error"  # a kernel does not compile
    TIMEOUT = "timeout"
    OUT_OF_RESOURCES = "out-of-resources"  # shared memory, registers or memory beyond what there is
    CRASH = "crash"  # the process died
    STRAY_ACCESS = "stray-access"  # a kernel reads or writes memory outside its tensors
    NOT_ALLOWED = "not-allowed"  # computes the right thing in a way the policy does not allow
    NOT_CHECKED = "not-checked"  # cannot be checked on this machine; `reason` says why


@dataclass(frozen=True)
class OutputError:
    """One output, the worst of all trials.

    Args:
        output: its position among the outputs.
        norm_error: ‖y − y64‖ / ‖y64‖.
        norm_budget: what norm_error may be.
        max_error: max |y − y64| / max |y64|.
        max_budget: what max_error may be.
    """

    output: int
    norm_error: float
    norm_budget: float
    max_error: float
    max_budget: float


@dataclass(frozen=True)
class Verdict:
    """Whether a candidate computes what the reference computes.

    Args:
        outcome: the answer.
        reason: one line; for WRONG what differs and where, for ERROR the candidate's message and line.
        evidence: MEASURED on the target GPU, MEASURED_ON another, INTERPRETED on a CPU.
        device: what it ran on.
        precision: what today's code was found to compute in, "float32", "tf32", "float16", "bfloat16".
        errors: one per output, of the trials on inputs as drawn.
        trials: how many fresh sets of inputs were compared.
        sizes: what was cut down to run here ("T 256 → 16"); empty at full size.
        seconds: how long the check took.
        seeds: one per trial; parameters and inputs were drawn from it.
        regimes: inputs of other kinds that were compared beside those as drawn.
        findings: what the candidate was seen to do, allowed or not.
        isolation: what held the candidate's process: "no network, read-only files".
        notes: what a reader should know beside the answer: autotune configs that were not run.
    """

    outcome: Outcome
    reason: str = ""
    evidence: Evidence = Evidence.INTERPRETED
    device: str = ""
    precision: str = ""
    errors: tuple[OutputError, ...] = ()
    trials: int = 0
    sizes: str = ""
    seconds: float = 0.0
    seeds: tuple[int, ...] = ()
    regimes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    isolation: str = ""
    notes: tuple[str, ...] = ()

    @property
    def correct(self) -> bool:
        return self.outcome is Outcome.CORRECT
