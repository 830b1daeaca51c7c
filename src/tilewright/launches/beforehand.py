"""What a launch, or `warmup`, gives back: a compiled kernel, to ask for figures and to launch later.

    kernel = softmax_kernel.warmup(x, y, n, BLOCK=1024, num_warps=8, grid=(1,))
    programs = sms * (registers // (kernel.n_regs * 256))
    kernel[(programs, 1, 1)](x, y, n, 1024)

Triton's own object needs a device to say how many registers it has; without one the binary says it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property
from typing import Any

# Entries of a cubin's section .nv.info with a value of 8 bytes, the second half of which is the figure.
_ENTRY = rb"\x04%b\x08\x00.{4}(.{4})"
_REGISTERS, _FRAME = (re.compile(_ENTRY % kind, re.DOTALL) for kind in (rb"\x2f", rb"\x11"))
_MAX_THREADS = 1024  # of a block, on every target


class Beforehand:
    """A kernel that was compiled for arguments, or will be when something is asked of it.

    Args:
        compiled: gives Triton's CompiledKernel.
        launch: called with a grid and all arguments, those that were compiled in among them.
    """

    def __init__(self, compiled: Callable[[], Any], launch: Callable[..., Any]) -> None:
        self._compile = compiled
        self._launch = launch

    @cached_property
    def _compiled(self) -> Any:
        return self._compile()

    @property
    def n_regs(self) -> int:
        """Registers of a thread."""
        return _figure(_REGISTERS, self._compiled.asm["cubin"])

    @property
    def n_spills(self) -> int:
        """Words of a thread's stack frame, which is what Triton calls spills."""
        return _figure(_FRAME, self._compiled.asm["cubin"]) // 4

    @property
    def n_max_threads(self) -> int:
        return _MAX_THREADS

    def _init_handles(self) -> None:
        """Load it onto the device, which is not there."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._compiled, name)

    def __getitem__(self, grid: Any) -> Callable[..., None]:
        def launched(*args: Any, stream: Any = None) -> None:
            self._launch(grid, args)

        return launched


def _figure(entry: re.Pattern[bytes], cubin: bytes) -> int:
    found = entry.search(cubin)
    return int.from_bytes(found.group(1), "little") if found else 0
