"""What holds each kernel of a forward back, with the figures that say so.

A kernel's counters decide where there are any; what was compiled and modelled fills in the rest. Every
figure says how it is known.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tilewright.evidence import Evidence
from tilewright.gpu.model import Gpu
from tilewright.inspect.costs import EAGER_LAUNCH_US, EAGER_OPERATION_US
from tilewright.inspect.model import Inspection, LaunchTime, Resources
from tilewright.profile.metrics import (
    DRAM_THROUGHPUT,
    DURATION,
    GRID_SIZE,
    L2_THROUGHPUT,
    LIMIT_REGISTERS,
    LIMIT_SHARED,
    LONG_SCOREBOARD,
    SM_THROUGHPUT,
    WARPS_ACTIVE,
    WAVES,
)
from tilewright.stages.model import Cause, Stage

BUSY_PCT = 60.0  # from here on Nsight Compute's rule for its "GPU Speed Of Light" section calls a unit busy
LOW_OCCUPANCY_PCT = 50.0
SHORTEST_NS = 500.0  # no kernel is over sooner, so a smaller duration is not in Nsight Compute's base unit
MODELLED = {"memory": "device memory takes", "l2": "L2 takes", "compute": "its busiest SM takes"}
SM_PARTS = ("sm__", "idc__")  # how the names of the SM throughput's parts begin
OF_PEAK_ELAPSED = ".avg.pct_of_peak_sustained_elapsed"
LIMITERS = {"registers": Cause.REGISTERS, "shared_mem": Cause.SHARED_MEMORY}


@dataclass(frozen=True)
class Sign:
    """A figure that says what holds a kernel back.

    Args:
        what: a metric of Nsight Compute, or what else was read.
        known_by: a kind of evidence, "measured-on" with the GPU's name, or "profile" for a figure that was
            handed over.
    """

    what: str
    value: float
    unit: str
    known_by: str

    def __str__(self) -> str:
        return f"{self.what} {self.value:.4g}{' ' if self.unit else ''}{self.unit} ({self.known_by})"


@dataclass(frozen=True)
class Reason:
    """One cause and the figures that point to it; `mend` says what would end it, where that is known."""

    cause: Cause
    signs: tuple[Sign, ...]
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.cause}: {', '.join(map(str, self.signs))}" + (f"; {self.mend}" if self.mend else "")


@dataclass(frozen=True)
class Diagnosis:
    """What holds one kernel back.

    Args:
        kernel: its name, with its grid where it is launched on several.
        launches: in one forward.
        time: of one launch, microseconds; None where nothing is known of it.
        roofline: the share of its roofline that it reaches, percent: the time that the bytes of its
            tensors, or its matrix products, take at the GPU's peak rates, over `time`.
        reasons: the main one first; empty where nothing is known.
        stages: those of the catalogue that can do something about the main reason.
    """

    kernel: str
    launches: int
    time: Sign | None
    roofline: Sign | None
    reasons: tuple[Reason, ...]
    stages: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The kernel, its launches, their time, and how close that is to the roofline."""
        facts = [self.kernel, "1 launch" if self.launches == 1 else f"{self.launches} launches"]
        if self.time:
            each = " each" if self.launches > 1 else ""
            facts.append(f"{self.time.value:.4g} us{each} ({self.time.known_by})")
        if self.roofline:
            facts.append(f"{self.roofline.value:.2g} % of its roofline ({self.roofline.known_by})")
        return ", ".join(facts)

    def __str__(self) -> str:
        return f"{self.title}: {'; '.join(map(str, self.reasons)) or 'nothing is known'}"


@dataclass(frozen=True)
class Counters:
    """Figures of Nsight Compute by kernel.

    Args:
        known_by: how they are known, see `Sign`.
        launches: of one forward, by kernel; 1 of those that are not in it.
    """

    figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    known_by: str = "profile"
    launches: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """One kernel on one size of grid, and all that is known of it.

    Args:
        modelled: what the estimate says of one launch; modelled_us: its total, microseconds.
        metrics: of Nsight Compute, known by `known_by`; empty without.
    """

    name: str
    launches: int
    resources: Resources | None = None
    modelled: LaunchTime | None = None
    modelled_us: float = math.inf
    metrics: Mapping[str, float] = field(default_factory=dict)
    known_by: str = ""

    @property
    def time(self) -> Sign | None:
        """Of one launch."""
        if self.metrics.get(DURATION, 0.0) >= SHORTEST_NS:
            return Sign("one launch", self.metrics[DURATION] / 1e3, "us", self.known_by)
        if math.isfinite(self.modelled_us):
            return Sign("one launch", self.modelled_us, "us", Evidence.ESTIMATED)
        return None

    @property
    def us(self) -> float:
        """All its launches, microseconds; 0 where nothing is known."""
        return self.launches * self.time.value if self.time else 0.0

    @property
    def timed(self) -> bool:
        return self.time is not None and self.time.known_by != Evidence.ESTIMATED

    def units(self) -> list[tuple[float, str, Cause]]:
        """How busy units were, percent: the metric that says so, and what a busy one means."""
        found = [
            (self.metrics[metric], metric, cause)
            for metric, cause in ((DRAM_THROUGHPUT, Cause.BANDWIDTH), (L2_THROUGHPUT, Cause.L2))
            if metric in self.metrics
        ]
        if SM_THROUGHPUT in self.metrics:
            unit = _busiest_unit(self.metrics)
            tensor = "pipe_tensor" in unit if unit else _on_tensor_cores(self.modelled)
            cause = Cause.TENSOR if tensor else Cause.INSTRUCTIONS
            found.append((self.metrics[SM_THROUGHPUT], unit or SM_THROUGHPUT, cause))
        return sorted(found, reverse=True)


@dataclass(frozen=True)
class Waiting:
    """Time of a forward in which the GPU waits for launches; estimated, as the cost of a launch is.

    Args:
        us: of `total_us`, the whole forward.
        bound: whether that is what holds the forward back.
    """

    us: float
    total_us: float
    bound: bool


def diagnose(
    inspection: Inspection | None, counters: Counters, gpu: Gpu, stages: Sequence[Stage] = ()
) -> tuple[Diagnosis, ...]:
    """What holds each kernel back, that which takes most of the time first.

    Args:
        inspection: of the file on `gpu`; None where there is none.
        stages: those to name where they can help.
    """
    known = subjects(inspection, counters)
    spent = waiting(inspection, known)
    found = []
    for subject in sorted(known, key=lambda subject: subject.us, reverse=True):
        reasons = tuple(_reasons(subject, gpu, launch_bound=spent is not None and spent.bound))
        helping = tuple(stage.name for stage in stages if reasons and reasons[0].cause in stage.helps)
        found.append(
            Diagnosis(subject.name, subject.launches, subject.time, _roofline(subject), reasons, helping)
        )
    return tuple(found)


def subjects(inspection: Inspection | None, counters: Counters) -> list[Subject]:
    """Every kernel of a forward on every size of grid; those that only the counters know last."""
    found: dict[tuple[str, int, str], Subject] = {}
    matched: set[str | None] = set()
    for index, count in Counter(inspection.recording.sequence if inspection else ()).items():
        assert inspection is not None
        picked = _picked(inspection, index, counters)
        if picked is None:
            continue
        resources, entry = picked
        matched.add(entry)
        key = (resources.kernel, resources.grid_size, resources.binary)
        before = found[key].launches if key in found else 0
        estimate = inspection.estimate
        found[key] = Subject(
            name=resources.kernel,
            launches=before + count,
            resources=resources,
            modelled=estimate.launch_times[resources.launch] if estimate and estimate.launch_times else None,
            modelled_us=estimate.per_launch_us[resources.launch] if estimate else math.inf,
            metrics=counters.figures[entry] if entry is not None else {},
            known_by=counters.known_by,
        )
    grids = Counter(kernel for kernel, _, _ in found)
    named = [
        replace(one, name=f"{kernel} (grid {grid})") if grids[kernel] > 1 else one
        for (kernel, grid, _), one in found.items()
    ]
    return named + [
        Subject(name, counters.launches.get(name, 1), metrics=metrics, known_by=counters.known_by)
        for name, metrics in counters.figures.items()
        if name not in matched
    ]


def waiting(inspection: Inspection | None, known: Sequence[Subject]) -> Waiting | None:
    """How long a forward waits for launches; None without an estimate.

    Where the kernels' times were read, these and the cost of launching say so; else the estimate does.
    """
    estimate = inspection.estimate if inspection else None
    if inspection is None or estimate is None:
        return None
    total = estimate.total_us.value
    waited = estimate.breakdown.get("launches", 0.0) * total
    timed = [one for one in known if one.resources is not None and one.timed]
    if not timed:
        return Waiting(waited, total, estimate.bound == "launches")
    working = total - waited + sum(one.us - one.launches * one.modelled_us for one in timed)
    launches = len(inspection.recording.sequence)
    calls = launches + sum(operation.count for operation in inspection.recording.operations)
    launching = EAGER_LAUNCH_US * (launches - 1) + EAGER_OPERATION_US * (calls - launches)
    waited = max(0.0, launching - working * (calls - 1) / calls)  # until the last one starts
    return Waiting(waited, working + waited, waited > working)


def _picked(inspection: Inspection, index: int, counters: Counters) -> tuple[Resources, str | None] | None:
    """What stands for a launch, and its entry among the counters.

    Of an autotuned launch the config whose grid the counters know, else the one that is estimated fastest.
    """
    estimate = inspection.estimate
    family = [inspection.resources[i] for i in inspection.recording.alternatives[index]]
    fit = [one for one in family if not one.problem]
    if estimate is not None:
        fit.sort(key=lambda one: estimate.per_launch_us[one.launch])
    for one in fit:
        for entry, metrics in counters.figures.items():
            same = entry == one.kernel or entry.startswith(f"{one.kernel} (")
            if same and round(metrics.get(GRID_SIZE, one.grid_size)) == one.grid_size:
                return one, entry
    return (fit[0], None) if fit else None


def _reasons(subject: Subject, gpu: Gpu, *, launch_bound: bool) -> Iterator[Reason]:
    time = subject.time
    if launch_bound and time is not None and time.value < EAGER_LAUNCH_US:
        cost = Sign("starting the next from Python takes", EAGER_LAUNCH_US, "us", Evidence.ESTIMATED)
        yield Reason(Cause.LAUNCHES, (cost,))
    busy = _busy(subject)
    if busy is not None:
        yield busy
    if (programs := _programs(subject, gpu)) is not None:
        yield programs
    yield from _occupancy(subject)
    if busy is None and (signs := tuple(_idle(subject))):
        yield Reason(Cause.LATENCY, signs)


def _busy(subject: Subject) -> Reason | None:
    """The unit that works all the time, if one does."""
    if units := subject.units():
        level, metric, cause = units[0]
        return Reason(cause, (Sign(metric, level, "%", subject.known_by),)) if level >= BUSY_PCT else None
    time = subject.modelled
    if time is None or time.cause == "latency":
        return None
    unit = Cause.TENSOR if _on_tensor_cores(time) else Cause.INSTRUCTIONS
    cause = {"memory": Cause.BANDWIDTH, "l2": Cause.L2}.get(time.cause, unit)
    return Reason(cause, (Sign(MODELLED[time.cause], time.work, "us", Evidence.ESTIMATED),))


def _programs(subject: Subject, gpu: Gpu) -> Reason | None:
    grid, known_by = subject.metrics.get(GRID_SIZE), subject.known_by
    if grid is None and subject.resources is not None:
        grid, known_by = float(subject.resources.grid_size), Evidence.COMPILED
    if grid is None or grid >= gpu.sms:
        return None
    sign = Sign(GRID_SIZE, grid, "programs", known_by)
    return Reason(Cause.PROGRAMS, (sign,), f"{gpu.sms} would give every SM one")


def _occupancy(subject: Subject) -> Iterator[Reason]:
    """Spills, and what leaves room for less than half of the warps where there are programs to fill it."""
    metrics, resources = subject.metrics, subject.resources
    if resources is not None and resources.spills.in_loop:
        words = Sign("spilled in a loop", resources.spills.in_loop, "words", Evidence.COMPILED)
        yield Reason(Cause.REGISTERS, (words,))
    active = metrics.get(WARPS_ACTIVE)
    measured = () if active is None else (Sign(WARPS_ACTIVE, active, "%", subject.known_by),)
    if resources is not None and (limits := resources.occupancy) is not None:
        if resources.waves_per_sm < 1 or limits.theoretical_pct >= LOW_OCCUPANCY_PCT:
            return
        if cause := LIMITERS.get(limits.limiter):
            most = Sign("occupancy at most", limits.theoretical_pct, "%", Evidence.COMPILED)
            yield Reason(cause, (most, *measured), limits.next_step)
    elif active is not None and active < LOW_OCCUPANCY_PCT and metrics.get(WAVES, 0.0) >= 1:
        limit = {name: metrics[name] for name in (LIMIT_REGISTERS, LIMIT_SHARED) if name in metrics}
        if len(limit) == 2:
            tightest = min(limit, key=lambda name: limit[name])
            blocks = Sign(tightest, limit[tightest], "blocks", subject.known_by)
            cause = Cause.REGISTERS if tightest == LIMIT_REGISTERS else Cause.SHARED_MEMORY
            yield Reason(cause, (*measured, blocks))


def _idle(subject: Subject) -> Iterator[Sign]:
    """What shows that no unit is busy, and what the warps wait for."""
    for level, metric, _ in subject.units():
        yield Sign(metric, level, "%", subject.known_by)
    if LONG_SCOREBOARD in subject.metrics:
        yield Sign(LONG_SCOREBOARD, subject.metrics[LONG_SCOREBOARD], "warps", subject.known_by)
    if not subject.units() and subject.modelled is not None:
        yield Sign("its dependent steps take", subject.modelled.latency, "us", Evidence.ESTIMATED)


def _roofline(subject: Subject) -> Sign | None:
    if subject.modelled is None or subject.time is None:
        return None
    share = 100.0 * subject.modelled.floor / subject.time.value
    return Sign("of its roofline", share, "%", Evidence.ESTIMATED)


def _busiest_unit(metrics: Mapping[str, float]) -> str | None:
    """The part of the SM throughput that is the largest, where a profile holds parts of it."""
    parts = [
        name
        for name in metrics
        if name != SM_THROUGHPUT and name.startswith(SM_PARTS) and name.endswith(OF_PEAK_ELAPSED)
    ]
    return max(parts, key=lambda name: metrics[name], default=None)


def _on_tensor_cores(time: LaunchTime | None) -> bool:
    return time is not None and time.rate not in ("", "fp32")
