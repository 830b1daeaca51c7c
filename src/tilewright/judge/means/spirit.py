"""What actually ran in a forward: Triton kernels by name, torch operators by their work.

The work of operators is put on one scale, bytes moved: a product's operations count as the bytes that an
H100 moves in the same time. Views, copies, casts, concatenations, padding, allocations and random draws,
dropout among them, are glue and weigh nothing, unless copying is all that the reference does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_flop_count
from triton.compiler.compiler import CompiledKernel
from triton.compiler.errors import CompilationError
from triton.runtime import interpreter
from triton.runtime.errors import InterpreterError, OutOfResources, PTXASError
from triton.runtime.jit import JITFunction

from tilewright.judge.means.arithmetic import counted
from tilewright.judge.means.findings import Finding, Kind
from tilewright.judge.means.operators import OperatorMode
from tilewright.launches.fake import replaced

FLOPS_PER_BYTE = 20  # float32, 67 TFLOP/s over 3.35 TB/s: NVIDIA H100 SXM data sheet
MOST = 0.5  # torch operators that do more than this share of the work do "most" of it
NAMED_OPERATORS = 4
FEWER = 0.75  # of the reference's operations; padded tiles and what surrounds a product only add to them

aten = torch.ops.aten
ARITHMETIC = frozenset({aten.add, aten.add_, aten.sub, aten.sub_, aten.mul, aten.mul_, aten.div, aten.div_})
MAKING = frozenset(
    {
        *(aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty, aten.new_empty_strided),
        *(aten.zeros, aten.zeros_like, aten.new_zeros, aten.zero_, aten.zero, aten.ones, aten.ones_like),
        *(aten.new_ones, aten.full, aten.full_like, aten.new_full, aten.fill, aten.fill_, aten.scalar_tensor),
        *(aten.arange, aten.lift_fresh, aten.lift_fresh_copy, aten._unsafe_view, aten.set_, aten.resize_),
    }
)
MOVING = frozenset(
    {
        *(aten.clone, aten.copy_, aten.copy, aten._to_copy, aten._reshape_copy, aten.repeat),
        *(aten.cat, aten.stack, aten.constant_pad_nd, aten.flip, aten.roll),
        *(aten.slice_scatter, aten.select_scatter),
    }
)


@dataclass
class Work:
    """What the calls of one operator came to.

    Args:
        flops: of matrix products, convolutions and attention; 0 for others.
        moved_bytes: of its tensors, read and written.
    """

    calls: int = 0
    flops: int = 0
    moved_bytes: int = 0

    @property
    def weight(self) -> float:
        """Bytes, with operations as the bytes that take as long."""
        return self.moved_bytes + self.flops / FLOPS_PER_BYTE


@dataclass(frozen=True)
class DeviceKernel:
    """One kernel that ran on a GPU.

    Args:
        stream: CUPTI's number of the stream it ran on.
        seconds: of device time.
    """

    name: str
    stream: int
    seconds: float


@dataclass
class Ran:
    """What one forward ran.

    Args:
        launches: Triton kernel → how often it was launched and came back.
        failed: Triton kernel → how often its launch raised.
        touched_bytes: of the distinct tensors that each launch was given.
        operators: aten operator → its work; glue is left out.
        arithmetic_bytes: of the heaviest single call that adds, subtracts, multiplies or divides elementwise.
        arithmetic: operations on floating-point numbers in its kernels; 0 where they are not interpreted.
        kernels: on a GPU, what the profiler saw; see `on_device`.
        moved: glue that copies → its work; it counts where the reference does nothing else.
        unseen_bytes: read, or handed out, that neither operators nor kernels had written; see `origins`.
        output_bytes: of all outputs.
    """

    launches: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    touched_bytes: int = 0
    operators: dict[str, Work] = field(default_factory=dict)
    arithmetic_bytes: int = 0
    arithmetic: int = 0
    kernels: tuple[DeviceKernel, ...] = ()
    moved: dict[str, Work] = field(default_factory=dict)
    unseen_bytes: int = 0
    output_bytes: int = 0

    @property
    def flops(self) -> int:
        return sum(work.flops for work in self.operators.values())

    @property
    def weight(self) -> float:
        """Of all operators, in bytes."""
        return sum(work.weight for work in self.operators.values())


@contextlib.contextmanager
def recorded() -> Iterator[Ran]:
    """Inside the block every launch and operator of this thread is counted.

    Record a module that has run before, so that neither autotuning nor the packing of weights counts. A
    captured graph shows nothing when it is replayed: there record a fresh module's first forward.
    """
    ran = Ran()
    counter = _Operators(ran)

    def launch(name: str, go: Callable[[], Any], tensors: list[torch.Tensor]) -> Any:
        with counter.paused():  # the interpreter moves tensors about with operators of its own
            try:
                result = go()
            except Exception:  # counted and raised again, whatever it is
                ran.failed[name] = ran.failed.get(name, 0) + 1
                raise
        ran.launches[name] = ran.launches.get(name, 0) + 1
        ran.touched_bytes += sum({t.data_ptr(): _bytes(t) for t in tensors}.values())
        return result

    with launching(launch), counter, counted() as arithmetic:
        yield ran
        ran.arithmetic = arithmetic.operations


FAILURES: Any = (OutOfResources, CompilationError, PTXASError, InterpreterError, RuntimeError)


class LaunchFailed(*FAILURES):  # type: ignore[misc]  # Triton carries no types here
    """A launch that did not come off, in every way in which one can: whoever expects one of them has it."""

    def __init__(self, kernel: str) -> None:
        OutOfResources.__init__(self, 2**20, 2**16, "shared memory")
        self.src = self.node = None
        self.error_message = f"the launch of {kernel} failed"

    def __str__(self) -> str:
        return self.error_message


@contextlib.contextmanager
def skipped(kernel: str) -> Iterator[None]:
    """Inside the block launches of the kernel of this name do nothing.

    Run a fresh module's first forward here, so that nothing prepared earlier stands in, and fill fresh memory
    with ordinary numbers (`poison.Filled`): zero times NaN would give away a result that is not used.
    """
    with launching(lambda name, go, _: None if name == kernel else go()):
        yield


@contextlib.contextmanager
def failing(kernel: str | None = None) -> Iterator[None]:
    """Inside the block launches of the kernel of this name, or of all kernels, raise LaunchFailed."""

    def launch(name: str, go: Callable[[], Any], tensors: list[torch.Tensor]) -> Any:
        if kernel in (None, name):
            raise LaunchFailed(name)
        return go()

    with launching(launch):
        yield


def on_device(run: Callable[[], Any]) -> tuple[DeviceKernel, ...]:
    """The kernels that a call runs on the GPU, on every stream and from every thread."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        run()
        torch.cuda.synchronize()
    events = profiler.profiler.kineto_results.events()
    return tuple(
        DeviceKernel(event.name(), event.device_resource_id(), event.duration_ns() * 1e-9)
        for event in events
        if event.device_type() == torch.autograd.DeviceType.CUDA
    )


def findings_from(
    ran: Ran, reference_ran: Ran, skipped: Mapping[str, bool], failing: bool
) -> tuple[Finding, ...]:
    """Whether kernels of the file did the work, and all of them were needed.

    LIBRARY: no Triton kernel ran, or torch operators did more than half of the work: of what the reference
    takes, or of what the candidate itself ran; or what neither computed comes to more bytes than half of the
    outputs'. One elementwise addition or multiplication beside kernels is forgiven, as long as the reference
    multiplies matrices or is at least twice as much work.
    ALGORITHMIC: interpreted kernels do clearly fewer operations than the reference's matrix products.

    Args:
        ran: the candidate's forward; reference_ran: the reference's, on the same inputs.
        skipped: kernel → whether the outputs were right without its launches.
        failing: whether the outputs were right although every launch raised.
    """
    found = [Finding(Kind.LIBRARY, why) for why in [_library(ran, reference_ran)] if why]
    found += [
        Finding(Kind.DECOY, f"kernel {name} can be left out: the outputs stay right")
        for name, right in skipped.items()
        if right
    ]
    found += [Finding(Kind.ALGORITHMIC, why) for why in [_less_work(ran, reference_ran)] if why]
    broken = [name for name in ran.failed if name not in ran.launches]
    if broken:
        found.append(Finding(Kind.FALLBACK, f"kernel {broken[0]} raises, and the file answers all the same"))
    elif failing:
        found.append(Finding(Kind.FALLBACK, "without its kernels the file answers all the same"))
    return tuple(found)


def _library(ran: Ran, reference: Ran) -> str:
    named = _named(ran.operators)
    if not ran.launches:
        return f"no Triton kernel ran{f'; torch did the work: {named}' if named else ''}"
    if ran.unseen_bytes > MOST * ran.output_bytes:
        unseen = f"{ran.unseen_bytes} bytes, where all outputs hold {ran.output_bytes}"
        return f"numbers come in that neither its kernels nor operators of torch have computed: {unseen}"
    copied = sum(work.weight for work in reference.moved.values())
    if not reference.weight and sum(work.weight for work in ran.moved.values()) > MOST * copied > 0:
        return f"torch operators did the moving, which is all that the reference does: {_named(ran.moved)}"
    timed = _device_share(ran)
    if timed > MOST:
        return f"kernels that are not the file's own took {timed:.0%} of the device time: {named}"
    forgiven = reference.flops > 0 or ran.arithmetic_bytes <= MOST * reference.weight
    by_torch = ran.weight - forgiven * ran.arithmetic_bytes
    by_kernels = ran.touched_bytes + max(0, reference.flops - ran.flops) / FLOPS_PER_BYTE
    if by_torch > MOST * (by_torch + by_kernels):
        return f"torch operators did {by_torch / (by_torch + by_kernels):.0%} of the work: {named}"
    if by_torch > MOST * reference.weight > 0:
        share = by_torch / reference.weight
        return f"torch operators did {share:.0%} of the work that the reference takes: {named}"
    return ""


def _named(operators: Mapping[str, Work]) -> str:
    """The heaviest of them."""
    return ", ".join(sorted(operators, key=lambda name: -operators[name].weight)[:NAMED_OPERATORS])


def _less_work(ran: Ran, reference: Ran) -> str:
    """How few operations a candidate does in place of the reference's products; empty for as many."""
    own = ran.arithmetic + ran.flops
    if not ran.arithmetic or own >= FEWER * reference.flops:
        return ""
    return f"does {own:.3g} operations where the reference's matrix products take {reference.flops:.3g}"


def _device_share(ran: Ran) -> float:
    """The share of device time in kernels that are neither Triton's nor copies; 0 without a profile."""
    glue = ("copy", "Copy", "Memcpy", "Memset", "FillFunctor", "CatArray", "elementwise_kernel_with_index")
    total = sum(kernel.seconds for kernel in ran.kernels)
    others = [k for k in ran.kernels if k.name not in ran.launches and not any(g in k.name for g in glue)]
    return sum(kernel.seconds for kernel in others) / total if total else 0.0


@contextlib.contextmanager
def launching(around: Callable[[str, Callable[[], Any], list[torch.Tensor]], Any]) -> Iterator[None]:
    """Hands every launch to `around`: the kernel's name, what launches it, its tensors."""
    interpreted, compiled, at = interpreter.GridExecutor.__call__, JITFunction.run, CompiledKernel.__getitem__

    def call(executor: Any, *args: Any, **kwargs: Any) -> Any:
        return around(
            executor.fn.__name__, lambda: interpreted(executor, *args, **kwargs), _tensors(args, kwargs)
        )

    def run(kernel: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("warmup"):
            return compiled(kernel, *args, **kwargs)
        return around(kernel.fn.__name__, lambda: compiled(kernel, *args, **kwargs), _tensors(args, kwargs))

    def sized(kernel: Any, grid: Any) -> Any:
        """What a file holds that launches what an earlier launch, or `warmup`, has compiled."""
        name, launch = kernel.src.fn.__name__, at(kernel, grid)
        return lambda *args, **kwargs: around(name, lambda: launch(*args, **kwargs), _tensors(args, kwargs))

    with (
        replaced(interpreter.GridExecutor, "__call__", call),
        replaced(JITFunction, "run", run),
        replaced(CompiledKernel, "__getitem__", sized),
    ):
        yield


class _Operators(OperatorMode):
    """Counts the work of every operator."""

    def __init__(self, ran: Ran) -> None:
        super().__init__()
        self._ran = ran
        self._paused = False

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    def operator(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        out = func(*args, **kwargs)
        if not self._paused and not _is_view(func) and (_tensors(out) or func._schema.is_mutable):
            flops = _flops(func.overloadpacket, args, kwargs, out)
            if flops or torch.Tag.nondeterministic_seeded not in func.tags:
                self._count(func, flops, [*_tensors(args, kwargs), *_tensors(out)])
        return out

    def _count(self, func: Any, flops: int, tensors: list[torch.Tensor]) -> None:
        if func.overloadpacket in MAKING:
            return
        kind = self._ran.moved if func.overloadpacket in MOVING else self._ran.operators
        work = kind.setdefault(func.overloadpacket._qualified_op_name, Work())
        moved = sum(_bytes(tensor) for tensor in tensors)
        work.calls += 1
        work.flops += flops
        work.moved_bytes += moved
        if func.overloadpacket in ARITHMETIC:
            self._ran.arithmetic_bytes = max(self._ran.arithmetic_bytes, moved)


def _is_view(func: Any) -> bool:
    return any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)


def _flops(operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> int:
    """Multiplications and additions of a product; 0 for any other operator."""
    if operator in flop_registry:
        return int(flop_registry[operator](*args, **kwargs, out_val=out))
    if operator is aten._scaled_dot_product_flash_attention_for_cpu:
        return int(sdpa_flop_count(*(tensor.shape for tensor in args[:3])))
    tensors = _tensors(args)
    if operator in (aten.mv, aten.addmv, aten.dot, aten.vdot):
        return int(2 * max(tensor.numel() for tensor in tensors))
    if operator is aten.addbmm:
        return int(2 * tensors[1].numel() * tensors[2].shape[-1])
    if operator is aten._trilinear:
        return int(2 * tensors[1].numel() * (tensors[0].numel() // tensors[1].shape[1]))
    if operator in (aten.mkldnn_rnn_layer, aten._cudnn_rnn):
        rows = tensors[0].numel() // tensors[0].shape[-1]
        return int(2 * rows * sum(tensor.numel() for tensor in tensors[1:] if tensor.dim() == 2))
    return 0


def _tensors(*values: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


def _bytes(tensor: torch.Tensor) -> int:
    return int(tensor.numel() * tensor.element_size())
