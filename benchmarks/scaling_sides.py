"""One point of the scaling benchmark on this machine's GPU, inside a process of its own."""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from recording import Run, Side, sample
from scaling_files import file_path, problem_path
from scaling_records import FP16, OURS, TF32
from sides import Case, CudaStopwatch, Entry, also_in_a_graph, build, load, model_new, with_samples

LEAST, MOST = 10, 16  # samples of a side


def case_of(path: Path, device: Any, seed: int) -> Case:
    """The problem's weights and inputs, drawn on the device: the largest are slow to draw elsewhere.

    Expected is a run in float64, step by step and without cuDNN, which is one of the sides.
    """
    import torch

    from tilewright.judge.answer.precision import plain_arithmetic

    problem = load(path)
    with torch.device(device), torch.no_grad():
        torch.manual_seed(seed)
        model = problem.Model(*problem.get_init_inputs()).eval()
        inputs = tuple(problem.get_inputs())
        with plain_arithmetic(recurrent=True):
            expected = copy.deepcopy(model).double()(*(tensor.double() for tensor in inputs))
    return Case(problem, model, inputs, expected)


def cudnn(case: Case, dtype: Any) -> Run:
    """The reference, which PyTorch hands to cuDNN, in another type."""
    model = copy.deepcopy(case.model).to(dtype).eval()
    return partial(model, *(tensor.to(dtype) for tensor in case.inputs))


def entries(case: Case, home: Path) -> Iterator[Entry]:
    """cuDNN's sides, and ours where the point has a file."""
    import torch

    yield from also_in_a_graph(Entry(FP16, partial(cudnn, case, torch.float16)))
    yield from also_in_a_graph(Entry(TF32, partial(cudnn, case, torch.float32), tf32=True))
    if file_path(home).exists():
        yield from also_in_a_graph(Entry(OURS, partial(model_new, case, file_path(home))))


def warmed(home: Path) -> None:
    """One forward of the point's file, so that Triton's cache on disk holds its kernels."""
    import torch

    device = torch.device("cuda")
    with torch.no_grad(), device:
        problem = load(problem_path(home))
        model = load(file_path(home)).ModelNew(*problem.get_init_inputs()).eval()
        model(*problem.get_inputs())
        torch.cuda.synchronize()
    _release()


def timed(home: Path, seconds: float, seed: int) -> tuple[Side, ...]:
    """All sides of a point with their samples.

    Args:
        seconds: for the samples of one side, which are LEAST at least.
    """
    import torch

    with torch.no_grad():
        case = case_of(problem_path(home), torch.device("cuda"), seed)
        built = [build(entry, case) for entry in entries(case, home)]
        contenders = [contender for _, contender in built if contender]
        taken = sample(
            contenders, CudaStopwatch(), seconds_per_side=seconds, least=LEAST, most=MOST, seed=seed
        )
        torch.cuda.synchronize()  # raises where a side left the GPU in error
    sides = tuple(_rounded(with_samples(side, taken.get(side.label))) for side, _ in built)
    del case, built, contenders
    _release()
    return sides


def _rounded(side: Side) -> Side:
    wall, device = (tuple(round(time, 1) for time in times) for times in (side.wall_us, side.device_us))
    return replace(side, wall_us=wall, device_us=device)


def _release() -> None:
    """Give the point's memory back."""
    import torch

    gc.collect()
    torch.cuda.empty_cache()
