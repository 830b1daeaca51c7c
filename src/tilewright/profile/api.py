"""Profiles a candidate: one forward on the GPU in this machine, under Nsight Compute, in a worker process."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tilewright import workers
from tilewright.errors import InputError, SetupError, Where, WorkerCrashed
from tilewright.gpu.model import Gpu
from tilewright.gpu.plugged import plugged_in
from tilewright.gpu.turn import turn
from tilewright.problem import Problem
from tilewright.profile import ncu, report
from tilewright.profile.metrics import wanted
from tilewright.profile.model import Launched, Profile, Result
from tilewright.serial import structure

LAUNCHES = 3  # of each kernel on each size of grid: enough to see one that is unlike the others
LIMITS = workers.Limits(seconds=900.0, memory_bytes=64 * 2**30)


def profile(
    problem: Problem,
    source: str,
    gpu: Gpu,
    *,
    path: str | Path = "candidate.py",
    stage: str | None = None,
    launches: int = LAUNCHES,
    keep: Path | None = None,
    limits: workers.Limits | None = None,
) -> Profile:
    """What Nsight Compute reads of every kernel of one forward, on the GPU in this machine.

    Args:
        source: the text of a ModelNew file.
        gpu: the GPU whose counters are wanted, which must be the one in this machine.
        path: what messages call it.
        stage: of the stage catalogue, to collect its metrics only; None for those of all stages.
        launches: of a Triton kernel on one size of grid, how many are looked at.
        keep: also leave Nsight Compute's own report here, to open in its viewer.
        limits: of the profiled process.

    Raises:
        InputError: no such stage, or `keep` cannot be written.
        SetupError: no GPU, no Nsight Compute, no package to read its report, or no permission to read
            counters.
        KernelFileError, ProblemError: the candidate or the problem fails.
        WorkerError: the forward ran past its limits or died.
    """
    metrics = wanted(stage)
    here = plugged_in()
    if here is None or here.name != gpu.name:
        what = f"the GPU here is {here.name}" if here else "no GPU is plugged in"
        raise SetupError(what, mend=f"run this on the machine that has the {gpu.name}")
    program = ncu.find()
    report.check_installed()
    limits = limits or LIMITS
    payload = {
        "problem": problem.source,
        "problem_path": str(problem.path),
        "source": source,
        "path": str(path),
        "launches": launches,
        "seconds": max(1, round(limits.seconds)),
    }
    with tempfile.TemporaryDirectory(prefix="tilewright-") as scratch:
        written, log = Path(scratch) / "forward.ncu-rep", Path(scratch) / "ncu.log"
        under = ncu.command(program, metrics, written, log)
        try:
            with turn():
                answer = workers.call("tilewright.profile.forward:run", payload, limits, under=under)
        except WorkerCrashed as error:  # Nsight Compute may end before it has started anything
            raise (ncu.refusal(_text(log)) if ncu.failed(_text(log)) else error) from None
        reading = {"report": str(written), "metrics": metrics}
        results = workers.call("tilewright.profile.report:read", reading, limits) if written.exists() else []
        if not results:
            raise ncu.refusal(_text(log))
        if keep is not None:
            _keep(written, keep)
    kernels = report.summarised(structure(results, list[Result]), structure(answer, list[Launched]))
    cut = f"only the first {ncu.MOST_RESULTS} launches were looked at"
    return Profile(gpu.name, kernels, (cut,) if len(results) >= ncu.MOST_RESULTS else ())


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""


def _keep(written: Path, keep: Path) -> None:
    try:
        shutil.copyfile(written, keep)
    except OSError as error:
        raise InputError(
            f"cannot be written ({error.strerror})", where=Where(keep), mend="give another --report FILE"
        ) from None
