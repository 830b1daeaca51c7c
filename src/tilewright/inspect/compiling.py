"""Compiles recorded launches for a target that is not there. For worker processes."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import triton
from triton.compiler.errors import CompilationError

from tilewright.errors import Where
from tilewright.gpu.model import Gpu
from tilewright.inspect import sass
from tilewright.inspect.model import Resources, Spills
from tilewright.inspect.occupancy import occupancy, waves
from tilewright.launches.model import Launch
from tilewright.launches.recorder import Bound

_BLOCK_SIZE = re.compile(r"\.reqntid\s+(\d+)")
_DIAGNOSTIC = re.compile(r"^(?P<path>.+?):(?P<line>\d+):\d+: error: (?P<message>.+)$", re.MULTILINE)
_MESSAGE_LENGTH = 300
_ASYNCHRONOUS = ("async_copy_global_to_local", "async_tma_copy_global_to_local")


@dataclass(frozen=True)
class Compiled:
    """One distinct launch after compilation.

    Args:
        ir: Triton IR; of a Gluon kernel, which has none, Triton GPU IR. Empty when it does not compile.
        pipelined: whether the binary copies ahead asynchronously, so that num_stages took effect.
        wgmma: whether any of its matrix products is one of a whole warp group.
        loop_instructions: instructions inside the binary's loops, one execution of each.
    """

    resources: Resources
    ir: str = ""
    pipelined: bool = False
    wgmma: bool = False
    loop_instructions: int = 0


def compile_launch(
    index: int, launch: Launch, bound: Bound, gpu: Gpu, *, count: int, path: str, source: str
) -> Compiled:
    """Compile one distinct launch and read its resources off the binary.

    A kernel that does not compile, or that cannot run on the target, comes back with a `problem`.

    Args:
        index: of the launch in its recording.
        count: how often the forward launches it.
        path, source: the candidate's file, for the line of an error.

    Raises:
        SetupError: Triton's CUDA tools are missing.
    """
    target = triton.runtime.driver.active.get_current_target()
    try:
        with _diagnostics() as said:
            kernel = bound.kernel.compile(bound.source, target=target, options=bound.options.__dict__)
    except Exception as error:  # noqa: BLE001 the compiler raises whatever it meets; reported with its line
        return Compiled(_failed(index, launch, count, _explained(error, said.text, launch, path, source)))
    binary = sass.read(kernel.asm["cubin"], gpu.compute_capability)
    required = _BLOCK_SIZE.search(kernel.asm["ptx"])
    block_size = int(required.group(1)) if required else launch.num_warps * gpu.warp_size
    shared = kernel.metadata.shared + binary.shared_static_bytes
    limits = occupancy(gpu, registers=binary.registers, shared_bytes=shared, block_size=block_size)
    grid_size = launch.programs * launch.num_ctas
    problem = _too_much(gpu, shared, block_size, binary.registers, fits=limits is not None)
    resources = Resources(
        launch=index,
        kernel=launch.kernel,
        count=count,
        registers_per_thread=binary.registers,
        spills=binary.spills,
        stack_bytes=binary.stack_bytes,
        shared_static_bytes=binary.shared_static_bytes,
        shared_dynamic_bytes=kernel.metadata.shared,
        grid_size=grid_size,
        block_size=block_size,
        waves_per_sm=waves(gpu, grid_size, limits.blocks_per_sm) if limits else 0.0,
        occupancy=None if problem else limits,
        problem=problem,
        binary=binary.sha256,
    )
    gpu_ir = kernel.asm["ttgir"]
    return Compiled(
        resources,
        kernel.asm.get("ttir") or gpu_ir,
        pipelined=any(name in gpu_ir for name in _ASYNCHRONOUS),
        wgmma="wgmma" in kernel.asm["ptx"],
        loop_instructions=binary.loop_instructions,
    )


def _too_much(gpu: Gpu, shared: int, block_size: int, registers: int, *, fits: bool) -> str:
    """Why a block cannot run on the target; empty when it can."""
    if shared > gpu.shared_memory_per_block_bytes:
        most = gpu.shared_memory_per_block_bytes
        return f"wants {shared} bytes of shared memory, a block of {gpu.name} has {most}"
    if block_size > gpu.max_threads_per_block:
        return f"wants {block_size} threads, a block of {gpu.name} has {gpu.max_threads_per_block}"
    if not fits:
        return (
            f"{block_size} threads of {registers} registers do not fit the "
            f"{gpu.registers_per_sm} registers of an SM of {gpu.name}"
        )
    return ""


def _failed(index: int, launch: Launch, count: int, problem: str) -> Resources:
    return Resources(
        launch=index,
        kernel=launch.kernel,
        count=count,
        registers_per_thread=0,
        spills=Spills(0, 0),
        stack_bytes=0,
        shared_static_bytes=0,
        shared_dynamic_bytes=0,
        grid_size=launch.programs * launch.num_ctas,
        block_size=launch.num_warps * 32,
        waves_per_sm=0.0,
        occupancy=None,
        problem=problem,
    )


def _explained(error: Exception, said: str, launch: Launch, path: str, source: str) -> str:
    """The compiler's own message in one line, with the line of the candidate's file."""
    line = launch.line
    message = str(error) or type(error).__name__
    innermost: BaseException | None = error
    while innermost is not None:  # an error inside a helper is the cause of the one at its call
        if isinstance(innermost, CompilationError):
            line = _line(innermost, source) or line
            message = innermost.error_message or str(innermost.__cause__ or "") or message
        innermost = innermost.__cause__
    if diagnostic := next((m for m in _DIAGNOSTIC.finditer(said) if m["path"] == path), None):
        line, message = int(diagnostic["line"]), diagnostic["message"]
    short = " ".join(message.split())
    if len(short) > _MESSAGE_LENGTH:
        short = short[:_MESSAGE_LENGTH] + "…"
    lines = source.splitlines()
    shown = f" at `{lines[line - 1].strip()}`" if line is not None and line <= len(lines) else ""
    return f"{Where(path, line)}: {launch.kernel} does not compile{shown}: {short}"


def _line(error: CompilationError, source: str) -> int | None:
    """The line in the candidate's file: Triton counts from the kernel's `def`."""
    position = source.find(error.src.strip()) if error.src else -1
    if position < 0 or not hasattr(error.node, "lineno"):
        return None
    return source.count("\n", 0, position) + int(error.node.lineno)


class _Said:
    text = ""


@contextlib.contextmanager
def _diagnostics() -> Iterator[Any]:
    """What the compiler's passes print to the process's standard error."""
    said = _Said()
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            said.text = file.read().decode(errors="replace")
