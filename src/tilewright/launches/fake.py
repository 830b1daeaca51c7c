"""Tensors that claim to lie on a GPU that is not there. For worker processes.

PyTorch's fake tensors carry shape, strides, dtype and device but no data, so a forward runs at
full size in no memory. `pretend` adds what a Triton wrapper asks of them beyond that: an address,
and answers from `torch.cuda`.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from tilewright.errors import SetupError
from tilewright.gpu.model import Gpu

DEVICE = torch.device("cuda", 0)
ADDRESS_ALIGNMENT = 512  # what PyTorch's CUDA allocator gives every storage
_CUDA, _META = 1, 14  # c10::DeviceType
_GUARDS = "_ZN3c104impl26device_guard_impl_registryE"  # c10::impl::device_guard_impl_registry


@contextlib.contextmanager
def pretend(gpu: Gpu) -> Iterator[FakeTensorMode]:
    """Within this context tensors are fake, and `torch.cuda` answers as if `gpu` were present."""
    _allow_cuda_tensors()
    _give_gru_cell_a_shape()
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with contextlib.ExitStack() as stack:
        for owner, name, value in _replacements(gpu):
            stack.enter_context(replaced(owner, name, value))
        stack.enter_context(_without_cudnn())
        stack.enter_context(mode)
        stack.enter_context(torch.no_grad())
        yield mode


@contextlib.contextmanager
def _without_cudnn() -> Iterator[None]:
    """A CUDA build would ask the device, which is not there, for what cuDNN's recurrent layers need.

    `torch.backends.cudnn.flags` would set all of its other settings too, which a file may have chosen.
    """
    before = torch.backends.cudnn.enabled
    torch.backends.cudnn.enabled = False
    try:
        yield
    finally:
        torch.backends.cudnn.enabled = before


@contextlib.contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """`owner.name` is `value` within this context."""
    own = name in vars(owner)
    before = vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)


def to_device(value: Any) -> Any:
    """A fake or real tensor as a fake one on the pretended GPU; anything else as it is."""
    return value.to(DEVICE) if isinstance(value, torch.Tensor) else value


_CONVERTED: WeakKeyDictionary[Any, dict[int, tuple[torch.Tensor, torch.Tensor]]] = WeakKeyDictionary()


def _convert(
    module: torch.nn.Module, function: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True
) -> torch.nn.Module:
    """`Module._apply`, what `.to`, `.cuda` and `.half` come down to, with new tensors in the old ones' place.

    PyTorch exchanges the contents of two tensors, which fake ones refuse. Shared tensors stay shared.
    """
    for child in module.children() if recurse else ():
        child._apply(function)
    converted = _CONVERTED.setdefault(function, {})
    for tensors in (module._parameters, module._buffers):
        for name, tensor in tensors.items():
            if tensor is None:
                continue
            if id(tensor) not in converted:
                made = function(tensor)
                if isinstance(tensor, torch.nn.Parameter) and made is not tensor:
                    made = torch.nn.Parameter(made, tensor.requires_grad)
                converted[id(tensor)] = tensor, made  # the old one is kept, so that its id stays its own
            tensors[name] = converted[id(tensor)][1]
    return module


def _allow_cuda_tensors() -> None:
    """Let a build of PyTorch without CUDA index and convert fake CUDA tensors.

    Operations on a tensor first switch to its device through a registered guard. A CUDA build
    without a driver gets a guard that does nothing when a fake mode is entered; a CPU build has no
    CUDA guard at all, so the do-nothing guard of the meta device is registered in its place.
    """
    if torch.version.cuda is not None:
        return
    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
        guards = (ctypes.c_void_p * (_META + 1)).in_dll(library, _GUARDS)
    except (OSError, ValueError):
        raise SetupError(
            f"this build of PyTorch ({torch.__version__}) cannot hold fake GPU tensors",
            mend="install PyTorch 2.11 or newer for Linux from its own wheels",
        ) from None
    if not guards[_CUDA]:
        guards[_CUDA] = guards[_META]


@functools.cache
def _give_gru_cell_a_shape() -> torch.library.Library:
    """Let nn.GRUCell run on fake GPU tensors: of the fused cells PyTorch knows the LSTM's shapes only.

    The library must be kept: what it registers goes with it.
    """
    library = torch.library.Library("aten", "IMPL")
    name = "_thnn_fused_gru_cell"
    if not torch._C._dispatch_has_kernel_for_dispatch_key(f"aten::{name}", "Meta"):
        library.impl(name, _fused_gru_cell, "Meta")
    return library


def _fused_gru_cell(
    input_gates: torch.Tensor,
    hidden_gates: torch.Tensor,
    hx: torch.Tensor,
    input_bias: torch.Tensor | None = None,
    hidden_bias: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The new state, shaped as hx [B, H], and a workspace of five values per hidden unit."""
    return torch.empty_like(hx), hx.new_empty((hx.shape[0], 5 * hx.shape[1]))


def _indexed(value: Any) -> Any:
    """A device "cuda" without an index as the pretended one; anything else as it is."""
    if isinstance(value, str) and value.split(":")[0] == "cuda":
        value = torch.device(value)
    if isinstance(value, torch.device) and value.type == "cuda" and value.index is None:
        return DEVICE
    return value


def _to(self: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    args = tuple(_indexed(a) for a in args)
    kwargs = {name: _indexed(value) for name, value in kwargs.items()}
    moved: torch.Tensor = torch.Tensor.to(self, *args, **kwargs)
    return moved


def _cuda(self: torch.Tensor, device: Any = None, non_blocking: bool = False, **_: Any) -> torch.Tensor:
    return self.to(DEVICE)


class _Addresses:
    """Gives every storage an aligned address of its own, so that views show their true alignment."""

    def __init__(self) -> None:
        self._starts: dict[int, int] = {}
        self._held: list[Any] = []  # a storage that lives keeps its identity to itself
        self._next = 1 << 40

    def data_ptr(self, tensor: torch.Tensor) -> int:
        storage = tensor.untyped_storage()
        start = self._starts.get(storage._cdata)
        if start is None:
            start = self._starts[storage._cdata] = self._next
            self._held.append(storage)
            self._next += -(-storage.nbytes() // ADDRESS_ALIGNMENT) * ADDRESS_ALIGNMENT + ADDRESS_ALIGNMENT
        return start + int(tensor.storage_offset() * tensor.element_size())


def _replacements(gpu: Gpu) -> list[tuple[Any, str, Any]]:
    """What is exchanged while a GPU is pretended: owner, attribute, value."""
    addresses = _Addresses()
    capability = divmod(gpu.compute_capability, 10)
    properties = SimpleNamespace(
        name=gpu.name,
        major=capability[0],
        minor=capability[1],
        multi_processor_count=gpu.sms,
        total_memory=gpu.memory_bytes,
        warp_size=gpu.warp_size,
        max_threads_per_multi_processor=gpu.max_threads_per_sm,
        max_threads_per_block=gpu.max_threads_per_block,
        regs_per_multiprocessor=gpu.registers_per_sm,
        shared_memory_per_block=49152,
        shared_memory_per_block_optin=gpu.shared_memory_per_block_bytes,
        shared_memory_per_multiprocessor=gpu.shared_memory_per_sm_bytes,
        L2_cache_size=gpu.l2_bytes,
        gcnArchName="",
    )
    stream = SimpleNamespace(cuda_stream=0, stream_id=0, device=DEVICE)
    for method in ("synchronize", "wait_stream", "wait_event", "record_event"):
        setattr(stream, method, _nothing)
    answers: dict[str, Callable[..., Any]] = {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "_lazy_init": _nothing,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "set_device": _nothing,
        "synchronize": _nothing,
        "empty_cache": _nothing,
        "get_device_properties": lambda device=None: properties,
        "get_device_capability": lambda device=None: capability,
        "get_device_name": lambda device=None: gpu.name,
        "is_bf16_supported": lambda including_emulation=True: gpu.compute_capability >= 80,
        "current_stream": lambda device=None: stream,
        "default_stream": lambda device=None: stream,
        "Stream": lambda *args, **kwargs: stream,
        "stream": lambda stream: contextlib.nullcontext(stream),
        "device": lambda device: contextlib.nullcontext(),
        "device_of": lambda tensor: contextlib.nullcontext(),
        "_DeviceGuard": lambda index: contextlib.nullcontext(),
    }
    return [
        # Both would otherwise ask `is_available` whether to start CUDA on a device that is not there.
        (fake_tensor, "init_gpu_context", _nothing),
        (FakeTensorMode, "avoid_device_init", True),
        (FakeTensor, "data_ptr", lambda tensor: addresses.data_ptr(tensor)),
        (FakeTensor, "to", _to),
        # An assertion about values that are not there is taken to hold.
        (torch, "_assert", _asserted),
        (FakeTensor, "cuda", _cuda),
        (torch.nn.Module, "_apply", _convert),
        *((torch.cuda, name, answer) for name, answer in answers.items()),
    ]


def _asserted(condition: Any, message: str) -> None:
    if not isinstance(condition, FakeTensor):
        assert condition, message


def _nothing(*args: Any, **kwargs: Any) -> None:
    return None
