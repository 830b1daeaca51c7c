"""What a file asks of the GPU besides running kernels, where there is none: to be chosen, and waited for.

Library code launches under `with torch.cuda.device(x.device)`, which a tensor on the CPU is refused. With one
device there is nothing to choose, and a kernel that was interpreted has ended.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch

CHOOSE = ("device", "device_of", "_DeviceGuard")
WAIT = ("set_device", "synchronize")


def install() -> None:
    """Let them do nothing in this process."""
    for name in CHOOSE:
        setattr(torch.cuda, name, contextlib.nullcontext)
    for name in WAIT:
        setattr(torch.cuda, name, _nothing())


def _nothing() -> Callable[..., None]:
    """A function of its own for each name: torch.compile keeps a register of them and takes none twice."""
    return lambda *_, **__: None
