"""Times several sides against one another on the GPU, in one process. Worker side.

Sides take turns in random order, so that drift of clocks and the place in a fixed order fall on all
alike. Each turn gives a cold sample (the L2 cache overwritten just before) and, at once, a warm one
on the same inputs. Wall time runs from an idle device to an idle device; device time is between two
events around the forward. Compilation and autotuning happen in the warm-up.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import triton
from torch import nn

from tilewright.errors import WorkerCrashed
from tilewright.judge.failures import CandidateFailure, candidate_code, reference_code
from tilewright.judge.sides import build_candidate, build_reference, draw, import_candidate, seed_everything
from tilewright.judge.timing_model import Samples, Side, Timing
from tilewright.judge.verdict import Outcome
from tilewright.problem import import_problem

INPUT_SETS = 3
WARM_UPS = 3
FEWEST_SAMPLES = 11
MOST_SAMPLES = 200
FLUSH_L2_SIZES = 2  # the buffer overwritten before a cold sample, in sizes of the L2 cache
DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Switches:
    """torch's global choices of arithmetic, which a file may set when it is imported."""

    matmul_tf32: bool
    cudnn_tf32: bool
    cudnn_benchmark: bool

    @classmethod
    def now(cls) -> Switches:
        cudnn = torch.backends.cudnn
        return cls(torch.backends.cuda.matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark)

    def set(self) -> None:
        torch.backends.cuda.matmul.allow_tf32 = self.matmul_tf32
        torch.backends.cudnn.allow_tf32 = self.cudnn_tf32
        torch.backends.cudnn.benchmark = self.cudnn_benchmark


@dataclass
class Contestant:
    """A side while it is being timed. `source` is None for the reference, which lies at `path`."""

    label: str
    path: str
    source: str | None
    model: nn.Module | None
    switches: Switches
    problem: str = ""
    cold: list[tuple[float, float]] = field(default_factory=list)
    warm: list[tuple[float, float]] = field(default_factory=list)

    def sample(self, inputs: Sequence[Any], seed: int) -> tuple[float, float]:
        """One forward: wall and device time, microseconds.

        Raises:
            CandidateFailure, ProblemError: it raised.
        """
        assert self.model is not None
        guard = (
            reference_code(self.path)
            if self.source is None
            else candidate_code(self.source, self.label, interpreted=False)
        )
        self.switches.set()
        seed_everything(seed)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        with guard, torch.no_grad():
            torch.cuda.synchronize()
            began = time.perf_counter()
            start.record()
            self.model(*inputs)
            end.record()
            torch.cuda.synchronize()
            wall = time.perf_counter() - began
        return wall * 1e6, start.elapsed_time(end) * 1e3

    def side(self) -> Side:
        return Side(self.label, _samples(self.warm), _samples(self.cold), self.problem)


def time_all(payload: Mapping[str, Any]) -> Timing:
    """Time every side of the payload; see `judge.api.time_sides`.

    Raises:
        ProblemError: the problem itself does not run.
        AmbiguousParameters: parameters cannot be matched.
        WorkerCrashed: a side broke the CUDA context, so that nothing more can be timed here.
    """
    device = torch.device("cuda")
    path, seed = payload["problem_path"], int(payload["seed"])
    problem = import_problem(payload["problem"], path)
    init_inputs, first = draw(problem, path, seed, device)
    input_sets = [first, *(draw(problem, path, seed + n, device)[1] for n in range(1, INPUT_SETS))]
    reference = build_reference(problem, path, init_inputs, seed, device)
    untouched = Switches.now()
    contestants = []
    for number, (label, source) in enumerate(payload["sides"]):
        contestant = Contestant(label, path, source, reference, untouched)
        if source is not None:
            _build(contestant, number, init_inputs, reference, payload)
        contestants.append(contestant)
    _take_turns(contestants, input_sets, float(payload["seconds"]) * len(contestants), seed)
    return Timing(
        device=torch.cuda.get_device_name(),
        driver=_driver(),
        torch=torch.__version__,
        triton=triton.__version__,
        sides=tuple(contestant.side() for contestant in contestants),
    )


def _build(
    contestant: Contestant,
    number: int,
    init_inputs: list[Any],
    reference: nn.Module,
    payload: Mapping[str, Any],
) -> None:
    """Import a candidate and give it the reference's parameters; note why where that fails."""
    source, label = str(contestant.source), contestant.label
    contestant.switches.set()
    try:
        with candidate_code(source, label, interpreted=False):
            model_new = import_candidate(source, label, f"tilewright_side_{number}")
            contestant.model = build_candidate(
                model_new,
                init_inputs,
                reference,
                int(payload["seed"]),
                torch.device("cuda"),
                payload["mapping"],
            )
    except CandidateFailure as failure:
        _drop(contestant, failure)
    untouched, contestant.switches = contestant.switches, Switches.now()
    untouched.set()


def _take_turns(
    contestants: list[Contestant], input_sets: list[list[Any]], seconds: float, seed: int
) -> None:
    """Warm up, find how many rounds fit into `seconds`, then sample round by round in random order."""
    flush = _flush_buffer()
    round_seconds = 0.0
    for contestant in _running(contestants):
        try:
            for _ in range(WARM_UPS):
                for inputs in input_sets:
                    contestant.sample(inputs, seed)
            began = time.perf_counter()
            _one_turn(contestant, input_sets[0], flush, seed)
            round_seconds += time.perf_counter() - began
        except CandidateFailure as failure:
            _drop(contestant, failure)
    rounds = int(seconds / round_seconds) if round_seconds else 0
    order = random.Random(seed)
    for contestant in contestants:
        contestant.cold.clear()
        contestant.warm.clear()
    for number in range(min(max(rounds, FEWEST_SAMPLES), MOST_SAMPLES)):
        running = _running(contestants)
        for contestant in order.sample(running, len(running)):
            try:
                _one_turn(contestant, input_sets[number % len(input_sets)], flush, seed)
            except CandidateFailure as failure:
                _drop(contestant, failure)


def _one_turn(contestant: Contestant, inputs: list[Any], flush: torch.Tensor, seed: int) -> None:
    """A cold sample, and at once a warm one on the same inputs."""
    flush.zero_()
    contestant.cold.append(contestant.sample(inputs, seed))
    contestant.warm.append(contestant.sample(inputs, seed))


def _running(contestants: list[Contestant]) -> list[Contestant]:
    return [contestant for contestant in contestants if not contestant.problem]


def _drop(contestant: Contestant, failure: CandidateFailure) -> None:
    """Take a side out. After a fault on the device nothing in this process can be trusted."""
    contestant.problem = f"{failure.outcome}: {failure.reason}"
    if failure.outcome is Outcome.CRASH:
        raise WorkerCrashed(
            f"{contestant.label} broke the CUDA context: {failure.reason}", mend="leave it out and time again"
        ) from failure


def _flush_buffer() -> torch.Tensor:
    l2_bytes = torch.cuda.get_device_properties().L2_cache_size
    return torch.empty(FLUSH_L2_SIZES * l2_bytes, dtype=torch.int8, device="cuda")


def _samples(pairs: list[tuple[float, float]]) -> Samples:
    return Samples(tuple(wall for wall, _ in pairs), tuple(device for _, device in pairs))


def _driver() -> str:
    """The driver's version as its kernel module states it; empty where that cannot be read."""
    try:
        found = re.search(r"Kernel Module\s.*?(\d+\.\d+(?:\.\d+)?)", DRIVER.read_text())
    except OSError:
        return ""
    return found[1] if found else ""
