"""Inspects candidates for a target GPU, offline, in worker processes."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

from tilewright import workers
from tilewright.errors import WorkerError
from tilewright.gpu.model import Gpu
from tilewright.inspect import cache
from tilewright.inspect.model import Inspection
from tilewright.launches.model import Recording
from tilewright.problem import Problem
from tilewright.processes.start import COMPILING
from tilewright.serial import structure
from tilewright.worker import plain

BATCH = 8  # candidates that a worker takes for each that it compiles at a time; then they are kept on disk
FIRST = 16  # candidates that are inspected whatever the time
CHILD_BYTES = 2**31  # of a process that compiles one, with what it shares with the others


def inspect(
    problem: Problem,
    source: str,
    gpu: Gpu,
    *,
    path: str | Path = "candidate.py",
    limits: workers.Limits | None = None,
) -> Inspection:
    """Everything known about a candidate on a target without running it.

    A kernel that does not compile or does not fit the target is reported in its `Resources`.

    Args:
        source: the text of a ModelNew file.
        path: what messages call it.

    Raises:
        KernelFileError: the candidate does not import, has no ModelNew, launches nothing, or its
            forward cannot run without values (it reads a tensor on the host).
        ProblemError: the reference or its inputs fail.
        SetupError: Triton or its CUDA tools are missing.
        WorkerError: the worker ran past its limits or died.
    """
    payload = {**_payload(problem, gpu), "source": source, "path": str(path)}
    value = workers.call(
        "tilewright.inspect.work:run", payload, limits, COMPILING, loads=workers.FAKE_TENSORS
    )
    return structure(value, Inspection)


def inspect_many(
    problem: Problem,
    sources: Sequence[str],
    gpu: Gpu,
    *,
    path: str | Path = "candidate.py",
    jobs: int = 2,
    seconds: float = math.inf,
    limits: workers.Limits | None = None,
) -> list[Inspection]:
    """Inspect several candidates, in order; one that fails says why in its `problem`.

    What was inspected before, by any run on this machine, is taken from disk; see `inspect.cache`.

    Args:
        jobs: candidates compiled at a time.
        seconds: after which no more are begun but the first FIRST; what comes back ends there.
        limits: time of one candidate, memory of the whole worker.

    Raises:
        ProblemError, SetupError: as for `inspect`; they concern every candidate.
    """
    limits = limits or workers.Limits(memory_bytes=max(workers.Limits.memory_bytes, jobs * CHILD_BYTES))
    until = time.time() + seconds
    found = {source: known for source in sources if (known := cache.load(problem, source, gpu))}
    missing = [source for source in dict.fromkeys(sources) if source not in found]
    size = BATCH * jobs
    for start in range(0, len(missing), size):
        if start and time.time() > until:
            break
        batch = missing[start : start + size]
        fresh = _inspect_batch(problem, batch, gpu, str(path), jobs, until, limits)
        for source, one in zip(batch, fresh, strict=False):
            cache.store(problem, source, gpu, one)
            found[source] = one
    return [found[source] for source in takewhile(found.__contains__, sources)]


def _inspect_batch(
    problem: Problem, sources: list[str], gpu: Gpu, path: str, jobs: int, until: float, limits: workers.Limits
) -> list[Inspection]:
    """One worker's share, as far as it gets. When the worker itself is lost, they are tried one by one.

    Args:
        until: seconds since the epoch.
    """
    payload = {
        **_payload(problem, gpu),
        "sources": sources,
        "path": path,
        "jobs": jobs,
        "first": FIRST,
        "until": until if math.isfinite(until) else None,
        "seconds": max(1, round(limits.seconds)),
    }
    whole = replace(limits, seconds=limits.seconds * (1 + len(sources)))
    try:
        values = workers.call(
            "tilewright.inspect.work:run_many", payload, whole, COMPILING, loads=workers.FAKE_TENSORS
        )
    except WorkerError as error:
        if len(sources) == 1:
            return [Inspection(gpu.name, Recording((), ()), (), None, None, str(error))]
        found: list[Inspection] = []
        for source in sources:
            if found and time.time() > until:
                break
            found += _inspect_batch(problem, [source], gpu, path, jobs, until, limits)
        return found
    return [structure(value, Inspection) for value in values]


def _payload(problem: Problem, gpu: Gpu) -> dict[str, object]:
    return {"problem": problem.source, "problem_path": str(problem.path), "gpu": plain(gpu)}
