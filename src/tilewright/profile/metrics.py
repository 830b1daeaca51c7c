"""What the collected metrics mean, read from `metrics.toml`."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from importlib import resources

from tilewright.errors import InputError
from tilewright.stages.catalogue import KINDS, stages

DURATION = "gpu__time_duration.sum"
SM_THROUGHPUT = "sm__throughput.avg.pct_of_peak_sustained_elapsed"
DRAM_THROUGHPUT = "dram__throughput.avg.pct_of_peak_sustained_elapsed"
L2_THROUGHPUT = "lts__throughput.avg.pct_of_peak_sustained_elapsed"
GRID_SIZE = "launch__grid_size"
WAVES = "launch__waves_per_multiprocessor"
LIMIT_REGISTERS = "launch__occupancy_limit_registers"
LIMIT_SHARED = "launch__occupancy_limit_shared_mem"
WARPS_ACTIVE = "sm__warps_active.avg.pct_of_peak_sustained_active"
LONG_SCOREBOARD = "smsp__average_warps_issue_stalled_long_scoreboard_per_issue_active.ratio"

BUSIEST_UNIT = "the unit that sm__throughput speaks of"


@dataclass(frozen=True)
class Metric:
    """One metric of Nsight Compute.

    Args:
        name: as Nsight Compute prints it.
        unit: Nsight Compute's base unit; empty for a bare count.
        meaning: one line.
        stages: names of those in the stage catalogue that read it.
        always: collected whatever the stage.
    """

    name: str
    unit: str
    meaning: str
    stages: tuple[str, ...]
    always: bool = False


@functools.cache
def metrics() -> dict[str, Metric]:
    """Every metric that is collected, by name."""
    text = resources.files(__package__).joinpath("metrics.toml").read_text("utf-8")
    return {name: Metric(name, stages=_readers(name), **entry) for name, entry in tomllib.loads(text).items()}


def wanted(stage: str | None = None) -> tuple[str, ...]:
    """Names of the metrics to collect: those that a stage reads and those always read, or all.

    Raises:
        InputError: no such stage.
    """
    names = [s.name for s in stages(KINDS[0])]
    if stage is not None and stage not in names:
        raise InputError(f"no stage is called {stage!r}", mend=f"choose among {', '.join(names)}")
    return tuple(m.name for m in metrics().values() if stage is None or m.always or stage in m.stages)


def meaning(name: str) -> str:
    """What a metric of a profile means, one line.

    A profile holds what is collected and, under its own name, the SMs' busiest unit.
    """
    known = metrics().get(name)
    return known.meaning if known else BUSIEST_UNIT


def _readers(name: str) -> tuple[str, ...]:
    found = [stage.name for kind in KINDS for stage in stages(kind) if name in stage.metrics]
    return tuple(dict.fromkeys(found))
