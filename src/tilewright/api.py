"""The Python API: the main job as one function.

The other functions of the public API live with their rooms; `tilewright/__init__.py` names them all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from tilewright.candidate import Candidate
from tilewright.contract import breaches
from tilewright.entry import model_new
from tilewright.errors import InputError
from tilewright.gpu.catalogue import find
from tilewright.gpu.model import Gpu
from tilewright.gpu.plugged import plugged_in
from tilewright.judge.means.findings import Kind
from tilewright.kernelfile import KernelFile
from tilewright.machine import this_machine
from tilewright.place import places
from tilewright.problem import Problem
from tilewright.proposers.recurrence import PLANS
from tilewright.request import Request
from tilewright.request import render as render_request
from tilewright.runs import Asked, digest, open_run
from tilewright.serial import to_json
from tilewright.stages.catalogue import stages as stage_catalogue
from tilewright.stages.model import Stage
from tilewright.stages.pipeline import best_source
from tilewright.stages.pipeline import optimize as run_stages
from tilewright.stages.session import Task
from tilewright.stages.summary import Summary
from tilewright.version import VERSION

DEFAULT_BUDGET_SECONDS = 300.0
PRECISIONS = ("float32", "tf32", "float16", "bfloat16")
DIALECTS = ("triton", "gluon")
ALGORITHM = "algorithm"  # the one stage that can write a file where there is none


def optimize(
    problem: Problem,
    folder: str | Path,
    *,
    current: str | None = None,
    entry: str | Callable[..., Any] | None = None,
    request: Request | None = None,
    profile: Mapping[str, Mapping[str, float]] | None = None,
    gpu: Gpu | str | None = None,
    stages: Sequence[str] = (),
    precision: str | None = None,
    dialect: str = "triton",
    plan: str | None = None,
    mapping: Mapping[str, str] | None = None,
    allow: Collection[Kind] = (),
    also_gpus: Sequence[Gpu | str] = (),
    also_problems: Sequence[Problem] = (),
    budget_seconds: float = DEFAULT_BUDGET_SECONDS,
    budget_candidates: int | None = None,
    force: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Summary:
    """Find the fastest file that computes the same, and leave the run in a folder.

    Args:
        problem: the reference and its inputs.
        folder: where best.py, summary.json and the log go; see `tilewright.runs`.
        current: the text of today's ModelNew file; None without a request that holds one: the first file is
            then derived from the reference by the stage `algorithm`.
        entry: in its place a Python callable that does the job of Model's forward, or
            "FILE.py:FUNCTION"; see `tilewright.model_new`.
        request: a specialist request; gives current code, GPU, stage and profile where the other
            arguments do not.
        profile: Nsight Compute metrics of today's code, by kernel; see `tilewright.profile.api`.
        gpu: the target; None for the request's, else the one plugged in.
        stages: names of stages to run, in this order; none for the request's stage, else all.
        precision: what matrix products may be computed in; None for what today's code uses, float32
            without any.
        dialect: of Triton that new kernels are written in, one of DIALECTS.
        plan: how the recurrence compiler runs time loops, one of `proposers.recurrence.PLANS`; None for
            whatever fits the target.
        mapping: parameter of ModelNew, or argument of the entry, → parameter of Model, where names and
            shapes do not say.
        allow: what candidates may do beside computing, beyond what today's code is seen to do.
        also_gpus, also_problems: further GPUs, and further sizes of the problem on the target, at which the
            one file is to be right and fast: what they prefer is among the settings that it chooses from at
            run time. What it gains there is estimated, but for sizes on a GPU that is plugged in.
        budget_seconds: after this long no new candidate is started.
        budget_candidates: how many are tried; None for as many as there is time for.
        force: replace a finished or different run in the folder.
        say: called with one line of progress at a time.

    Raises:
        InputError: something handed over is missing or wrong; nothing has been written then.
        RunFolderError: the folder is taken, not writable, or holds another run.
    """
    notes: list[str] = []
    if entry is not None:
        if current is not None:
            raise InputError("the current code and an entry are both given", mend="give one of the two")
        made = model_new(problem, entry, mapping)
        current, mapping = made.source, made.mapping
        notes.append(f"the current code was {made.note}")
    source = current if current is not None else (request.code if request else None)
    kernel_file = KernelFile.parse(source, "current.py") if source is not None else None
    plugged = plugged_in()
    target = _target(gpu, request, plugged)
    elsewhere = places(
        [find(one) if isinstance(one, str) else one for one in also_gpus], also_problems, target
    )
    chosen, forced = _stages(stages, request, kernel_file)
    if kernel_file is None and ALGORITHM not in (stage.name for stage in chosen):
        raise InputError(
            "there is no current code to start from",
            mend="give today's Triton file with --current, a function with --entry, or a request that holds"
            f" the code, or run the stage {ALGORITHM}, which can do without",
        )
    if plan is not None:
        _check_plan(plan, chosen)
    found = breaches(kernel_file, problem.source) if kernel_file else ()
    notes += [f"contract: line {b.line}: {b.what}; {b.mend}" for b in found]
    if request is not None:
        notes.extend(_unused(request, current, profile, gpu, stages))
    task = Task(
        problem=problem,
        current=Candidate(source) if source is not None else None,
        gpu=target,
        plugged=plugged,
        stages=chosen,
        forced=forced,
        precision=precision or (kernel_file.precision if kernel_file else "float32"),
        mapping=mapping or {},
        profile=profile if profile is not None else request.profile if request else {},
        budget_seconds=budget_seconds,
        budget_candidates=budget_candidates,
        notes=tuple(notes),
        dialect=dialect,
        plan=plan,
        allow=tuple(allow),
        elsewhere=elsewhere,
    )
    asked = Asked(
        problem=digest(problem.source),
        current=digest(source) if source is not None else None,
        request=digest(render_request(request)) if request else None,
        gpu=target,
        kind=chosen[0].kind,
        stages=tuple(stage.name for stage in chosen),
        profile={kernel: dict(metrics) for kernel, metrics in task.profile.items()},
        precision=task.precision,
        parameter_map=dict(task.mapping),
        dialect=dialect,
        plan=plan,
        allow=tuple(allow),
        elsewhere=elsewhere,
        tilewright=VERSION,
    )
    with open_run(folder, asked, force=force) as run:
        if run.resumed:
            say(f"resuming: {len(run.tried)} candidates are already on record")
        run.record_machine(this_machine(plugged.name if plugged else ""))
        run.write("problem.py", problem.source)
        if source is not None:
            run.write("current.py", source)
        if request is not None:
            run.write("request.txt", render_request(request))
        summary = run_stages(task, run, say)
        run.write("best.py", best_source(task, run, summary))
        run.write("summary.json", to_json(summary))
        run.seal()
    return summary


def seconds(text: str) -> float:
    """A duration as people type it: "90", "90s", "5m", "1h30m".

    Raises:
        InputError: it is not one.
    """
    match = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    if not match or not any(match.groups()):
        raise InputError(f"{text!r} is not a duration", mend="write it like 90s, 5m or 1h30m")
    hours, minutes, rest = (float(group or 0) for group in match.groups())
    return 3600 * hours + 60 * minutes + rest


def _target(gpu: Gpu | str | None, request: Request | None, plugged: Gpu | None) -> Gpu:
    if isinstance(gpu, Gpu):
        return gpu
    if gpu is not None:
        return find(gpu)
    if request is not None and request.gpu is not None:
        return request.gpu
    if plugged is not None:
        return plugged
    raise InputError(
        "no target GPU: none is plugged in, named or in the request", mend="name one, for example --gpu h100"
    )


def _stages(
    names: Sequence[str], request: Request | None, kernel_file: KernelFile | None
) -> tuple[tuple[Stage, ...], frozenset[str]]:
    """The stages to run, and those among them that the user asked for by name."""
    if request is not None and request.match is not None:
        kind = request.match.kind
    elif kernel_file is None:
        kind = "network"
    else:
        kind = "single" if len(kernel_file.kernels) == 1 else "fusion"
    catalogue = {stage.name: stage for stage in stage_catalogue(kind)}
    wanted = tuple(names) or ((request.stage,) if request and request.stage else ())
    for name in wanted:
        if name not in catalogue:
            raise InputError(f"no stage is called {name!r}", mend=f"choose among {', '.join(catalogue)}")
    if not wanted:
        return tuple(catalogue.values()), frozenset()
    return tuple(catalogue[name] for name in wanted), frozenset(wanted)


def _check_plan(plan: str, chosen: Sequence[Stage]) -> None:
    """Refuse a plan that there is none of, or that no chosen stage would use.

    Raises:
        InputError: it names the plans, or the stage.
    """
    if plan not in PLANS:
        raise InputError(f"no plan is called {plan!r}", mend=f"choose among {', '.join(PLANS)}")
    if ALGORITHM not in (stage.name for stage in chosen):
        raise InputError(
            f"the plan {plan} is for the stage {ALGORITHM}, which is not among those to run",
            mend=f"add {ALGORITHM} to --stages, or leave the plan out",
        )


def _unused(
    request: Request,
    current: str | None,
    profile: Mapping[str, Mapping[str, float]] | None,
    gpu: Gpu | str | None,
    stages: Sequence[str],
) -> list[str]:
    """What a request holds that this run does not use, one line each."""
    notes = [f"request line {ignored.line} ignored: {ignored.text}" for ignored in request.ignored]
    if current is not None and request.code is not None:
        notes.append("request: its code is not used, other code was given")
    if profile is not None and request.profile:
        notes.append("request: its profile is not used, another was given")
    if gpu is not None and request.gpu is not None:
        notes.append(f"request: its GPU {request.gpu.name} is not used, another target was named")
    if stages and request.stage is not None:
        notes.append(f"request: its stage {request.stage} is not used, others were named")
    return notes
