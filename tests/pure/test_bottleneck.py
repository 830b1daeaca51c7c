"""What holds a kernel back, told from counters, from what is compiled and from the estimate."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tilewright.evidence import Evidence, Figure
from tilewright.gpu.catalogue import find
from tilewright.inspect.model import (
    Estimate,
    Floor,
    Inspection,
    LaunchTime,
    Occupancy,
    Resources,
    Spills,
)
from tilewright.launches.model import Launch, Recording
from tilewright.profile.metrics import DRAM_THROUGHPUT, DURATION, GRID_SIZE, L2_THROUGHPUT, SM_THROUGHPUT
from tilewright.stages.bottleneck import Counters, Diagnosis, diagnose
from tilewright.stages.catalogue import KINDS, stages
from tilewright.stages.diagnosis import findings, outlook
from tilewright.stages.model import Cause, Stage

GPU = find("h100")
STAGES = {stage.name: stage for stage in stages("single")}
FULL = Occupancy(16, 16, 16, 32, 16, 64, 100.0, "warps", "")
CROWDED = Occupancy(2, 9, 16, 32, 2, 8, 12.5, "registers", "3 blocks need registers from 255 to 168")
TENSOR_UNIT = "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_elapsed"
LSU_UNIT = "sm__inst_executed_pipe_lsu.avg.pct_of_peak_sustained_elapsed"
IDLE = LaunchTime(latency=48.0, l2=2.0, memory=3.0, compute=4.0, floor=2.0, rate="")


def figure(value: float) -> Figure:
    return Figure(value, "µs", Evidence.ESTIMATED)


def inspected(
    time: LaunchTime = IDLE,
    *,
    count: int = 1,
    grid: int = 1024,
    occupancy: Occupancy = FULL,
    spilled: int = 0,
    waiting: float = 0.0,
    floor_us: float = 2.0,
) -> Inspection:
    """A forward of one kernel, "work", launched `count` times; `waiting` is the share that launches take."""
    kernel_us = time.work + 2.0
    total = count * kernel_us / (1.0 - waiting)
    resources = Resources(
        0,
        "work",
        count,
        64,
        Spills(spilled, 0),
        0,
        0,
        0,
        grid,
        128,
        grid / (16 * GPU.sms),
        occupancy,
        "",
        "a",
    )
    shares = {"launches": waiting, "latency": 0.0, "memory": 0.0, "compute": 0.0, time.cause: 1.0 - waiting}
    return Inspection(
        GPU.name,
        Recording((Launch("work", (grid, 1, 1), (), 4, 2, 1),), (0,) * count, ((0,),)),
        (resources,),
        Floor(*(figure(floor_us) for _ in range(5)), count, count, figure(5.0 * count)),
        Estimate(figure(total), (kernel_us,), max(shares, key=shares.__getitem__), shares, (), (time,)),
    )


def only(inspection: Inspection | None, **metrics: float) -> Diagnosis:
    named = {
        "sm": SM_THROUGHPUT,
        "dram": DRAM_THROUGHPUT,
        "l2": L2_THROUGHPUT,
        "ns": DURATION,
        "grid": GRID_SIZE,
    }
    figures = {named.get(name, name): value for name, value in metrics.items()}
    counters = Counters({"work": figures}) if figures else Counters()
    (diagnosis,) = diagnose(inspection, counters, GPU, stages("single"))
    return diagnosis


def causes(diagnosis: Diagnosis) -> list[Cause]:
    return [reason.cause for reason in diagnosis.reasons]


@pytest.mark.parametrize(
    ("inspection", "cause"),
    [
        (inspected(count=500, waiting=0.7, time=replace(IDLE, latency=8.0)), Cause.LAUNCHES),
        (inspected(), Cause.LATENCY),
        (inspected(grid=12), Cause.PROGRAMS),
        (inspected(grid=16384, occupancy=CROWDED), Cause.REGISTERS),
        (inspected(spilled=40), Cause.REGISTERS),
        (inspected(grid=16384, occupancy=replace(CROWDED, limiter="shared_mem")), Cause.SHARED_MEMORY),
        (inspected(replace(IDLE, memory=60.0)), Cause.BANDWIDTH),
        (inspected(replace(IDLE, l2=60.0)), Cause.L2),
        (inspected(replace(IDLE, compute=60.0, rate="tf32")), Cause.TENSOR),
        (inspected(replace(IDLE, compute=60.0, rate="fp32")), Cause.INSTRUCTIONS),
    ],
)
def test_what_is_compiled_and_estimated_names_each_cause(inspection: Inspection, cause: Cause) -> None:
    diagnosis = only(inspection)
    assert causes(diagnosis)[0] is cause
    for reason in diagnosis.reasons:
        assert reason.signs
        assert {sign.known_by for sign in reason.signs} <= {Evidence.COMPILED, Evidence.ESTIMATED}
    assert diagnosis.stages == tuple(name for name, stage in STAGES.items() if cause in stage.helps)


@pytest.mark.parametrize(
    ("metrics", "cause"),
    [
        ({"dram": 85.0, "sm": 30.0, "l2": 70.0}, Cause.BANDWIDTH),
        ({"dram": 20.0, "sm": 30.0, "l2": 75.0}, Cause.L2),
        ({"dram": 20.0, "sm": 75.0, TENSOR_UNIT: 75.0}, Cause.TENSOR),
        ({"dram": 20.0, "sm": 75.0, LSU_UNIT: 75.0}, Cause.INSTRUCTIONS),
        ({"dram": 20.0, "sm": 75.0}, Cause.INSTRUCTIONS),
        ({"dram": 20.0, "sm": 30.0}, Cause.LATENCY),
        ({"dram": 20.0, "sm": 30.0, "grid": 12.0}, Cause.PROGRAMS),
    ],
)
def test_counters_alone_name_a_cause(metrics: dict[str, float], cause: Cause) -> None:
    diagnosis = only(None, **metrics)
    assert causes(diagnosis)[0] is cause
    assert {sign.known_by for sign in diagnosis.reasons[0].signs} == {"profile"}


@pytest.mark.parametrize(
    ("limits", "cause"), [((2.0, 9.0), Cause.REGISTERS), ((9.0, 2.0), Cause.SHARED_MEMORY)]
)
def test_counters_alone_say_what_leaves_room_for_few_warps(limits: tuple[float, float], cause: Cause) -> None:
    registers, shared = limits
    metrics = {
        "sm": 30.0,
        "sm__warps_active.avg.pct_of_peak_sustained_active": 12.0,
        "launch__occupancy_limit_registers": registers,
        "launch__occupancy_limit_shared_mem": shared,
        "launch__waves_per_multiprocessor": 3.0,
    }
    assert causes(only(None, **metrics))[0] is cause
    assert causes(only(None, **{**metrics, "launch__waves_per_multiprocessor": 0.5}))[0] is Cause.LATENCY


def test_counters_overrule_the_estimate() -> None:
    modelled = inspected(replace(IDLE, memory=60.0))
    assert causes(only(modelled))[0] is Cause.BANDWIDTH
    assert causes(only(modelled, dram=10.0, sm=80.0))[0] is Cause.INSTRUCTIONS
    assert causes(only(modelled, dram=10.0, sm=20.0))[0] is Cause.LATENCY


def test_of_tensor_cores_the_compiled_kernel_speaks_where_no_counter_does() -> None:
    diagnosis = only(inspected(replace(IDLE, rate="bf16")), sm=80.0, dram=10.0)
    assert causes(diagnosis)[0] is Cause.TENSOR


def test_the_share_of_the_roofline_rests_on_the_time_that_was_read() -> None:
    estimated, read = only(inspected()), only(inspected(), ns=4000.0)
    assert estimated.time is not None and read.time is not None
    assert (estimated.time.value, estimated.time.known_by) == (50.0, "estimated")
    assert (read.time.value, read.time.known_by) == (4.0, "profile")
    assert estimated.roofline is not None and read.roofline is not None
    assert (estimated.roofline.value, read.roofline.value) == (4.0, 50.0)
    assert read.roofline.known_by == "estimated"


def test_a_duration_that_cannot_be_in_nanoseconds_is_not_believed() -> None:
    diagnosis = only(inspected(), ns=15.9)
    assert diagnosis.time is not None
    assert diagnosis.time.known_by == "estimated"


def test_a_profile_is_matched_by_kernel_and_grid() -> None:
    inspection = inspected(grid=1024)
    figures = {
        "work (grid 64)": {GRID_SIZE: 64.0, SM_THROUGHPUT: 90.0},
        "work (grid 1024)": {GRID_SIZE: 1024.0, DRAM_THROUGHPUT: 90.0},
        "working": {GRID_SIZE: 1024.0, L2_THROUGHPUT: 90.0},
    }
    found = {d.kernel: d for d in diagnose(inspection, Counters(figures), GPU)}
    assert set(found) == {"work", "work (grid 64)", "working"}
    assert causes(found["work"])[0] is Cause.BANDWIDTH


def test_the_kernel_that_takes_most_of_the_time_comes_first() -> None:
    figures = {
        "small": {DURATION: 1000.0, SM_THROUGHPUT: 1.0},
        "often": {DURATION: 2000.0, SM_THROUGHPUT: 1.0},
        "long": {DURATION: 9000.0, SM_THROUGHPUT: 1.0},
    }
    found = diagnose(None, Counters(figures, Evidence.MEASURED, {"often": 10}), GPU)
    assert [(d.kernel, d.launches) for d in found] == [("often", 10), ("long", 1), ("small", 1)]


def test_measured_times_decide_whether_a_forward_waits_for_launches() -> None:
    """500 launches cost 12500 us; kernels of 10 us wait for most of that, of 40 us for nothing."""
    inspection = inspected(count=500, waiting=0.7, time=replace(IDLE, latency=8.0))
    assert causes(only(inspection, ns=10000.0, sm=1.0))[0] is Cause.LAUNCHES
    assert causes(only(inspection, ns=40000.0, sm=1.0))[0] is Cause.LATENCY


def test_a_single_launch_is_waited_for_by_nobody() -> None:
    assert causes(only(inspected(), ns=5000.0, dram=80.0)) == [Cause.BANDWIDTH]


def test_findings_are_one_sentence_each_with_figures_and_how_they_are_known() -> None:
    forward, kernel = findings(inspected(grid=12), {}, GPU)
    assert forward == "estimated 50 us, 25x the roofline floor of 2.0 us; bound by latency"
    assert kernel == (
        "work, 1 launch, 50 us (estimated), 4 % of its roofline (estimated): "
        "too few programs: launch__grid_size 12 programs (compiled); 132 would give every SM one; "
        "latency chain: its dependent steps take 48 us (estimated)"
    )
    assert findings(None, {}, GPU) == ()


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_a_stage_that_helps(cause: Cause) -> None:
    for kind in KINDS:
        assert any(cause in stage.helps for stage in stages(kind))


# What a stage can gain at most


def stage(name: str) -> Stage:
    return STAGES[name]


def profiled(**metrics: float) -> dict[str, dict[str, float]]:
    named = {"sm": SM_THROUGHPUT, "dram": DRAM_THROUGHPUT, "ns": DURATION}
    return {"work": {named.get(name, name): value for name, value in metrics.items()}}


def test_a_launch_bound_forward_skips_what_only_changes_kernels() -> None:
    inspection = inspected(count=500, waiting=0.7, time=replace(IDLE, latency=8.0))
    skipped = outlook(stage("block_tiling"), inspection)
    assert not skipped.helps
    assert "launch-bound: 500 launches" in skipped.why
    assert skipped.at_most is not None
    assert skipped.at_most.value == pytest.approx(1 / 0.7)
    assert outlook(stage("algorithm"), inspection).helps


def test_without_counters_or_waiting_nothing_bounds_a_stage() -> None:
    for name in STAGES:
        found = outlook(stage(name), inspected())
        assert found.helps
        assert (found.at_most is None) == (name != "algorithm")
    assert outlook(stage("block_tiling"), None).helps


def test_work_of_a_busy_unit_stays_where_a_stage_does_nothing_about_it() -> None:
    """Tensor cores that work 97 % of the time leave 1.03x to whoever does not change their work."""
    metrics = profiled(sm=97.0, dram=20.0, ns=50000.0, **{TENSOR_UNIT: 97.0})
    skipped = outlook(stage("grid_and_parallel"), inspected(), metrics)
    assert not skipped.helps
    assert skipped.at_most is not None
    assert skipped.at_most.value == pytest.approx(1 / 0.97)
    assert "sm__pipe_tensor" in skipped.why and "97.0 % (profile)" in skipped.why
    assert outlook(stage("block_tiling"), inspected(), metrics).helps


def test_a_unit_that_is_half_busy_bounds_a_stage_and_skips_nothing() -> None:
    metrics = profiled(sm=50.0, dram=20.0, ns=50000.0, **{TENSOR_UNIT: 50.0})
    found = outlook(stage("grid_and_parallel"), inspected(), metrics)
    assert found.helps
    assert found.at_most is not None
    assert found.at_most.value == pytest.approx(2.0)


def test_memory_at_its_limit_skips_every_stage_only_if_the_bytes_cannot_be_fewer() -> None:
    """92 % of the peak is what a kernel reaches: with no byte too many nothing is left to gain."""
    busy = profiled(dram=92.0, sm=20.0, ns=50000.0)
    fewest = inspected(replace(IDLE, memory=48.0, floor=46.0))
    twice = inspected(replace(IDLE, memory=48.0, floor=23.0))
    assert not outlook(stage("block_tiling"), fewest, busy).helps
    found = outlook(stage("block_tiling"), twice, busy)
    assert found.helps
    assert found.at_most is not None
    assert found.at_most.value == pytest.approx(2.0)


def test_a_forward_on_its_own_floor_leaves_nothing_to_an_algorithm() -> None:
    assert not outlook(stage("algorithm"), inspected(floor_us=49.0)).helps
    assert outlook(stage("algorithm"), inspected(floor_us=40.0)).helps
