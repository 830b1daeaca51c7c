"""What a file asks Triton of a device, and of a kernel compiled beforehand, where kernels are interpreted.

Persistent kernels launch as many programs as a device runs at once, by its properties and the kernel's
registers. What is right on one device is right on any, so the answers are those of a small one: its few
programs go round their loops often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
import triton
from triton.runtime.interpreter import InterpretedFunction

from tilewright.gpu.catalogue import find
from tilewright.launches.beforehand import MAX_THREADS, Beforehand, launch_options
from tilewright.launches.driver import PretendedDriver

SMS = 4
REGISTERS = 32  # of a thread


class InterpretedDriver(PretendedDriver):
    """Triton's active device; what it cannot answer is refused as Triton does without one."""

    def __init__(self) -> None:
        super().__init__(replace(find("h100"), sms=SMS))

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"0 active drivers, and the interpreter has no {name}")


def install() -> None:
    """Have launches give something back, and a device answer, in this process."""
    original = InterpretedFunction.run

    def run(function: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Beforehand:
        original(function, *args, grid=grid, warmup=warmup, **kwargs)
        options = launch_options(function.arg_names, kwargs)

        def launch(size: Any, values: Sequence[Any]) -> None:
            function.run(*values, grid=size, warmup=False, **options)

        return Beforehand(lambda: _figures(function.fn.__name__, options), launch)

    InterpretedFunction.run = run
    triton.runtime.driver.set_active(InterpretedDriver())


def _figures(name: str, options: Mapping[str, Any]) -> SimpleNamespace:
    """What may be asked of a compiled kernel, of one that is not compiled."""
    metadata = SimpleNamespace(**{"shared": 0, "num_warps": 4, "num_ctas": 1, "num_stages": 3, **options})
    return SimpleNamespace(
        name=name, metadata=metadata, n_regs=REGISTERS, n_spills=0, n_max_threads=MAX_THREADS
    )
