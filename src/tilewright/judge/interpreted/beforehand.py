"""What a file asks Triton of a device, and of a kernel compiled beforehand, where kernels are interpreted.

Persistent kernels launch as many programs as a device runs at once, by its properties and the kernel's
registers. What is right on one device is right on any, so the answers are those of a small one: its few
programs go round their loops often.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
import triton
from triton.runtime.interpreter import InterpretedFunction

from tilewright.gpu.catalogue import find
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


class Beforehand:
    """What a launch, or `warmup`, gives back."""

    n_regs, n_spills, n_max_threads = REGISTERS, 0, 1024

    def __init__(self, function: Any, options: dict[str, Any]) -> None:
        self._function = function
        self._options = options
        self.name = function.fn.__name__
        self.metadata = SimpleNamespace(
            **{"shared": 0, "num_warps": 4, "num_ctas": 1, "num_stages": 3, **options}
        )

    def _init_handles(self) -> None:
        """There is nothing to load."""

    def __getitem__(self, grid: Any) -> Callable[..., None]:
        def launched(*args: Any, stream: Any = None) -> None:
            self._function.run(*args, grid=grid, warmup=False, **self._options)

        return launched


def install() -> None:
    """Have launches give something back, and a device answer, in this process."""
    original = InterpretedFunction.run

    def run(function: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Beforehand:
        original(function, *args, grid=grid, warmup=warmup, **kwargs)
        options = {name: value for name, value in kwargs.items() if name not in function.arg_names}
        return Beforehand(function, options)

    InterpretedFunction.run = run
    triton.runtime.driver.set_active(InterpretedDriver())
