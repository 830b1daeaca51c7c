"""Host memory that a GPU reads by itself, so that copies from it do not pass through the processor."""

from __future__ import annotations

import ctypes

import torch

DRIVER = "libcuda.so.1"


def pin(memory: torch.Tensor) -> None:
    """Pin all of a CPU tensor's memory in this process's CUDA context, until `unpin`.

    Where that is refused, as where too much is pinned already, copies are slower and otherwise the same.
    """
    register = ctypes.CDLL(DRIVER).cuMemHostRegister_v2
    register(ctypes.c_void_p(memory.data_ptr()), ctypes.c_size_t(memory.nbytes), ctypes.c_uint(0))


def unpin(memory: torch.Tensor) -> None:
    """Let go of what `pin` took; nothing happens where it was refused."""
    ctypes.CDLL(DRIVER).cuMemHostUnregister(ctypes.c_void_p(memory.data_ptr()))
