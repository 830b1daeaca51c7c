"""What a launch, or `warmup`, gives back: a compiled kernel, to ask for figures and to launch later.

kernel = softmax_kernel.warmup(x, y, n, BLOCK=1024, num_warps=8, grid=(1,))
programs = sms * (registers // (kernel.n_regs * 256))
kernel[(programs, 1, 1)](x, y, n, 1024)
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

# Entries of a cubin's section .nv.info with a value of 8 bytes, the second half of which is the figure.
_ENTRY = rb"\x04%b\x08\x00.{4}(.{4})"
_REGISTERS, _FRAME = (re.compile(_ENTRY % kind, re.DOTALL) for kind in (rb"\x2f", rb"\x11"))
MAX_THREADS = 1024  # of a block, on every target


class Beforehand:
    """A kernel that was compiled for arguments, or will be when something is asked of it.

    Args:
        compiled: gives what is asked: Triton's CompiledKernel, or what stands for it.
        launch: called with a grid and all arguments, those that were compiled in among them.
    """

    def __init__(self, compiled: Callable[[], Any], launch: Callable[..., Any]) -> None:
        self._compiled = functools.cache(compiled)
        self._launch = launch

    def _init_handles(self) -> None:
        """Load it onto the device, which is not there."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._compiled(), name)

    def __getitem__(self, grid: Any) -> Callable[..., None]:
        def launched(*args: Any, stream: Any = None) -> None:
            self._launch(grid, args)

        return launched


def launch_options(parameters: Collection[str], named: Mapping[str, Any]) -> dict[str, Any]:
    """What a launch names that is no parameter of its kernel: num_warps and the like."""
    return {name: value for name, value in named.items() if name not in parameters}


def loaded(kernel: Any) -> Any:
    """A CompiledKernel with the figures that loading it onto a device would add; the binary says them."""
    cubin = kernel.asm["cubin"]
    kernel.n_regs = _figure(_REGISTERS, cubin)
    kernel.n_spills = _figure(_FRAME, cubin) // 4  # words of a thread's stack frame, as Triton has it
    kernel.n_max_threads = MAX_THREADS
    return kernel


def _figure(entry: re.Pattern[bytes], cubin: bytes) -> int:
    found = entry.search(cubin)
    return int.from_bytes(found.group(1), "little") if found else 0
