"""Notes every launch of a forward instead of executing it. For worker processes.

Within `Recorder.listening()` a `kernel[grid](…)` binds its arguments with Triton's own binder, so
that strides equal to 1 become constants and multiples of 16 are marked as in a real launch, and
then returns. What PyTorch does in between is noted as well: it carries results from one launch to
the next.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch._library.triton import set_wrap_triton_enabled
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from triton.runtime import driver
from triton.runtime.autotuner import Autotuner
from triton.runtime.jit import JITFunction

from tilewright.errors import KernelFileError, Where
from tilewright.launches.beforehand import Beforehand, launch_options, loaded
from tilewright.launches.custom import body_of
from tilewright.launches.fake import replaced
from tilewright.launches.model import Argument, Launch, Recording, TorchOperation

# Operators that start nothing on the device although they are not views.
_FREE = {"aten.empty", "aten.empty_like", "aten.empty_strided", "aten.new_empty", "aten.new_empty_strided"}
_FREE |= {"aten.detach", "aten._unsafe_view", "aten.lift_fresh", "aten.alias", "prim.device"}
# Operators that read of their first operand no more than they return.
_PICKING = {"aten.embedding", "aten.index", "aten.index_select", "aten.gather", "aten.slice"}


@dataclass(frozen=True)
class View:
    """The part of a storage that a tensor covers.

    Args:
        storage: its number, counted from 0 over the forward.
        offset: of the first element, in elements.
        shape, strides: in elements.
        itemsize: bytes of an element.
    """

    storage: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    itemsize: int

    @property
    def bytes(self) -> int:
        """Of its distinct elements: a broadcast dimension counts once."""
        count = self.itemsize
        for size, stride in zip(self.shape, self.strides, strict=True):
            count *= size if stride else min(size, 1)
        return count

    @property
    def span(self) -> tuple[int, int]:
        """Bytes of the storage from its first element up to the end of its last."""
        if 0 in self.shape:
            return (self.offset * self.itemsize,) * 2
        last = sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        return self.offset * self.itemsize, (self.offset + last + 1) * self.itemsize

    def overlaps(self, other: View) -> bool:
        """Whether the two share an element; may say yes wrongly, never no."""
        if self.storage != other.storage:
            return False
        (start, end), (other_start, other_end) = self.span, other.span
        if start >= other_end or other_start >= end:
            return False
        if (self.shape, self.strides, self.itemsize) != (other.shape, other.strides, other.itemsize):
            return True
        # Equal layouts: their distance, written in their own strides, must stay inside the shape.
        axes = [axis for axis in zip(self.strides, self.shape, strict=True) if axis[1] > 1]
        reach = 0
        for stride, size in sorted(axes):
            if stride <= reach:  # the layout overlaps itself; no digit expansion
                return True
            reach += stride * (size - 1)
        return _in_steps(abs(self.offset - other.offset), sorted(axes, reverse=True))


def _in_steps(distance: int, axes: list[tuple[int, int]]) -> bool:
    """Whether a distance is made of fewer steps along each axis, forth or back, than the axis is long.

    Args:
        axes: (stride, size), the longest stride first; each longer than all shorter ones reach together,
            so that at most two numbers of steps along it leave what those can make up.
    """
    if not axes:
        return distance == 0
    (stride, size), *shorter = axes
    fewer = distance // stride
    return any(
        abs(steps) < size and _in_steps(distance - steps * stride, shorter) for steps in (fewer, fewer + 1)
    )


@dataclass(frozen=True)
class Event:
    """Something that ran on the device, in order.

    Args:
        launch: index of the launch; None for an operator of PyTorch.
        operator: the aten name; empty for a launch.
        views: by parameter name, the tensors of a launch.
        reads, writes: of an operator. What a launch reads and writes is in its compiled kernel.
        read_bytes, flops: of an operator.
    """

    launch: int | None
    operator: str = ""
    views: Mapping[str, View] = field(default_factory=dict)
    reads: tuple[View, ...] = ()
    writes: tuple[View, ...] = ()
    read_bytes: int = 0
    flops: int = 0


@dataclass(frozen=True)
class Bound:
    """What Triton needs to compile one distinct launch: `kernel.compile(source, target, options)`."""

    kernel: JITFunction[Any]
    source: Any
    options: Any


class Recorder(TorchDispatchMode):  # type: ignore[misc] # torch is not followed
    """Collects the events of one forward.

    Args:
        path: what the candidate's file is called, for the lines of its launch sites.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.events: list[Event] = []
        self.launches: list[Launch] = []
        self.bound: list[Bound] = []
        self._alternatives: dict[int, tuple[int, ...]] = {}
        self._index: dict[Any, int] = {}
        self._storages: dict[int, int] = {}
        self._held: list[Any] = []  # a storage that lives keeps its identity to itself
        self._config: int | None = None

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Within this context launches and operators are noted."""
        recorder = self

        def run(kernel: JITFunction[Any], *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Beforehand:
            if not warmup:
                recorder.events.append(recorder._launch(kernel, grid, args, kwargs))
            named = launch_options(kernel.arg_names, kwargs)

            def compiled() -> Any:
                _, _, options, source = _binding(kernel, args, kwargs)
                target = driver.active.get_current_target()
                return loaded(kernel.compile(source, target=target, options=options.__dict__))

            def launch(size: Any, values: Sequence[Any]) -> None:
                recorder.events.append(recorder._launch(kernel, size, values, named))

            return Beforehand(compiled, launch)

        def tune(tuner: Autotuner, *args: Any, **kwargs: Any) -> None:
            recorder._autotuned(tuner, args, kwargs)

        with (
            replaced(JITFunction, "run", run),
            replaced(Autotuner, "run", tune),
            set_wrap_triton_enabled(False),
            self,
        ):
            yield

    def recording(self) -> Recording:
        operations: dict[str, TorchOperation] = {}
        for event in self.events:
            if event.launch is None:
                before = operations.get(event.operator, TorchOperation(event.operator, 0, 0, 0))
                moved = event.read_bytes + sum(view.bytes for view in event.writes)
                operations[event.operator] = TorchOperation(
                    event.operator, before.count + 1, before.bytes + moved, before.flops + event.flops
                )
        return Recording(
            launches=tuple(self.launches),
            sequence=tuple(event.launch for event in self.events if event.launch is not None),
            alternatives=tuple(self._alternatives.get(i, (i,)) for i in range(len(self.launches))),
            operations=tuple(operations.values()),
        )

    def view(self, tensor: torch.Tensor) -> View:
        """Where a tensor lies."""
        storage = tensor.untyped_storage()
        number = self._storages.get(storage._cdata)
        if number is None:
            number = self._storages[storage._cdata] = len(self._held)
            self._held.append(storage)
        return View(
            number, tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.element_size()
        )

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if (body := body_of(func, args, kwargs)) is not None:
            with self:
                return body(*args, **kwargs)
        result = func(*args, **kwargs)
        name = f"{func.namespace}.{func._opname}"
        if func.is_view or name in _FREE:
            return result
        written = [
            value
            for argument, value in zip(func._schema.arguments, args, strict=False)
            if argument.alias_info is not None and argument.alias_info.is_write
        ]
        reads = [self.view(t) for t in tree_leaves((args, kwargs)) if _on_device(t)]
        writes = [self.view(t) for t in tree_leaves((written, result)) if _on_device(t)]
        if not reads and not writes:
            return result
        read_bytes = sum(view.bytes for view in reads)
        if name in _PICKING:
            read_bytes = sum(v.bytes for v in reads[1:]) + min(reads[0].bytes, sum(v.bytes for v in writes))
        count = flop_registry.get(func._overloadpacket)
        flops = int(count(*args, **kwargs, out_val=result)) if count else 0
        self.events.append(Event(None, name, {}, tuple(reads), tuple(writes), read_bytes, flops))
        return result

    def _autotuned(self, tuner: Autotuner, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Bind the launch under every config that survives the file's own pruning; the first one counts."""
        tuner.nargs = dict(zip(tuner.arg_names, args, strict=False))
        configs = tuner.prune_configs(kwargs) if len(tuner.configs) > 1 else tuner.configs
        if twice := sorted({name for config in configs for name in config.all_kwargs()} & set(kwargs)):
            raise KernelFileError(
                f"{tuner.base_fn.__name__} is passed {', '.join(twice)}, which its configs set as well",
                where=Where(self.path, self._line()),
                mend="leave out of the launch what the configs set",
            )
        before = len(self.events)
        for config in configs:
            if config.pre_hook is not None:
                config.pre_hook({**tuner.nargs, **kwargs, **config.all_kwargs()})
            self._config = tuner.configs.index(config)
            tuner.fn.run(*args, **kwargs, **config.all_kwargs())
            self._config = None
        tuner.nargs = None
        launched = [event for event in self.events[before:] if event.launch is not None]
        family = tuple(dict.fromkeys(event.launch for event in launched if event.launch is not None))
        self._alternatives.update(dict.fromkeys(family, family))
        dropped = {id(event) for event in launched[1:]}
        self.events[before:] = [event for event in self.events[before:] if id(event) not in dropped]

    def _launch(
        self, kernel: JITFunction[Any], grid: Any, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> Event:
        line = self._line()
        for hook in kernel.pre_run_hooks:
            hook(*args, **kwargs)
        values, specialization, options, source = _binding(kernel, args, kwargs)
        size = grid(values) if callable(grid) else grid
        views: dict[str, View] = {}
        arguments = tuple(
            self._argument(name, value, kind, attribute, views, kernel, line)
            for (name, value), (kind, attribute) in zip(values.items(), specialization, strict=True)
        )
        launch = Launch(
            kernel=kernel.__name__,
            grid=_three(size, kernel, Where(self.path, line)),
            arguments=arguments,
            num_warps=options.num_warps,
            num_stages=options.num_stages,
            num_ctas=options.num_ctas,
            line=line,
            config=self._config,
        )
        anywhere = replace(
            launch, arguments=tuple(replace(a, tensor=None, offset_bytes=0) for a in arguments)
        )
        key = (id(kernel), anywhere, str(options))
        index = self._index.setdefault(key, len(self.launches))
        if index == len(self.launches):
            self.launches.append(launch)
            self.bound.append(Bound(kernel, source, options))
        return Event(index, views=views)

    def _argument(
        self,
        name: str,
        value: Any,
        kind: str,
        attribute: Any,
        views: dict[str, View],
        kernel: JITFunction[Any],
        line: int | None,
    ) -> Argument:
        aligned = isinstance(attribute, str) and "D" in attribute
        tensor = getattr(value, "base", value)  # a TensorDescriptor describes its base
        if isinstance(tensor, torch.Tensor):
            if not _on_device(tensor):
                raise KernelFileError(
                    f"argument {name} of {kernel.__name__} is a tensor on the {tensor.device.type}",
                    where=Where(self.path, line),
                    mend="make it a parameter or buffer, or move it to the inputs' device",
                )
            view = views[name] = self.view(tensor)
            return Argument(
                name,
                "tensor",
                str(kind),
                shape=view.shape,
                strides=view.strides,
                tensor=view.storage,
                offset_bytes=view.offset * view.itemsize,
                divisible_by_16=aligned,
                itemsize=view.itemsize,
            )
        constant = kind == "constexpr"
        return Argument(
            name, "constexpr" if constant else "scalar", str(kind), _text(value), divisible_by_16=aligned
        )

    def _line(self) -> int | None:
        """The line of the candidate's file that is launching."""
        frame = sys._getframe()
        while frame is not None and frame.f_code.co_filename != self.path:
            frame = frame.f_back  # type: ignore[assignment]
        return frame.f_lineno if frame is not None else None


def _binding(
    kernel: JITFunction[Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Any], Any, Any]:
    """Arguments by name, what Triton specialises on, the options, and what is to be compiled."""
    _, _, _, backend, binder = kernel.device_caches[0]
    kwargs = {"debug": kernel.debug, **kwargs}
    try:
        values, specialization, extra = binder(*args, **kwargs)
    except TypeError as error:  # Triton's generated binder has a name of its own
        raise TypeError(str(error).replace("dynamic_func", kernel.__name__)) from None
    options, signature, constants, attributes = kernel._pack_args(
        backend, kwargs, values, specialization, extra
    )
    return values, specialization, options, kernel.ASTSource(kernel, signature, constants, attributes)


def _on_device(value: Any) -> bool:
    return isinstance(value, FakeTensor) and value.device.type == "cuda"


def _text(value: Any) -> str:
    """A constant as text, without the address that a repr may carry."""
    return getattr(value, "__name__", None) or str(value)


def _three(grid: Any, kernel: JITFunction[Any], where: Where) -> tuple[int, int, int]:
    """A grid as three whole numbers."""
    sizes = tuple(grid) if isinstance(grid, tuple | list) else ()
    if not 1 <= len(sizes) <= 3 or not all(isinstance(size, int) for size in sizes):
        raise KernelFileError(
            f"the grid of {kernel.__name__} is {grid!r}, not one to three whole numbers",
            where=where,
            mend="give a tuple such as (triton.cdiv(n, BLOCK),)",
        )
    x, y, z = (*sizes, 1, 1)[:3]
    return int(x), int(y), int(z)
