"""From a problem file to the calls of one forward, in the order they ran, loops unrolled. Worker side.

The model is built of fake tensors (shapes without data), so its sizes cost nothing. In-place operators
on tensors that forward made itself come out as their pure forms (torch.func.functionalize). A
torch.nn.LSTM, GRU or RNN over more than one step stays one call (`tilewright.lstm` and so on), for
`expand` to turn into loops.
"""

from __future__ import annotations

import ast
import inspect
import linecache
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException

from tilewright.errors import ProblemError, Where
from tilewright.launches.fake import replaced
from tilewright.problem import call_piece, import_problem, line_of
from tilewright.proposers.recurrence.frontend.layers import KeepLayers
from tilewright.proposers.recurrence.frontend.simplify import needed
from tilewright.proposers.recurrence.frontend.tape import Tape
from tilewright.proposers.recurrence.ir import Argument, Declined, Name, Network

Attributes = dict[str, tuple[nn.Module, str, torch.Tensor]]  # dotted name → owner, attribute, tensor

HOST_READS = (DataDependentOutputException, DynamicOutputShapeException)


def trace(source: str, path: str) -> Network:
    """The calls of one forward on the problem's own inputs, as a network without loops.

    Raises:
        Declined: forward's control flow reads values, it keeps state between calls or writes to what it
            was given, or an argument is not a tensor.
        ProblemError: the problem does not run.
    """
    problem = import_problem(source, path)
    tape = Tape(path)
    with tape.mode, torch.no_grad():
        try:
            with replaced(nn.Module, "_apply", _convert):
                model = problem.model(*call_piece(problem, "get_init_inputs", path))
            arguments = call_piece(problem, "get_inputs", path)
        except ProblemError as error:
            if isinstance(error.__cause__, HOST_READS):
                line = error.where.line if error.where else None
                raise Declined("the inputs' sizes depend on values", line) from error
            raise
        except HOST_READS as error:
            raise Declined("Model's constructor reads a tensor's value", line_of(error, path)) from error
        except Exception as error:  # the user's code may raise anything; it is reported with its line
            raise _failure(error, "Model", path) from error
    inputs = _bind_inputs(tape, model, arguments)
    attributes = _attributes(model)
    members = [*model.named_parameters(), *model.named_buffers()]
    members += [(dotted, tensor) for dotted, (_, _, tensor) in attributes.items()]
    # An attribute is listed only if forward reads what it held before the call.
    parameters = {_bind(tape, dotted, tensor): dotted for dotted, tensor in members}
    outputs = _output(tape, _run(tape, model, arguments, attributes, path))
    network = Network(tuple(inputs), parameters, tape.types, tuple(tape.statements), outputs)
    read = needed(network)
    _refuse_state(network, tape, set(inputs), attributes, read, path)
    kept = {n: dotted for n, dotted in parameters.items() if dotted not in attributes or n in read}
    types = {n: t for n, t in tape.types.items() if n in kept or n not in parameters}
    return replace(network, parameters=kept, types=types)


def _convert(
    module: nn.Module, function: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True
) -> Any:
    """nn.Module._apply (what .to, .double and the like run) for fake tensors, whose contents cannot be
    exchanged in place: every parameter and buffer becomes a new one."""
    if recurse:
        for child in module.children():
            child._apply(function)
    for name, tensor in module._parameters.items():
        if tensor is not None:
            module._parameters[name] = nn.Parameter(function(tensor.detach()), tensor.requires_grad)
    for name, tensor in module._buffers.items():
        if tensor is not None:
            module._buffers[name] = function(tensor)
    return module


def _bind_inputs(tape: Tape, model: nn.Module, arguments: list[Any]) -> list[str]:
    """Name the arguments of forward as its signature does."""
    names = [
        p.name
        for p in inspect.signature(model.forward).parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    inputs = []
    for position, argument in enumerate(arguments):
        name = names[position] if position < len(names) else f"input_{position}"
        if isinstance(argument, torch.Tensor):
            inputs.append(_bind(tape, name, argument))
        elif argument is not None:
            raise Declined(f"argument {name} of forward is a {type(argument).__name__}, not a tensor")
    return inputs


def _bind(tape: Tape, dotted: str, tensor: torch.Tensor) -> str:
    name = tape.free_name(dotted.replace(".", "_"))
    tape.bind(name, tensor)
    return name


def _attributes(model: nn.Module) -> Attributes:
    """Tensors kept as plain attributes of modules, neither parameter nor buffer."""
    members = {id(t) for t in [*model.parameters(), *model.buffers()]}
    return {
        f"{prefix}.{key}" if prefix else key: (module, key, value)
        for prefix, module in model.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, torch.Tensor) and id(value) not in members
    }


def _run(tape: Tape, model: nn.Module, arguments: list[Any], attributes: Attributes, path: str) -> Any:
    """Record one forward; in attributes, whatever forward left there."""

    def forward(held: list[torch.Tensor], given: list[Any]) -> Any:
        for (owner, key, _), tensor in zip(attributes.values(), held, strict=True):
            setattr(owner, key, tensor)
        before = {id(module): dict(vars(module)) for module in model.modules()}
        result = model(*given)
        for dotted, (owner, key, _) in attributes.items():
            if vars(owner).get(key) is not before[id(owner)][key]:
                tape.mutated.append((tape.name_of(attributes[dotted][2]), None))
        for module in model.modules():
            for key, value in vars(module).items():
                old = before[id(module)].get(key) if id(module) in before else None
                if not isinstance(old, torch.Tensor) and key not in FRAMEWORK and value is not old:
                    reason = f"forward keeps state between calls in self.{key}"
                    raise Declined(reason, _assigned(path, key))
        return result

    try:
        with tape.recording(), KeepLayers():
            return torch.func.functionalize(forward)([t for _, _, t in attributes.values()], arguments)
    except Declined as declined:
        line = declined.line if declined.line is not None else line_of(declined, path)
        raise Declined(declined.reason, line) from declined
    except HOST_READS as error:
        reason = "forward reads a tensor's value on the host: its steps depend on data"
        raise Declined(reason, line_of(error, path)) from error
    except Exception as error:  # the user's code may raise anything; it is reported with its line
        if "mutating a non-functional tensor" in str(error):
            raise Declined("forward writes to a parameter or buffer", line_of(error, path)) from error
        raise _failure(error, "forward", path) from error


# What nn.Module itself keeps in an instance.
FRAMEWORK = set(vars(nn.Module())) | {"_flat_weights", "_flat_weight_refs"}


def _refuse_state(
    network: Network, tape: Tape, inputs: set[str], attributes: Attributes, read: set[str], path: str
) -> None:
    """Decline what outlives the call: writes to inputs and members, attributes carried from call to call."""
    carried = {tape.name_of(tensor): dotted for dotted, (_, _, tensor) in attributes.items()}
    for name, line in tape.mutated:
        if name in inputs:
            raise Declined(f"forward writes to its input {name}", line)
        if name not in carried:
            raise Declined(f"forward writes in place to {network.parameters.get(name, name)}", line)
        if name in read:
            reason = f"forward carries self.{carried[name]} from one call to the next"
            raise Declined(reason, line or _assigned(path, carried[name].split(".")[-1]))


def _assigned(path: str, attribute: str) -> int | None:
    """The last line that assigns an attribute of this name: forward's, after the constructor's."""
    tree = ast.parse("".join(linecache.getlines(path)))
    found = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == attribute and isinstance(node.ctx, ast.Store)
    ]
    return max(found, default=None)


def _output(tape: Tape, value: Any) -> Argument:
    match value:
        case torch.Tensor():
            return Name(tape.name_of(value))
        case tuple() | list():
            return tuple(_output(tape, item) for item in value)
        case None:
            return None
    raise Declined(f"forward returns a {type(value).__name__}")


def _failure(error: Exception, piece: str, path: str) -> ProblemError:
    return ProblemError(
        f"{piece} raises {type(error).__name__}: {str(error)[:300]}",
        where=Where(path, line_of(error, path)),
        mend=f"make one {piece} of the reference run on its own inputs",
    )
