"""What an emitter hands to the module writer: the kernels of a group and the function that launches them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Packed:
    """A weight that the wrapper wants prepared once, not at every call.

    Args:
        name: the wrapper's argument.
        weights: values of the network that it is made of.
        expression: PyTorch over those names that gives the packed tensor: a cast to fp16, gates
            interleaved, padding. It is evaluated again when a weight changes.
    """

    name: str
    weights: tuple[str, ...]
    expression: str


@dataclass(frozen=True)
class Emitted:
    """The code of one group of recurrences.

    Args:
        kernels: source of the @triton.jit functions, without the helpers named in `helpers`.
        wrapper: source of one Python function that checks its arguments, allocates and launches.
        function: its name.
        arguments: values of the network, and names of `packed`, in the order the wrapper takes them.
        results: values of the network that it returns as a tuple, in the shapes `ir.Result` states.
        helpers: keys of `ops.HELPERS` and `assembly.HELPERS` that the kernels call.
        imports: import lines beyond torch, torch.nn, triton and triton.language.
        notes: plan and budget figures for the file's header, a line each.
        packed: weights to prepare once.
        step_us: what one step is expected to take on the target, microseconds; an estimate.
        tiled: values that are read as [T, tiles of 8 rows, W, 8], contiguous, which products give.
        covers: calls of the network that the kernels stand for beside the loops.
        functions: source of Python functions that the wrapper calls, the same for every group that has one.
        free: which of "steps" and "batch" the wrapper takes in other sizes than the group's own.
    """

    kernels: str
    wrapper: str
    function: str
    arguments: tuple[str, ...]
    results: tuple[str, ...]
    step_us: float
    helpers: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    packed: tuple[Packed, ...] = ()
    tiled: frozenset[str] = frozenset()
    covers: frozenset[str] = frozenset()
    functions: tuple[str, ...] = ()
    free: frozenset[str] = frozenset()
