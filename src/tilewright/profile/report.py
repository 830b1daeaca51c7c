"""Nsight Compute's report, read with NVIDIA's own package `ncu_report`.

The package and not `ncu --csv`: the columns, units and number formats of that table differ between versions
of Nsight Compute, the package's interface does not. It is native code, so it is used in a worker only. What
it hands over becomes `Result` values at once; the rest of the room knows nothing else.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tilewright.errors import SetupError
from tilewright.profile.metrics import GRID_SIZE, SM_THROUGHPUT
from tilewright.profile.model import KernelProfile, Launched, Reading, Result

PACKAGE = "ncu_report"


def check_installed() -> None:
    """Find the package without loading it.

    Raises:
        SetupError: it is not installed.
    """
    if importlib.util.find_spec(PACKAGE) is None:
        raise SetupError(
            "NVIDIA's package ncu-report, which reads what Nsight Compute writes, is not installed",
            mend="pip install 'tilewright[profile]', or ncu-report itself",
        )


def read(payload: Mapping[str, Any]) -> list[Result]:
    """Every launch of a report, in order. For workers.

    Payload: report, its path; metrics, the names to read. Of the units that the SM throughput is the
    busiest of, that one is read as well. What has no value, or none that is finite, is left out.
    """
    module = importlib.import_module(PACKAGE)
    return [
        Result(action.name(), tuple(_readings(action, payload["metrics"])))
        for group in module.load_report(payload["report"])
        for action in group
    ]


def _readings(action: Any, metrics: Sequence[str]) -> Iterator[Reading]:
    for name in metrics:
        if reading := _reading(action, name):
            yield reading
    units = action.metric_by_name(f"breakdown:{SM_THROUGHPUT}")
    if units is not None:
        found = [reading for name in units.as_string().split(",") if (reading := _reading(action, name))]
        if found:
            yield max(found, key=lambda reading: reading.value)


def _reading(action: Any, name: str) -> Reading | None:
    metric = action.metric_by_name(name)
    if metric is None or not metric.has_value() or not math.isfinite(metric.as_double()):
        return None
    return Reading(name, metric.as_double(), metric.unit())


def summarised(results: Sequence[Result], launched: Sequence[Launched]) -> tuple[KernelProfile, ...]:
    """One entry for each kernel and size of grid, each reading the median of its launches.

    Args:
        launched: how often each Triton kernel was launched in all; of any other kernel every launch is
            among the results.
    """
    counts = {(one.kernel, one.grid_size): one.count for one in launched}
    groups: dict[tuple[str, int], list[Result]] = {}
    for result in results:
        grid = next((round(r.value) for r in result.readings if r.metric == GRID_SIZE), 0)
        groups.setdefault((result.kernel, grid), []).append(result)
    sizes = Counter(kernel for kernel, _ in groups)
    return tuple(
        KernelProfile(
            name=kernel if sizes[kernel] == 1 else f"{kernel} (grid {grid})",
            kernel=kernel,
            grid_size=grid,
            launches=max(len(group), counts.get((kernel, grid), 0)),
            read=len(group),
            readings=tuple(_medians(group)),
        )
        for (kernel, grid), group in groups.items()
    )


def _medians(group: Sequence[Result]) -> Iterator[Reading]:
    values: dict[tuple[str, str], list[float]] = {}
    for result in group:
        for reading in result.readings:
            values.setdefault((reading.metric, reading.unit), []).append(reading.value)
    for (metric, unit), found in values.items():
        yield Reading(metric, statistics.median(found), unit)
