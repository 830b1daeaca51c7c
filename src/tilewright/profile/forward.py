"""One forward of a candidate for the profiler to look at, after one to warm up. Run in a worker under ncu.

Compiling, autotuning and whatever a file prepares once belong to the first forward, which the profiler
does not see.
"""

from __future__ import annotations

import contextlib
import math
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from triton.compiler.compiler import CompiledKernel
from triton.runtime.jit import JITFunction

from tilewright.errors import KernelFileError, SetupError
from tilewright.judge.failures import CandidateFailure, candidate_code
from tilewright.judge.sides import cloned, draw, forward, import_candidate, seed_everything
from tilewright.launches.fake import replaced
from tilewright.problem import import_problem
from tilewright.profile.model import Launched

SEED = 0
DEVICE = torch.device("cuda")


class Window:
    """Counts launches, and has the profiler look at the first few of each kernel on each size of grid.

    Args:
        most: launches of one kernel on one size of grid that the profiler sees.
        start, stop: turn the profiler on and off.
    """

    def __init__(self, most: int, start: Callable[[], None], stop: Callable[[], None]) -> None:
        self.most = most
        self.start, self.stop = start, stop
        self.counts: Counter[tuple[str, int]] = Counter()
        self.shut = False

    def opens(self, kernel: str, grid_size: int) -> None:
        """Just before a launch."""
        self.counts[kernel, grid_size] += 1
        if self.counts[kernel, grid_size] > self.most:
            self.stop()
            self.shut = True

    def closes(self) -> None:
        """Just after it."""
        if self.shut:
            self.start()
            self.shut = False

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Within this context every launch of a Triton kernel goes through the window."""
        original, at = JITFunction.run, CompiledKernel.__getitem__

        def run(kernel: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Any:
            def sized(bound: Mapping[str, Any]) -> Any:  # called between compiling and launching
                size = grid(bound) if callable(grid) else grid
                self.opens(kernel.__name__, math.prod(size) * (kwargs.get("num_ctas") or 1))
                return size

            if warmup:
                return original(kernel, *args, grid=grid, warmup=True, **kwargs)
            try:
                return original(kernel, *args, grid=sized, warmup=False, **kwargs)
            finally:
                self.closes()

        def compiled(kernel: Any, grid: Any) -> Any:  # launched by a file that keeps what was compiled
            launch = at(kernel, grid)

            def launched(*args: Any, **kwargs: Any) -> None:
                self.opens(kernel.src.fn.__name__, math.prod(grid) * kernel.metadata.num_ctas)
                try:
                    launch(*args, **kwargs)
                finally:
                    self.closes()

            return launched

        with replaced(JITFunction, "run", run), replaced(CompiledKernel, "__getitem__", compiled):
            yield


def run(payload: Mapping[str, Any]) -> list[Launched]:
    """Two forwards, the second one with the profiler on.

    Payload: problem, problem_path, source, path, launches (as `Window.most`), seconds. ModelNew keeps the
    parameters that its constructor draws: what the kernels do does not hang on their values.

    Raises:
        ProblemError, KernelFileError: a piece of the problem or the candidate fails.
        SetupError: CUDA sees no GPU.
    """
    signal.alarm(payload["seconds"])  # not even a killed parent leaves a forward that hangs behind
    if not torch.cuda.is_available():
        raise SetupError("PyTorch sees no GPU here", mend="install a CUDA build of torch")
    problem_path, path = payload["problem_path"], payload["path"]
    problem = import_problem(payload["problem"], problem_path)
    model_new = import_candidate(payload["source"], path)
    init_inputs, inputs = draw(problem, problem_path, SEED, DEVICE)
    profiler = torch.cuda.profiler
    window = Window(payload["launches"], profiler.start, profiler.stop)
    try:
        with candidate_code(payload["source"], path, interpreted=False):
            seed_everything(SEED)
            model = model_new(*cloned(init_inputs)).to(DEVICE)
            forward(model, cloned(inputs), SEED)
            again = cloned(inputs)
            torch.cuda.synchronize()
            profiler.start()
            with window.watching():
                forward(model, again, SEED)
            profiler.stop()
    except CandidateFailure as failure:
        raise KernelFileError(failure.reason, mend="`tilewright check` says more") from failure
    return [Launched(kernel, size, count) for (kernel, size), count in window.counts.items()]
