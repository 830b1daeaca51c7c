"""Triton's interpreter, watched: autotuned kernels without a GPU, and what a forward would cost.

The interpreter runs the programs of a grid one after another in Python, so a forward at full size
may take hours. `Tally` runs one program of each distinct kind of launch and counts the others.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from triton.compiler.errors import CompileTimeAssertionFailure
from triton.runtime import interpreter
from triton.runtime.autotuner import Autotuner
from triton.runtime.errors import OutOfResources, PTXASError

from tilewright.judge.interpreted import bfloat16, products
from tilewright.judge.interpreted.cooperative import BATON, waits

SAMPLES_PER_LAUNCH = 2


def repair() -> None:
    """Let the interpreter run what the compiler takes.

    A loop's bound may be a kernel argument: triton 3.6 turns a scalar, which it holds as an array of one
    element, into a Python integer with int(), which numpy 2.4 refuses for arrays that have a dimension.

    A mask may join a scalar condition and a tensor's: a comparison's result is held as a truth value but
    called int32, so that a scalar one spread over a tensor becomes integers, and triton 3.9 refuses those.

    And bfloat16 is computed in, and TF32 is: see `bfloat16` and `products`.
    """
    original = interpreter._patch_lang_tensor

    def patched(tensor: Any, scope: Any) -> None:
        original(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda scalar: int(scalar.handle.data.item()))

    interpreter._patch_lang_tensor = patched
    spread = interpreter.InterpreterBuilder.create_splat

    def truthful(builder: Any, kind: Any, scalar: Any) -> Any:
        made = spread(builder, kind, scalar)
        if scalar.data.dtype == bool:
            made.data = made.data.astype(bool)
        return made

    interpreter.InterpreterBuilder.create_splat = truthful
    products.repair()
    bfloat16.repair()


@contextlib.contextmanager
def order_of_programs(*, backwards: bool) -> Iterator[None]:
    """Inside the block the programs of a grid run one after another from the first to the last, or backwards.

    On a device they run in no order. What one of them finds of another's that it has not waited for is
    chance, and under either order something else.
    """
    builder = interpreter.InterpreterBuilder
    forwards = builder.set_grid_idx

    def mirrored(self: Any, *place: int) -> None:
        forwards(self, *(extent - 1 - at for extent, at in zip(self.grid_dim, place, strict=True)))

    if backwards:
        builder.set_grid_idx = mirrored
    try:
        yield
    finally:
        builder.set_grid_idx = forwards


class ConfigChoice:
    """Makes every autotuned kernel use its own config number `index`, modulo how many it has.

    Nothing is benchmarked, so this works without a GPU, and each config of a file can be judged.
    Configs that do not fit the device are passed over, as Triton's autotuner does.

    Attributes:
        index: the config to use next; None leaves the choice to Triton's own autotuning.
        most: the longest list of configs met so far; 1 without any autotuned kernel.
        used: what the last run used, for messages ("matmul_kernel: BLOCK_M: 64, num_warps: 4, …").
    """

    def __init__(self) -> None:
        self.index: int | None = 0
        self.most = 1
        self.used: dict[str, str] = {}

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """In force inside the block."""
        original = Autotuner.run

        def run(tuner: Any, *args: Any, **kwargs: Any) -> Any:
            if self.index is not None:
                return self._run(tuner, self.index, args, kwargs)
            self.most = max(self.most, len(tuner.configs))
            return original(tuner, *args, **kwargs)

        Autotuner.run = run
        try:
            yield
        finally:
            Autotuner.run = original

    def _run(self, tuner: Any, index: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tuner.nargs = dict(zip(tuner.arg_names, args, strict=False))
        configs = tuner.prune_configs(kwargs)
        self.most = max(self.most, len(configs))
        failure: Exception | None = None
        for attempt in range(len(configs)):
            config = configs[(index + attempt) % len(configs)]
            everything = {**tuner.nargs, **kwargs, **config.all_kwargs()}
            if config.pre_hook is not None:
                config.pre_hook(everything)
            tuner.pre_hook(everything, reset_only=True)
            try:
                result = tuner.fn.run(*args, **kwargs, **config.all_kwargs())
            except (OutOfResources, PTXASError, CompileTimeAssertionFailure) as error:
                failure = error
                continue
            self.used[tuner.base_fn.__name__] = str(config)
            tuner.best_config = config
            return result
        assert failure is not None
        raise failure

    def __str__(self) -> str:
        return "; ".join(f"{kernel} with {config}" for kernel, config in self.used.items())


@dataclass
class Tally:
    """What one forward launches, and how long the interpreter would take for it.

    Attributes:
        launches, programs: counted over the whole forward.
        seconds_by_kind: of one program, for each distinct launch (kernel, grid and constants).
        programs_by_kind: programs in all launches of that kind.
        most_by_kernel: the largest grid of each kernel, in programs.
    """

    launches: int = 0
    seconds_by_kind: dict[Any, float] = field(default_factory=dict)
    programs_by_kind: dict[Any, int] = field(default_factory=dict)
    samples_by_kind: dict[Any, int] = field(default_factory=dict)
    most_by_kernel: dict[str, int] = field(default_factory=dict)

    @property
    def programs(self) -> int:
        return sum(self.programs_by_kind.values())

    @property
    def seconds(self) -> float:
        """Interpreter time for every program of the forward, estimated."""
        return sum(
            count * self.seconds_by_kind.get(kind, 0.0) for kind, count in self.programs_by_kind.items()
        )

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Inside the block launches are counted, and only a sample of their programs is run."""
        original = interpreter.GridExecutor.__call__
        builder = interpreter.interpreter_builder

        def counted(executor: Any, *args: Any, **kwargs: Any) -> None:
            known = {**dict(zip(executor.arg_names, args, strict=False)), **kwargs}
            grid = executor.grid(known) if callable(executor.grid) else executor.grid
            grid = tuple(int(extent) for extent in grid) + (1,) * (3 - len(grid))
            kind = self._count(executor, grid, known)
            if self.samples_by_kind.get(kind, 0) >= SAMPLES_PER_LAUNCH or 0 in grid:
                return
            self.samples_by_kind[kind] = self.samples_by_kind.get(kind, 0) + 1
            executor.grid = (1, 1, 1)
            took = alone(grid, (0, 0, 0), executor, *args, **kwargs)
            programs = math.prod(grid)
            if programs > 1 and waits(executor.fn):  # the first and the others may do different work
                last = alone(grid, tuple(extent - 1 for extent in grid), executor, *args, **kwargs)
                took = (took + (programs - 1) * last) / programs
            self.seconds_by_kind[kind] = min(took, self.seconds_by_kind.get(kind, took))

        def alone(
            grid: tuple[int, ...], place: tuple[int, ...], executor: Any, *args: Any, **kwargs: Any
        ) -> float:
            """Seconds of one program of a grid."""
            builder.set_grid_dim = lambda *_: type(builder).set_grid_dim(builder, *grid)
            builder.set_grid_idx = lambda *_: type(builder).set_grid_idx(builder, *place)
            started = time.process_time()
            try:
                with BATON.sampling():
                    original(executor, *args, **kwargs)
            finally:
                del builder.set_grid_dim, builder.set_grid_idx
            return time.process_time() - started

        interpreter.GridExecutor.__call__ = counted
        try:
            yield
        finally:
            interpreter.GridExecutor.__call__ = original

    def _count(self, executor: Any, grid: tuple[int, ...], known: dict[str, Any]) -> Any:
        programs = grid[0] * grid[1] * grid[2]
        name = executor.fn.__name__
        kind = (name, grid, tuple(str(known.get(constant)) for constant in executor.constexprs))
        self.launches += 1
        self.programs_by_kind[kind] = self.programs_by_kind.get(kind, 0) + programs
        self.most_by_kernel[name] = max(self.most_by_kernel.get(name, 0), programs)
        return kind
