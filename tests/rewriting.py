"""A file as a source rewrite sees it, with launches written by hand."""

from __future__ import annotations

from tilewright.gpu.model import Gpu
from tilewright.kernelfile import KernelFile
from tilewright.launches.model import Argument, Launch, Recording
from tilewright.proposers.rewrite.base import Rewrite, View

GPU = Gpu(
    name="Test GPU", architecture="Hopper", compute_capability=90, sms=132, memory_bandwidth_gbs=3350.0,
    tflops={}, clock_mhz=1980.0, memory_bytes=80 * 10**9, l2_bytes=50 * 2**20,
    shared_memory_per_sm_bytes=233472, shared_memory_per_block_bytes=232448,
    max_warps_per_sm=64, max_blocks_per_sm=32, source="made up",
)  # fmt: skip
HEAD = "import torch\nimport torch.nn as nn\nimport triton\nimport triton.language as tl\n\n\n@triton.jit\n"


def view(
    source: str, grid: tuple[int, int, int] = (1, 1, 1), **values: int | float | tuple[int, ...]
) -> View:
    """Each kernel launched once.

    Args:
        values: of arguments by name: an int or float is a scalar's or a constant's, a tuple a tensor's shape.
            Constants may be left out where a launch passes a literal.
    """
    file = KernelFile.parse(source)
    launches = []
    for kernel in file.kernels:
        site = next((one for one in file.launches if one.kernel == kernel.name), None)
        if site is None:
            continue
        arguments = []
        for number, parameter in enumerate(kernel.parameters):
            passed = site.passed(parameter.name)
            value = values.get(parameter.name, passed.value.literal if passed else None)
            arguments.append(_argument(parameter.name, parameter.constexpr, value, number))
        launches.append(Launch(kernel.name, grid, tuple(arguments), 4, 3, 1))
    recording = Recording(tuple(launches), tuple(range(len(launches))))
    return View(file, recording, GPU)


def rewritten(
    rewrite: Rewrite,
    source: str,
    choice: str | None = None,
    grid: tuple[int, int, int] = (1, 1, 1),
    **values: int | float | tuple[int, ...],
) -> str:
    """The text that a rewrite of the file's first kernel makes, in its likeliest way unless told."""
    seen = view(source, grid, **values)
    kernel = seen.file.kernels[0]
    choices = rewrite.choices(seen, kernel)
    assert choice is None or choice in choices
    return rewrite.apply(seen, kernel, choice or choices[0])


def changes(before: str, after: str) -> list[str]:
    """Lines that differ: those of the second file, in order."""
    old = set(before.splitlines())
    return [line.strip() for line in after.splitlines() if line not in old]


def _argument(name: str, constexpr: bool, value: object, number: int) -> Argument:
    if constexpr:
        return Argument(name, "constexpr", "constexpr", str(value))
    if isinstance(value, tuple):
        strides = [1]
        for size in reversed(value[1:]):
            strides.insert(0, strides[0] * size)
        return Argument(
            name, "tensor", "*fp32", None, value, tuple(strides), number, 0, divisible_by_16=True, itemsize=4
        )
    if isinstance(value, int):
        return Argument(name, "scalar", "i32", str(value), divisible_by_16=value % 16 == 0)
    return Argument(name, "tensor", "*fp32", None, (1024,), (1,), number, 0, divisible_by_16=True, itemsize=4)
