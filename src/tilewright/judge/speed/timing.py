"""Times several sides against one another, each in a cell of its own. Judge's side.

Sides take turns in random order, so that drift of clocks and the place in a fixed order fall on all
alike. Each turn gives cold samples (the L2 cache overwritten just before) and warm ones, all on values never
seen before; some of the outputs are compared, and a side cannot know which. Wall time runs from an idle
device to an idle device. Device time, in a call of its own, is between two events around the forward, on a
stream that is held up for a while first: else it would be the host's wherever kernels are short.
Both are read in the cell and count only as far as the clock here agrees. Compilation and autotuning happen
in the warm-up.
"""

from __future__ import annotations

import contextlib
import random
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch
import triton

from tilewright.judge.cell.outside import Cell, started
from tilewright.judge.failures import CandidateFailure
from tilewright.judge.sides import draw, moved
from tilewright.judge.speed.audit import clock_fault
from tilewright.judge.speed.lane import Lane
from tilewright.judge.speed.model import CONDITIONS
from tilewright.judge.speed.samples import Timing
from tilewright.judge.trial import Case, Truth
from tilewright.judge.verdict import Outcome
from tilewright.problem import ProblemModule, import_problem

WARM_UPS = 3
FEWEST_ROUNDS = 11
MOST_ROUNDS = 200
COMPARED_ROUNDS = 2  # beside the first warm-up
CONFIRMING_ROUNDS = 3  # of a process that is to confirm what readings suggest
DRIVER = Path("/proc/driver/nvidia/version")


class Track:
    """What all sides of one timing share.

    Args:
        payload: see `judge.api.time_sides`.
        device: "cuda"; "cpu" serves tests of everything but the figures.
    """

    def __init__(self, payload: Mapping[str, Any], device: str) -> None:
        self.payload = payload
        self.device = torch.device(device)
        self.path: str = payload["problem_path"]
        self.problem: ProblemModule = import_problem(payload["problem"], self.path)
        self.order = random.Random(secrets.randbits(64))
        self.conditions: Sequence[str] = payload.get("conditions", tuple(CONDITIONS))

    def start(self, sides: Sequence[tuple[str, str | None]]) -> list[Lane]:
        """A lane for each side, to be closed, started side by side; one that cannot be imported is out."""
        with contextlib.ExitStack() as stack:
            lanes = []
            for label, source in sides:
                text = self.payload["problem"] if source is None else source
                ends = contextlib.ExitStack()
                cell = ends.enter_context(started(self.device.type, text))
                stack.push(ends)
                lanes.append(Lane(label, source, self._case(cell, text), ends))
            for lane in lanes:
                with dropping(lane):
                    _ = lane.case.cell.isolation  # here, as this may start it anew
            with ThreadPoolExecutor(max(len(lanes), 1)) as pool:
                list(pool.map(_open, running(lanes)))
            stack.pop_all()
        return lanes

    @contextlib.contextmanager
    def lanes(self, sides: Sequence[tuple[str, str | None]]) -> Iterator[list[Lane]]:
        """The same, closed with the block."""
        lanes = self.start(sides)
        try:
            yield lanes
        finally:
            close_all(lanes)

    def inputs(self) -> tuple[list[Any], int]:
        """Inputs that no side has seen, on the CPU, and the seed of what a forward draws."""
        seed = secrets.randbits(31)
        return draw(self.problem, self.path, seed, torch.device("cpu"))[1], seed

    def free_bytes(self) -> int:
        """Of the device's memory, or of this machine's where that is the device."""
        if self.device.type == "cuda":
            return int(torch.cuda.mem_get_info()[0])
        return int(psutil.virtual_memory().available)

    def truth(self, lane: Lane, inputs: list[Any], seed: int) -> Truth:
        """What these inputs must give with the lane's parameters."""
        assert lane.instance is not None
        return lane.case.truth(lane.instance.reference, moved(inputs, self.device), seed)

    def _case(self, cell: Cell, source: str) -> Case:
        return Case(
            problem=self.problem,
            problem_path=self.path,
            text=self.payload["problem"],
            cell=cell,
            source=source,
            mapping=self.payload["mapping"],
            precision=self.payload["precision"],
            device=self.device,
            announce=lambda _: None,
        )


def _open(lane: Lane) -> None:
    with dropping(lane):
        lane.open()


@contextlib.contextmanager
def dropping(lane: Lane) -> Iterator[None]:
    """A candidate that fails inside the block is taken out of the race."""
    try:
        yield
    except CandidateFailure as failure:
        lane.drop(failure)


def time_all(payload: Mapping[str, Any], device: str = "cuda") -> Timing:
    """Time every side of the payload; see `judge.api.time_sides`.

    Raises:
        ProblemError: the problem itself does not run.
        AmbiguousParameters: parameters cannot be matched.
        Undecidable: the reference gives nothing to compare with.
    """
    track = Track(payload, device)
    with track.lanes([(label, source) for label, source in payload["sides"]]) as lanes:
        _build(lanes)
        _take_turns(track, lanes, float(payload["seconds"]) * len(lanes))
    _audit(track, lanes)
    return Timing(
        device=torch.cuda.get_device_name() if device == "cuda" else device,
        driver=_driver(),
        torch=torch.__version__,
        triton=triton.__version__,
        sides=tuple(lane.side() for lane in lanes),
    )


def _build(lanes: list[Lane]) -> None:
    """An instance of every side, all of the same seed."""
    seed = secrets.randbits(31)
    for lane in running(lanes):
        with dropping(lane):
            lane.build(seed)


def _take_turns(track: Track, lanes: list[Lane], seconds: float) -> None:
    """Warm up, find how many rounds fit into `seconds`, then sample round by round in random order."""
    for number in range(WARM_UPS):
        _round(track, lanes, compare=number == 0)
    began = time.perf_counter()
    _round(track, lanes, compare=False)
    round_seconds = time.perf_counter() - began
    forget_readings(lanes)
    rounds = min(max(int(seconds / round_seconds), FEWEST_ROUNDS), MOST_ROUNDS)
    chosen = set(track.order.sample(range(rounds), COMPARED_ROUNDS))
    for number in range(rounds):
        _round(track, lanes, compare=number in chosen)


def _round(track: Track, lanes: list[Lane], *, compare: bool) -> None:
    """A call of every side in every condition, on the same values for all."""
    for clock, cold in (CONDITIONS[condition] for condition in track.conditions):
        inputs, seed = track.inputs()
        left = running(lanes)
        truth = track.truth(left[0], inputs, seed) if compare and left else None
        for lane in track.order.sample(left, len(left)):
            with dropping(lane):
                lane.call(inputs, seed, cold=cold, ahead=clock == "device", truth=truth)


def _audit(track: Track, lanes: list[Lane]) -> None:
    """Take out sides whose own clock does not tell the truth."""
    left = running(lanes)
    for lane in left:
        with dropping(lane):
            if fault := clock_fault(lane, left, partial(again, track)):
                raise CandidateFailure(Outcome.NOT_ALLOWED, fault)


def again(track: Track, sides: Sequence[Lane]) -> list[Lane]:
    """The same sides in new processes, after some rounds of calls, the first of which has left no reading."""
    with track.lanes([(side.label, side.source) for side in sides]) as lanes:
        _build(lanes)
        for number in range(1 + CONFIRMING_ROUNDS):
            _round(track, lanes, compare=False)
            if number == 0:
                forget_readings(lanes)
    return lanes


def close_all(lanes: Sequence[Lane]) -> None:
    """End their cells, side by side: a process with a context on a GPU takes a while to end."""
    with ThreadPoolExecutor(max(len(lanes), 1)) as pool:
        list(pool.map(Lane.close, lanes))


def forget_readings(lanes: Sequence[Lane]) -> None:
    """Begin anew, the lanes as they are."""
    for lane in lanes:
        lane.cold.clear()
        lane.warm.clear()


def running(lanes: Sequence[Lane]) -> list[Lane]:
    """Sides still in the race."""
    return [lane for lane in lanes if not lane.problem]


def _driver() -> str:
    """The driver's version as its kernel module states it; empty where that cannot be read."""
    try:
        found = re.search(r"Kernel Module\s.*?(\d+\.\d+(?:\.\d+)?)", DRIVER.read_text())
    except OSError:
        return ""
    return found[1] if found else ""
