"""The worker side of inspection: what `tilewright.inspect.api` runs in a process of its own."""

from __future__ import annotations

import json
import math
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tilewright.errors import KernelFileError, SetupError, TilewrightError, Where
from tilewright.gpu.model import Gpu
from tilewright.inspect.model import Inspection
from tilewright.launches.model import Recording
from tilewright.worker import plain

try:
    import triton  # noqa: F401
except ImportError:
    raise SetupError(
        "Triton is not installed, so kernels can be neither recorded nor compiled here",
        mend="use Linux and `pip install triton`; parsing, requests and the GPU catalogue work without it",
    ) from None

from tilewright.inspect import chain, roofline
from tilewright.inspect.compiling import Compiled, compile_launch
from tilewright.inspect.estimate import estimate, launch_time
from tilewright.inspect.program import Program, count
from tilewright.inspect.ttir import accesses, parse
from tilewright.launches.driver import pretended_driver
from tilewright.launches.fake import pretend
from tilewright.launches.forward import record_candidate, record_reference
from tilewright.launches.recorder import Recorder
from tilewright.problem import ProblemModule, import_problem


def run(payload: Mapping[str, Any]) -> Inspection:
    """Inspect one candidate. Payload: problem, problem_path, gpu, source, path.

    Raises:
        ProblemError, KernelFileError, SetupError: see `tilewright.inspect.api.inspect`.
    """
    with _session(payload) as session:
        return session.inspect(payload["source"], payload["path"])


def run_many(payload: Mapping[str, Any]) -> list[Any]:
    """Inspect several candidates, each in a fork of this process, `jobs` at a time.

    Payload: as for `run`, with `sources` for `source`, and `jobs`, `seconds` (of one candidate), `first` and
    `until` (since the epoch: later none is begun but these first few; None: never too late). A candidate that
    fails, hangs or crashes costs only itself: its inspection says why.
    """
    sources, path, until = payload["sources"], payload["path"], payload["until"] or math.inf
    results: list[Any] = [None] * len(sources)
    running: dict[int, int] = {}
    with _session(payload) as session, tempfile.TemporaryDirectory(prefix="tilewright-") as folder:
        for index, source in enumerate(sources):
            while len(running) >= payload["jobs"]:
                _collect(running, results, folder, session.gpu, payload["seconds"])
            if index >= payload["first"] and time.time() > until:
                del results[index:]
                break
            running[_fork(session, source, path, Path(folder) / str(index), payload["seconds"])] = index
        while running:
            _collect(running, results, folder, session.gpu, payload["seconds"])
    return results


class Session:
    """A problem on a pretended GPU, for any number of candidates."""

    def __init__(self, problem: ProblemModule, problem_path: str, gpu: Gpu) -> None:
        self.problem = problem
        self.problem_path = problem_path
        self.gpu = gpu
        self.needs = roofline.needs(*record_reference(problem, problem_path))

    def inspect(self, source: str, path: str) -> Inspection:
        """Record, compile and estimate one candidate.

        Raises:
            KernelFileError: it cannot be recorded, or launches nothing.
        """
        recorder = record_candidate(self.problem, self.problem_path, source, path)
        recording = recorder.recording()
        if not recording.launches:
            raise KernelFileError(
                "forward launches no Triton kernel",
                where=Where(path),
                mend="launch one with kernel[grid](…) in ModelNew.forward",
            )
        compiled = [
            compile_launch(
                index, launch, bound, self.gpu, count=recording.count(index), path=path, source=source
            )
            for index, (launch, bound) in enumerate(zip(recording.launches, recorder.bound, strict=True))
        ]
        return self._assess(recorder, recording, compiled)

    def _assess(self, recorder: Recorder, recording: Recording, compiled: Sequence[Compiled]) -> Inspection:
        functions = {i: parse(c.ir) for i, c in enumerate(compiled) if c.ir}
        programs = {i: count(f, recording.launches[i]) for i, f in functions.items()}
        access = {i: accesses(f) for i, f in functions.items()}
        times = {
            i: launch_time(recording.launches[i], compiled[i], program, self.gpu)
            for i, program in programs.items()
            if not compiled[i].resources.problem
        }
        notes = [f"{recording.launches[i].kernel}: {n}" for i, p in programs.items() for n in p.notes]
        return Inspection(
            gpu=self.gpu.name,
            recording=recording,
            resources=tuple(c.resources for c in compiled),
            floor=roofline.floor(
                self.needs,
                self.gpu,
                _rate(programs),
                launches=len(recording.sequence),
                chain=chain.longest_chain(recorder.events, access),
            ),
            estimate=estimate(recorder.events, recording, times, self.gpu, tuple(dict.fromkeys(notes))),
        )


def _rate(programs: Mapping[int, Program]) -> str:
    """The rate that most of a candidate's matrix products run at; "fp32" without any."""
    flops: dict[str, float] = {}
    for program in programs.values():
        for rate, operations in program.flops.items():
            flops[rate] = flops.get(rate, 0.0) + operations
    return max(flops, key=lambda rate: flops[rate], default="fp32")


@contextmanager
def _session(payload: Mapping[str, Any]) -> Iterator[Session]:
    gpu = Gpu(**{**payload["gpu"], "aliases": tuple(payload["gpu"]["aliases"])})
    with pretend(gpu), pretended_driver(gpu):
        problem = import_problem(payload["problem"], payload["problem_path"])
        yield Session(problem, payload["problem_path"], gpu)


def _fork(session: Session, source: str, path: str, result: Path, seconds: int) -> int:
    """Inspect in a child that an alarm ends after `seconds`; its process id."""
    child = os.fork()
    if child:
        return child
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds)
    try:
        inspection = session.inspect(source, path)
    except TilewrightError as error:
        inspection = _refused(session.gpu, str(error))
    result.write_text(json.dumps(plain(inspection)))
    os._exit(0)


def _collect(running: dict[int, int], results: list[Any], folder: str, gpu: Gpu, seconds: int) -> None:
    """Wait for one child and take its result."""
    child, status = os.wait()
    index = running.pop(child)
    result = Path(folder) / str(index)
    if os.WIFEXITED(status) and result.exists():
        results[index] = json.loads(result.read_text())
        return
    died = signal.Signals(os.WTERMSIG(status)) if os.WIFSIGNALED(status) else None
    if died is signal.SIGALRM:
        why = f"inspecting it did not finish within {seconds} s"
    else:
        why = f"inspecting it crashed ({died.name if died else 'exit code ' + str(os.WEXITSTATUS(status))})"
    results[index] = plain(_refused(gpu, why))


def _refused(gpu: Gpu, problem: str) -> Inspection:
    return Inspection(gpu.name, Recording((), ()), (), None, None, problem)
