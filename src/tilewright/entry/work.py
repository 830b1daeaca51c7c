"""What a problem's Model holds once it is built. The task inside a worker process, and its call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tilewright import workers
from tilewright.problem import Problem
from tilewright.serial import structure

TASK = "tilewright.entry.work:members"


@dataclass(frozen=True)
class Members:
    """By dotted name.

    Args:
        tensors: parameters and buffers, with their shapes.
        values: other public attributes that are plain values or tensors, as text.
        taken: every name that the model itself answers to.
    """

    tensors: dict[str, tuple[int, ...]]
    values: dict[str, str]
    taken: tuple[str, ...]


def members_of(problem: Problem) -> Members:
    """Build a problem's Model in a worker process and list what it holds.

    Raises:
        ProblemError: it cannot be built.
    """
    answer = workers.call(
        TASK, {"source": problem.source, "path": str(problem.path)}, loads=workers.FAKE_TENSORS
    )
    return structure(answer, Members)


def members(payload: dict[str, Any]) -> Members:
    """The Members of {"source", "path"}."""
    import torch

    model = _built(payload["source"], payload["path"])
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    plain = (bool, int, float, str, torch.dtype, torch.Tensor)
    values = {}
    for prefix, module in model.named_modules():
        absent = {name: None for name, tensor in module._parameters.items() if tensor is None}
        for name, value in {**vars(module), **absent}.items():
            parts = value if isinstance(value, tuple | list) else [value]
            own = not name.startswith("_") and not (prefix and name == "training")
            if own and all(part is None or isinstance(part, plain) for part in parts):
                shown = f"{list(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)
                values[f"{prefix}.{name}" if prefix else name] = shown
    return Members({name: tuple(tensor.shape) for name, tensor in tensors.items()}, values, tuple(dir(model)))


def _built(source: str, path: str) -> Any:
    """Model with its own arguments, of tensors without data unless its constructor reads some."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    from tilewright.judge.failures import reference_code
    from tilewright.problem import call_piece, import_problem

    problem = import_problem(source, path)
    try:
        with FakeTensorMode():
            return problem.model(*call_piece(problem, "get_init_inputs", path))
    except Exception:  # noqa: BLE001  the user's code may raise anything, and says it again below
        with reference_code(path), torch.no_grad():
            return problem.model(*call_piece(problem, "get_init_inputs", path))
