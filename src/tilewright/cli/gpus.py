"""`tilewright gpus`: what is known of each GPU."""

from __future__ import annotations

import click
from rich import box
from rich.table import Table

from tilewright.cli.common import console, emit, json_option
from tilewright.gpu.catalogue import catalogue, find
from tilewright.gpu.model import Gpu
from tilewright.gpu.plugged import plugged_in


@click.command(epilog="Example: tilewright gpus h100")
@click.argument("name", required=False)
@click.option("--plugged", is_flag=True, help="Also look for the GPU in this machine, and mark it.")
@json_option
def command(name: str | None, plugged: bool, as_json: bool) -> None:
    """List the GPUs that can be a target, or show all that is known of one.

    A GPU that is plugged in, or written out in a request, works without being listed here.
    """
    shown = (find(name),) if name is not None else catalogue()
    present = plugged_in() if plugged else None
    if as_json:
        document: dict[str, object] = {"gpus": shown}
        if plugged:
            document["plugged"] = present
        emit(document)
        return
    if name is not None:
        console.print(_details(shown[0]))
    else:
        listed = any(present and gpu.name == present.name for gpu in shown)
        console.print(_table(shown if listed or present is None else (*shown, present), present))
        console.print("Rates are dense, TFLOP/s, accumulated in float32.", style="dim")
    if plugged:
        console.print(
            f"Plugged in: {present.name} ({present.source})" if present else "No NVIDIA GPU is plugged in."
        )


def _table(gpus: tuple[Gpu, ...], present: Gpu | None) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("GPU", no_wrap=True)
    for heading in ("cc", "SMs", "GB/s", "tf32", "fp16", "fp8", "L2 MiB", "GiB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for gpu in gpus:
        mark = " *" if present and gpu.name == present.name else ""
        table.add_row(
            gpu.name + mark,
            _capability(gpu),
            str(gpu.sms),
            f"{gpu.memory_bandwidth_gbs:g}",
            *(
                f"{gpu.tflops[operand]:.4g}" if operand in gpu.tflops else "-"
                for operand in ("tf32", "fp16", "fp8")
            ),
            f"{gpu.l2_bytes / 2**20:g}",
            f"{gpu.memory_bytes / 2**30:.4g}",
        )
    return table


def _details(gpu: Gpu) -> Table:
    table = Table(box=None, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    rates = ", ".join(f"{operand} {rate:g}" for operand, rate in gpu.tflops.items())
    for label, value in (
        ("name", gpu.name),
        ("also", ", ".join(gpu.aliases) or "-"),
        ("architecture", f"{gpu.architecture}, compute capability {_capability(gpu)}"),
        ("SMs", f"{gpu.sms} at up to {gpu.clock_mhz:g} MHz"),
        ("memory", f"{gpu.memory_bytes / 2**30:.4g} GiB at {gpu.memory_bandwidth_gbs:g} GB/s"),
        ("L2", f"{gpu.l2_bytes / 2**20:g} MiB"),
        ("dense TFLOP/s", rates or "not known"),
        ("registers", f"{gpu.registers_per_sm} per SM, at most {gpu.max_registers_per_thread} per thread"),
        (
            "shared memory",
            f"{gpu.shared_memory_per_sm_bytes / 2**10:g} KiB per SM, "
            f"at most {gpu.shared_memory_per_block_bytes / 2**10:g} KiB per block",
        ),
        ("at once per SM", f"{gpu.max_warps_per_sm} warps, {gpu.max_blocks_per_sm} blocks"),
        ("source", gpu.source),
    ):
        table.add_row(label, value)
    return table


def _capability(gpu: Gpu) -> str:
    return f"{gpu.compute_capability // 10}.{gpu.compute_capability % 10}"
