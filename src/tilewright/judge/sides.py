"""Both sides of a comparison, built alike: the same arguments, the same parameters. Worker side."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from tilewright.errors import KernelFileError, Where
from tilewright.judge.answer.compare import rebuilt
from tilewright.judge.drawing import SharedDraws
from tilewright.judge.failures import reference_code
from tilewright.judge.parameters import match_parameters
from tilewright.problem import ProblemModule, call_piece, import_source


def import_candidate(source: str, path: str, name: str = "ModelNew") -> Callable[..., nn.Module]:
    """Import a candidate's file and return its class of that name.

    Raises:
        KernelFileError: the import fails or there is no such class.
    """
    module = import_source(source, path, "tilewright_candidate", KernelFileError)
    model: Any = getattr(module, name, None)
    if not isinstance(model, type) or not issubclass(model, nn.Module):
        raise KernelFileError(f"no {name}", where=Where(path), mend=f"add `class {name}(nn.Module)`")
    return model


def seed_everything(seed: int) -> None:
    """Seed every generator that a problem may draw from.

    As torch.manual_seed does, whose first call would import all of torch.compile: a second of each check.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)
    torch.cuda.manual_seed_all(seed)


def draw(problem: ProblemModule, path: str, seed: int, device: torch.device) -> tuple[list[Any], list[Any]]:
    """Fresh constructor arguments and fresh forward arguments, the latter on the device.

    Raises:
        ProblemError: get_init_inputs or get_inputs does not run.
    """
    seed_everything(seed)
    with SharedDraws():
        init_inputs = call_piece(problem, "get_init_inputs", path)
        inputs = call_piece(problem, "get_inputs", path)
    return init_inputs, moved(inputs, device)


def build_reference(
    problem: ProblemModule, path: str, init_inputs: list[Any], seed: int, device: torch.device
) -> nn.Module:
    """Model with parameters drawn from the seed.

    Raises:
        ProblemError: the constructor raises.
    """
    with reference_code(path):
        seed_everything(seed)
        with SharedDraws():
            model: nn.Module = problem.model(*cloned(init_inputs))
        return model.to(device)


def build_candidate(
    model_new: Callable[..., nn.Module],
    init_inputs: list[Any],
    reference: nn.Module,
    seed: int,
    device: torch.device,
    mapping: Mapping[str, str] | None = None,
) -> nn.Module:
    """ModelNew with the reference's parameters, where it shares a process with the reference.

    Raises:
        AmbiguousParameters: they match in more than one way, or not at all.
    """
    seed_everything(seed)
    with SharedDraws():
        model = model_new(*cloned(init_inputs))
    own, state = state_of(model), state_of(reference)
    parameters = {name: tuple(value.shape) for name, value in model.named_parameters()}
    buffers = {name: tuple(value.shape) for name, value in model.named_buffers()}
    with torch.no_grad():
        for new, old in pairs(reference, parameters, buffers, mapping).items():
            own[new].copy_(state[old])
    return model.to(device)


def pairs(
    reference: nn.Module,
    parameters: Mapping[str, Sequence[int]],
    buffers: Mapping[str, Sequence[int]],
    mapping: Mapping[str, str] | None,
) -> dict[str, str]:
    """Parameter or buffer of the candidate → the reference's parameter or buffer that it gets the values of.

    Parameters are matched by `match_parameters`. A buffer takes the value of the reference's buffer
    or parameter of the same name and shape (or the one the map names); any other buffer is the
    candidate's own business and is left alone.

    Args:
        parameters, buffers: of the candidate, name → shape.
        mapping: parameter or buffer of the candidate → of the reference, as the user said.

    Raises:
        AmbiguousParameters: they match in more than one way, or not at all.
    """
    given = {new: old for new, old in (mapping or {}).items() if new not in buffers}
    matched = match_parameters(
        {name: tuple(parameter.shape) for name, parameter in reference.named_parameters()},
        {name: tuple(shape) for name, shape in parameters.items()},
        given,
    )
    state = state_of(reference)
    for new, shape in buffers.items():
        old = (mapping or {}).get(new, new)
        if old in state and list(state[old].shape) == list(shape):
            matched[new] = old
    return matched


def state_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers by name."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def forward(model: nn.Module, inputs: list[Any], seed: int) -> Any:
    """One forward without gradients, every generator seeded just before it."""
    seed_everything(seed)
    with torch.no_grad():
        outputs = model(*inputs)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    return outputs


def apply(function: Callable[[torch.Tensor], torch.Tensor], value: Any) -> Any:
    """The same nested lists, tuples and dicts, with the function applied to every tensor."""
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, dict):
        return {key: apply(function, item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return rebuilt(value, (apply(function, item) for item in value))
    return value


def cloned(value: Any) -> Any:
    return apply(lambda tensor: tensor.detach().clone(), value)


def moved(value: Any, device: torch.device) -> Any:
    return apply(lambda tensor: tensor.to(device), value)
