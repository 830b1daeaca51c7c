"""The values that a recorded forward consists of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Argument:
    """One argument of a launch.

    Args:
        name: the kernel's parameter.
        kind: "tensor", "scalar" or "constexpr".
        type: what Triton's binder calls it: "*fp32", "i32", "fp32", "constexpr".
        value: the scalar or constant as text; None for tensors.
        shape, strides: of a tensor, in elements; empty otherwise.
        tensor: which storage a tensor lies in, counted from 0 over the forward, so that two
            launches that touch the same memory show the same number; None otherwise.
        offset_bytes: where in its storage the tensor starts; 0 otherwise.
        divisible_by_16: whether the binder marked it so.
        itemsize: bytes of an element of a tensor; 0 otherwise.
    """

    name: str
    kind: str
    type: str
    value: str | None = None
    shape: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    tensor: int | None = None
    offset_bytes: int = 0
    divisible_by_16: bool = False
    itemsize: int = 0


@dataclass(frozen=True)
class Launch:
    """One way in which a kernel is launched: equal launches of a forward are recorded once.

    Launches are equal when they need the same binary, grid and scalars and tensors of the same
    shape and strides, wherever those lie; `tensor` and `offset_bytes` are those of the first.

    Args:
        kernel: the @triton.jit function's name.
        grid: programs along x, y, z.
        arguments: in the kernel's order.
        num_warps, num_stages, num_ctas: launch options as Triton resolved them.
        line: the line of the candidate's file that launches it.
        config: which of the file's own autotune configs this is, 0 the first; None without autotune.
    """

    kernel: str
    grid: tuple[int, int, int]
    arguments: tuple[Argument, ...]
    num_warps: int
    num_stages: int
    num_ctas: int
    line: int | None = None
    config: int | None = None

    @property
    def programs(self) -> int:
        x, y, z = self.grid
        return x * y * z

    @property
    def constants(self) -> dict[str, str]:
        return {a.name: a.value for a in self.arguments if a.kind == "constexpr" and a.value is not None}


@dataclass(frozen=True)
class TorchOperation:
    """Device work that the forward leaves to PyTorch, summed over one operator.

    Args:
        name: the aten operator, "aten.mm".
        count: calls in one forward.
        bytes: of its operands and results, all calls together.
        flops: of matrix products and convolutions, multiply and add counted apart; else 0.
    """

    name: str
    count: int
    bytes: int
    flops: int


@dataclass(frozen=True)
class Recording:
    """Every launch of one forward.

    Args:
        launches: the distinct ones, in order of first appearance. An autotuned kernel adds one for
            each of its configs.
        sequence: indices into `launches`, one per launch, in the order they happened. Of an
            autotuned kernel the first config stands here.
        alternatives: for each of `launches`, the launches that do the same work under the other
            configs of its autotuner, itself included; (itself,) without autotune.
        operations: device work between the launches.
    """

    launches: tuple[Launch, ...]
    sequence: tuple[int, ...]
    alternatives: tuple[tuple[int, ...], ...] = ()
    operations: tuple[TorchOperation, ...] = ()

    def count(self, index: int) -> int:
        return self.sequence.count(index)
