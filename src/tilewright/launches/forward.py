"""Runs one forward of a module on pretended GPU tensors. For worker processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedOperatorException,
)
from torch.utils._pytree import tree_map

from tilewright.errors import InputError, KernelFileError, ProblemError, TilewrightError, Where
from tilewright.launches.fake import DEVICE, to_device
from tilewright.launches.recorder import Recorder
from tilewright.problem import ProblemModule, call_piece, import_source, line_of

_HOST_READS = (DataDependentOutputException, DynamicOutputShapeException)


def record_candidate(problem: ProblemModule, problem_path: str, source: str, path: str) -> Recorder:
    """Record one forward of ModelNew, within `fake.pretend` and `driver.pretended_driver`.

    Raises:
        KernelFileError: the file does not import, has no ModelNew, or its forward fails on fake
            tensors; the line is named.
        ProblemError: the problem's own inputs fail.
    """
    module = import_source(source, path, "tilewright_candidate", KernelFileError)
    model = getattr(module, "ModelNew", None)
    if not callable(model):
        raise KernelFileError(
            "no ModelNew in the file", where=Where(path), mend="add `class ModelNew(nn.Module)`"
        )
    return _record(model, problem, problem_path, path, KernelFileError, "ModelNew")[0]


def record_reference(problem: ProblemModule, path: str) -> tuple[Recorder, list[torch.Tensor]]:
    """Record one forward of the reference; its outputs come back as well.

    Raises:
        ProblemError: a piece of the problem fails on fake tensors.
    """
    return _record(problem.model, problem, path, path, ProblemError, "Model")


def _record(
    model: Callable[..., Any],
    problem: ProblemModule,
    problem_path: str,
    path: str,
    error_class: type[InputError],
    name: str,
) -> tuple[Recorder, list[torch.Tensor]]:
    arguments = _inputs(problem, "get_init_inputs", problem_path)
    inputs = tree_map(to_device, _inputs(problem, "get_inputs", problem_path))
    recorder = Recorder(path)
    try:
        instance = model(*arguments)
        if isinstance(instance, torch.nn.Module):
            instance.to(DEVICE)
        with recorder.listening():
            result = instance(*inputs)
    except TilewrightError:
        raise
    except Exception as error:  # the user's code may raise anything; it is reported with its line
        raise _explained(error, name, path, error_class) from error
    outputs = result if isinstance(result, list | tuple) else [result]
    return recorder, [output for output in outputs if isinstance(output, torch.Tensor)]


def _inputs(problem: ProblemModule, piece: str, path: str) -> list[Any]:
    """What a piece of the problem returns, made of fake tensors unless it needs their values."""
    try:
        return call_piece(problem, piece, path)
    except ProblemError as error:
        if not isinstance(error.__cause__, _HOST_READS):
            raise
    mode = torch._C._unset_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE)
    try:
        real = call_piece(problem, piece, path)
    finally:
        torch._C._set_dispatch_mode(mode)
    inputs: list[Any] = tree_map(lambda t: mode.from_tensor(t) if isinstance(t, torch.Tensor) else t, real)
    return inputs


def _explained(error: Exception, name: str, path: str, error_class: type[InputError]) -> TilewrightError:
    where = Where(path, line_of(error, path))
    if isinstance(error, _HOST_READS):
        return error_class(
            f"{name} reads a tensor's value on the host, and without a GPU there is none",
            where=where,
            mend="keep the value on the device (no .item(), bool() or data-dependent shape in forward)",
        )
    if isinstance(error, UnsupportedOperatorException):
        return error_class(f"{name} calls {error.func}, which has no fake form", where=where)
    return error_class(
        f"{name} raises {type(error).__name__}: {str(error)[:300]}",
        where=where,
        mend=f"make one forward of {name} run on the problem's inputs",
    )
