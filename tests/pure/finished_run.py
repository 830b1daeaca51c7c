"""A run folder as a run on the target's own GPU leaves it, and the records it is made of."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

from tilewright.candidate import Candidate
from tilewright.evidence import Evidence
from tilewright.gpu.catalogue import find
from tilewright.judge.speed.decision import recompute
from tilewright.judge.speed.model import Block, Rules
from tilewright.judge.speed.samples import Samples, Side, Timing
from tilewright.judge.verdict import Outcome, OutputError, Verdict
from tilewright.machine import this_machine
from tilewright.runs import Asked, Decided, Tried, digest, open_run
from tilewright.screening.model import Screened, Screening
from tilewright.serial import to_json
from tilewright.stages.diagnosis import Outlook
from tilewright.stages.race import gain_of
from tilewright.stages.summary import StageReport, Summary

DATA = Path(__file__).parents[1] / "data" / "judge"
PROBLEM, CURRENT = (DATA / "scale_problem.py").read_text(), (DATA / "scale.py").read_text()
DEVICE = "NVIDIA H100 80GB HBM3"
GIVEN = Candidate(CURRENT)
BETTER, WORSE = (
    Candidate(CURRENT.replace("64", block), "block_tiling", "launch tuning", "another BLOCK", GIVEN.id)
    for block in ("128", "32")
)
ASKED = Asked(
    problem=digest(PROBLEM),
    current=digest(CURRENT),
    request=None,
    gpu=find("h100"),
    kind="single",
    stages=("block_tiling",),
    profile={},
    precision="float32",
    parameter_map={},
    tilewright=this_machine().tilewright,
)


def verdict(seed: int) -> Verdict:
    error = OutputError(0, 1e-8, 1e-6, 2e-8, 1e-6)
    return Verdict(
        Outcome.CORRECT, "", Evidence.MEASURED, DEVICE, "float32", (error,), 2, seeds=(seed, seed + 1)
    )


def side(label: str, us: float) -> Side:
    samples = Samples(tuple(us + 2.0 + 0.01 * n for n in range(11)), tuple(us + 0.01 * n for n in range(11)))
    return Side(label, samples, samples)


def blocks(count: int, before: float, after: float) -> tuple[Block, ...]:
    """Blocks that differ a little from one another, as on a calm machine."""
    drift = [1.0 + 1e-3 * math.sin(9.0 * n) for n in range(count)]
    return tuple(Block((before * by, before), (after, after)) for by in drift)


def decided(before: str, after: str, times: tuple[float, float], purpose: str = "gain") -> Decided:
    speed = recompute(blocks(10, *times), blocks(16, times[0], times[0]), Rules(), "device time, cold L2")
    return Decided(purpose, before, after, DEVICE, speed)


HEAT = Timing(DEVICE, "580.1", "2.11.0", "3.6.0", (side(GIVEN.id, 20.0), side(BETTER.id, 16.0)))
SCREENING = Screening(
    (Screened(BETTER.id, (16.1, 15.9, 16.0)), Screened(WORSE.id, (), "wrong: output 0 is off")),
    DEVICE,
    2.0,
    1,
    0,
)
DECIDED = decided(GIVEN.id, BETTER.id, (20.0, 16.0))
GAIN = gain_of(DECIDED, Evidence.MEASURED)
SUMMARY = Summary(
    gpu=ASKED.gpu.name,
    device=DEVICE,
    best=BETTER.id,
    improved=True,
    verdict=verdict(3),
    given=verdict(1),
    gain=GAIN,
    stages=(StageReport("block_tiling", Outlook("block_tiling", True, "tiles"), 2, 2, 2, BETTER.id),),
    findings=(),
    evidence=Evidence.MEASURED,
    notes=(),
    seconds=12.5,
)


def write_run(folder: Path) -> None:
    """A finished run, its manifest last."""
    with open_run(folder, ASKED) as run:
        run.record_machine(dataclasses.replace(this_machine("H100 SXM"), triton="3.6.0"))
        run.write("problem.py", PROBLEM)
        run.write("current.py", CURRENT)
        run.record(GIVEN, Tried.of(GIVEN, "the code as given", None, verdict(1)))
        run.record(BETTER, Tried.of(BETTER, "correct", None, verdict(3)))
        run.record(WORSE, Tried.of(WORSE, "dropped: same machine code as another"))
        run.record_times(SCREENING)
        run.record_times(HEAT)
        run.record_times(decided(GIVEN.id, BETTER.id, (20.0, 16.0), "final"))
        run.record_times(Decided("final", GIVEN.id, BETTER.id, DEVICE, problem="it did not end"))
        run.record_times(DECIDED)
        run.write("best.py", BETTER.source)
        run.write("summary.json", to_json(SUMMARY))
        run.seal()
