"""Reads registers, memory and spills off a binary, with the tools that Triton's wheel carries."""

from __future__ import annotations

import hashlib
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tilewright.errors import SetupError
from tilewright.inspect.model import Spills

_USAGE = re.compile(r"REG:(\d+) STACK:(\d+) SHARED:(\d+)")
_INSTRUCTION = re.compile(r"^\s*/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;?\s*/\* (0x[0-9a-f]{16}) \*/")
_ENCODING = re.compile(r"/\* (0x[0-9a-f]{16}) \*/")
_BRANCH = re.compile(r"\bBRA(?:\.\w+)*\s+(?:\S+,\s*)*`?\(?(?:0x([0-9a-f]+))")
_SPILL = re.compile(r"\b(?:STL|LDL)((?:\.\w+)*)\s")
# Since cc 9.0 the compiler's own figure includes what the driver reserves of each block's share.
_RESERVED_IN_BINARY_SINCE = 90
_RESERVED = 1024
_FEWEST_REGISTERS = 16  # what a thread is given at the least, and what Nsight Compute then reports


@dataclass(frozen=True)
class Binary:
    """What a cubin says about its kernel.

    Args:
        registers: per thread.
        stack_bytes: local memory of a thread.
        shared_static_bytes: shared memory fixed at compile time, without the driver's share.
        spills: loads and stores of local memory.
        loop_instructions: instructions inside loops, one execution of each loop.
        sha256: of the machine code.
    """

    registers: int
    stack_bytes: int
    shared_static_bytes: int
    spills: Spills
    loop_instructions: int
    sha256: str


def tool(name: str) -> str:
    """The path of one of the CUDA tools in Triton's wheel.

    Raises:
        SetupError: it is not there.
    """
    from triton import knobs

    try:
        return str(getattr(knobs.nvidia, name).path)
    except (AttributeError, RuntimeError):
        raise SetupError(
            f"Triton's {name} was not found",
            mend="install Triton's own wheel, or put the CUDA toolkit's tools on PATH",
        ) from None


def read(cubin: bytes, compute_capability: int) -> Binary:
    """Disassemble a cubin of one kernel.

    Raises:
        SetupError: cuobjdump is missing or does not understand the binary.
    """
    with tempfile.TemporaryDirectory(prefix="tilewright-") as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        text = _dump(["--dump-resource-usage", str(path)]) + _dump(["-sass", str(path)])
    usage = _USAGE.search(text)
    if usage is None:
        raise SetupError("cuobjdump does not report this binary's registers", mend="update Triton")
    registers, stack, shared = map(int, usage.groups())
    if compute_capability >= _RESERVED_IN_BINARY_SINCE:
        shared = max(shared - _RESERVED, 0)
    code = instructions(text)
    digest = hashlib.sha256("".join(_ENCODING.findall(text)).encode()).hexdigest()
    registers = max(registers, _FEWEST_REGISTERS)
    return Binary(registers, stack, shared, spills(code), len(_inside(code)), digest)


def instructions(text: str) -> list[tuple[int, str]]:
    """Address and text of each instruction in cuobjdump's listing."""
    found = (_INSTRUCTION.match(line) for line in text.splitlines())
    return [(int(match.group(1), 16), match.group(2)) for match in found if match]


def loops(code: Sequence[tuple[int, str]]) -> list[tuple[int, int]]:
    """Address ranges of loops: from the target of each backward branch to the branch itself.

    The branch to itself behind the last instruction, where a prefetch would otherwise run on, is
    no loop.
    """
    ranges = []
    for address, text in code:
        branch = _BRANCH.search(text)
        if branch and (target := int(branch.group(1), 16)) < address:
            ranges.append((target, address))
    return ranges


def spills(code: Sequence[tuple[int, str]]) -> Spills:
    """Words that one thread moves to and from local memory, inside loops and outside."""
    inside = _inside(code)
    counts = {True: 0, False: 0}
    for address, text in code:
        if match := _SPILL.search(text):
            counts[address in inside] += {".64": 2, ".128": 4}.get(_width(match.group(1)), 1)
    return Spills(in_loop=counts[True], outside=counts[False])


def _inside(code: Sequence[tuple[int, str]]) -> set[int]:
    """Addresses of the instructions that lie inside a loop."""
    ranges = loops(code)
    return {address for address, _ in code if any(start <= address <= end for start, end in ranges)}


def _width(suffixes: str) -> str:
    return next((width for width in (".64", ".128") if width in suffixes), "")


def _dump(arguments: list[str]) -> str:
    try:
        done = subprocess.run(
            [tool("cuobjdump"), *arguments], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise SetupError(f"cuobjdump failed: {error}", mend="reinstall Triton") from None
    return done.stdout
