"""`tilewright inspect`: what a candidate's launches need on a target, without running them."""

from __future__ import annotations

import click
from rich.table import Table

from tilewright.cli.common import (
    console,
    emit,
    entry_option,
    gpu_option,
    json_option,
    log,
    map_option,
    problem_option,
    read_code,
    resolve_gpu,
)
from tilewright.evidence import Evidence, Figure
from tilewright.gpu.model import Gpu
from tilewright.inspect.model import Inspection, Resources
from tilewright.launches.model import Launch
from tilewright.problem import Problem

EPILOG = (
    "Example: tilewright inspect examples/vanilla_rnn/current.py "
    "--problem examples/vanilla_rnn/problem.py --gpu h100"
)


@click.command(epilog=EPILOG)
@click.argument("path", metavar="[CODE.py]", required=False)
@entry_option
@problem_option
@map_option
@gpu_option
@json_option
def command(
    path: str | None,
    entry: str | None,
    problem: Problem,
    pairs: tuple[str, ...],
    gpu: str | None,
    as_json: bool,
) -> int:
    """Compile CODE.py's launches for a GPU that need not be here, and say what they need there.

    Exit code 1 when a launch cannot run on the target.
    """
    from tilewright.inspect.api import inspect

    code = read_code(path, entry, problem, pairs, judged=False)
    target = resolve_gpu(gpu)
    with log.status(f"compiling for {target.name}"):
        inspection = inspect(problem, code.source, target, path=code.path)
    if as_json:
        emit(inspection)
    else:
        _show(inspection, target)
    return 0 if inspection.runs else 1


def _show(inspection: Inspection, gpu: Gpu) -> None:
    for group in _groups(inspection):
        console.print(_kernel_table(inspection, group, gpu))
    console.print(_forward_table(inspection))
    for note in inspection.estimate.notes if inspection.estimate else ():
        console.print(f"assumed: {note}")


def _groups(inspection: Inspection) -> list[list[int]]:
    """Launches that show the same figures, together: a step counter alone makes no new table."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for r in inspection.resources:
        launch = inspection.recording.launches[r.launch]
        key = (r.kernel, r.binary, launch.grid, launch.config, launch.line, r.problem)
        groups.setdefault(key, []).append(r.launch)
    return list(groups.values())


def _kernel_table(inspection: Inspection, group: list[int], gpu: Gpu) -> Table:
    launch, r = inspection.recording.launches[group[0]], inspection.resources[group[0]]
    count = sum(inspection.resources[i].count for i in group)
    table = Table(title=_title(launch, count), title_justify="left", show_header=True)
    table.add_column("metric", no_wrap=True)
    table.add_column("value", justify="right")
    table.add_column("known by")
    if r.problem:
        table.add_row("cannot run", r.problem, Evidence.COMPILED)
        return table
    for name, value in _resource_rows(r):
        table.add_row(name, value, Evidence.COMPILED)
    occupancy = r.occupancy
    if occupancy is not None:
        table.add_row("limiter", occupancy.limiter, Evidence.COMPILED)
        if occupancy.next_step:
            table.add_row("next step", occupancy.next_step, Evidence.COMPILED)
    if inspection.estimate is not None:
        slowest = max(inspection.estimate.per_launch_us[i] for i in group)
        table.add_row("time of one launch", f"{slowest:.1f} µs", Evidence.ESTIMATED)
    return table


def _title(launch: Launch, count: int) -> str:
    times = f"{count} ×" if count else "not in the sequence"
    config = f", autotune config {launch.config}" if launch.config is not None else ""
    line = f", line {launch.line}" if launch.line else ""
    constants = " ".join(f"{a}={b}" for a, b in launch.constants.items() if a.isupper())
    grid = "×".join(map(str, launch.grid))
    return f"{launch.kernel} ({times}{line}{config}) grid {grid} {constants} num_warps={launch.num_warps}"


def _resource_rows(r: Resources) -> list[tuple[str, str]]:
    rows = [
        ("launch__registers_per_thread", str(r.registers_per_thread)),
        ("spilled words in loops", str(r.spills.in_loop)),
        ("spilled words outside loops", str(r.spills.outside)),
        ("launch__shared_mem_per_block_static", f"{r.shared_static_bytes} B"),
        ("launch__shared_mem_per_block_dynamic", f"{r.shared_dynamic_bytes} B"),
        ("launch__grid_size", str(r.grid_size)),
        ("launch__block_size", str(r.block_size)),
        ("launch__waves_per_multiprocessor", f"{r.waves_per_sm:.2f}"),
    ]
    if o := r.occupancy:
        rows += [
            ("launch__occupancy_limit_registers", str(o.limit_registers)),
            ("launch__occupancy_limit_shared_mem", str(o.limit_shared_mem)),
            ("launch__occupancy_limit_warps", str(o.limit_warps)),
            ("launch__occupancy_limit_blocks", str(o.limit_blocks)),
            ("sm__maximum_warps_per_active_cycle_pct", f"{o.theoretical_pct:.2f} %"),
        ]
    return rows


def _forward_table(inspection: Inspection) -> Table:
    table = Table(title=f"one forward on {inspection.gpu}", title_justify="left", show_header=True)
    table.add_column("figure", no_wrap=True)
    table.add_column("value", justify="right")
    table.add_column("known by")
    table.add_row("launches", str(len(inspection.recording.sequence)), Evidence.COMPILED)
    for operation in inspection.recording.operations:
        table.add_row(f"PyTorch {operation.name}", f"{operation.count} ×", Evidence.COMPILED)
    if floor := inspection.floor:
        table.add_row("longest chain of launches", str(floor.chain), Evidence.COMPILED)
        for name, figure in (
            ("fewest bytes", floor.bytes),
            ("operations", floor.flops),
            ("roofline floor", floor.floor_us),
            ("that chain, kernels free", floor.launch_us),
        ):
            table.add_row(name, _amount(figure), figure.evidence)
    if estimate := inspection.estimate:
        shares = ", ".join(f"{k} {v:.0%}" for k, v in estimate.breakdown.items() if v >= 0.005)
        table.add_row("time", _amount(estimate.total_us), estimate.total_us.evidence)
        table.add_row(f"bound by {estimate.bound}", shares, estimate.total_us.evidence)
    return table


def _amount(figure: Figure) -> str:
    return (
        f"{figure.value:,.0f} {figure.unit}" if figure.value >= 100 else f"{figure.value:.3g} {figure.unit}"
    )
