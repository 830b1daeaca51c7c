"""Writes calls by running PyTorch on fake tensors: every operator that runs is noted as an `ir.Call`.

The passes that make calls (tracing, batching over time, the input projections of an LSTM) are plain
PyTorch code run under `Tape.recording`; shapes and dtypes come out by themselves, and nothing is computed.
Worker side.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import FrameType
from typing import Any, cast

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from tilewright.proposers.recurrence.ir import (
    Argument,
    Call,
    Declined,
    Name,
    Product,
    Recurrence,
    Statement,
    Tensor,
)

# The same as a reshape, where every value counts as stored row by row.
RESHAPES = {f"aten.{name}.default" for name in ("view", "_unsafe_view", "_reshape_copy")}
# Where a value lies is the emitted module's business: it runs on the device of its inputs.
PLACEMENT = {"device", "layout", "pin_memory", "memory_format", "non_blocking"}


class Tape:
    """Statements in order, the types of their values, and a fake tensor for each value.

    Args:
        path: of the problem file, whose lines the calls remember; None when they have none.
    """

    def __init__(self, path: str | None = None) -> None:
        self.mode = FakeTensorMode()
        self.statements: list[Statement] = []
        self.types: dict[str, Tensor] = {}
        self.line: int | None = None
        self.mutated: list[tuple[str, int | None]] = []
        self._path = path
        self._tensors: dict[str, torch.Tensor] = {}
        self._names: dict[int, str] = {}
        self._counts: dict[str, int] = {}
        self._made: set[str] = set()  # by calls

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._tensors[name]

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def name_of(self, tensor: torch.Tensor) -> str:
        """The value that a fake tensor stands for.

        Raises:
            Declined: it was made outside the recording.
        """
        name = self._names.get(id(tensor))
        if name is None:
            raise Declined(f"a tensor of shape {list(tensor.shape)} comes from outside forward", self.here())
        return name

    def free_name(self, stem: str) -> str:
        """`stem`, or `stem_2`, `stem_3`, … when it is taken."""
        while True:
            count = self._counts[stem] = self._counts.get(stem, 0) + 1
            name = stem if count == 1 else f"{stem}_{count}"
            if name not in self._tensors:
                return name

    def bind(self, name: str, tensor: torch.Tensor) -> None:
        """Let `name` stand for a fake tensor."""
        self._tensors[name] = tensor
        self._names[id(tensor)] = name
        self.types[name] = type_of(tensor)

    def declare(self, name: str, kind: Tensor) -> torch.Tensor:
        """A new value that no call makes: an input, a parameter, a result of a loop."""
        with unrecorded(), self.mode:
            tensor = torch.empty(kind.shape, dtype=getattr(torch, kind.dtype))
        self.bind(name, tensor)
        return tensor

    def append(self, recurrence: Recurrence) -> None:
        self.statements.append(recurrence)

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Within this context what PyTorch runs is written down."""
        with unrecorded(), self.mode, torch.no_grad(), _Recording(self):
            yield

    def run(self, call: Call, value: Callable[[str], torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Run a call again on this tape, its names looked up by `value`; within `recording`."""
        self.line = call.line
        result = invoke(call, value)
        self.line = None
        return result

    def here(self) -> int | None:
        """The line of the problem file that runs now."""
        if self._path is None:
            return self.line
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            if frame.f_code.co_filename == self._path:
                return frame.f_lineno
            frame = frame.f_back
        return None

    def note(self, function: Any, args: Any, kwargs: dict[str, Any], result: Any) -> None:
        """Write down one operator that ran."""
        results = tuple(result) if isinstance(result, tuple | list) else (result,)
        if not all(isinstance(r, torch.Tensor) for r in results):
            return  # a question about a size or a dtype
        line = self.here()
        target = target_of(function)
        if function._schema.is_mutable:
            self._write_in_place(function, args, kwargs, line)
            return
        if function in (torch.ops.aten.lift_fresh.default, torch.ops.aten.lift_fresh_copy.default):
            self._constant(args[0], results[0], line)
            return
        if function is torch.ops.aten.copy.default and type_of(args[1]) == type_of(args[0]):
            target, args, kwargs = "aten.clone.default", (args[1],), {}
        if target in RESHAPES:
            target, args = "aten.reshape.default", (args[0], tuple(results[0].shape))
        arguments = tuple(self._argument(a, line) for a in args)
        pairs = tuple((k, self._argument(v, line)) for k, v in kwargs.items() if k not in PLACEMENT)
        self._write(target, arguments, pairs, results, line)

    def _write_in_place(self, function: Any, args: Any, kwargs: dict[str, Any], line: int | None) -> None:
        """An in-place operator inside one of PyTorch's own, on a value made just before: its pure form.

        Those of forward itself have become pure before they arrive here. What is written to a value
        that no call made is kept in `mutated`.
        """
        written = args[0] if args and isinstance(args[0], torch.Tensor) else kwargs.get("out")
        name = self._names.get(id(written), "a tensor")
        target = target_of(function)
        pure = target.replace("_.", ".", 1)
        if written is not args[0] or pure == target or name not in self._made:
            self.mutated.append((name, line))
            return
        arguments = tuple(self._argument(a, line) for a in args)
        pairs = tuple((k, self._argument(v, line)) for k, v in kwargs.items() if k not in PLACEMENT)
        self._write(pure, arguments, pairs, (written,), line)

    def _constant(self, value: torch.Tensor, result: torch.Tensor, line: int | None) -> None:
        """A tensor written out in forward (`torch.tensor(0.5)`), when it holds one number."""
        if id(value) in self._names:
            self._write("aten.clone.default", (Name(self._names[id(value)]),), (), (result,), line)
            return
        constant = getattr(value, "constant", None)
        constant = value if constant is None and type(value) is torch.Tensor else constant
        if constant is None or constant.numel() != 1:
            raise Declined("a constant tensor with more than one element is written out in forward", line)
        with unrecorded():
            number = constant.reshape(()).item()
        dtype = (("dtype", dtype_name(constant.dtype)),)
        self._write("aten.full.default", (tuple(value.shape), number), dtype, (result,), line)

    def _write(
        self,
        target: str,
        arguments: tuple[Argument, ...],
        pairs: tuple[tuple[str, Argument], ...],
        results: tuple[torch.Tensor, ...],
        line: int | None,
    ) -> None:
        stem = target.split(".")[1].strip("_")
        names = []
        for result in results:
            names.append(self.free_name(stem))
            self.bind(names[-1], result)
        self._made.update(names)
        self.statements.append(Call(names[0], target, arguments, pairs, tuple(names[1:]), line))

    def _argument(self, value: Any, line: int | None) -> Argument:
        match value:
            case torch.Tensor():
                return Name(self.name_of(value))
            case None | bool() | int() | float() | str():
                return value
            case tuple() | list():
                return tuple(self._argument(item, line) for item in value)
            case torch.dtype():
                return dtype_name(value)
            case torch.device() | torch.layout() | torch.memory_format():
                return None
        raise Declined(f"an operator takes a {type(value).__name__}", line)


class _Recording(TorchDispatchMode):  # type: ignore[misc] # torch is not followed
    def __init__(self, tape: Tape) -> None:
        super().__init__()
        self._tape = tape

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self._tape.note(func, args, kwargs or {}, result)
        return result


def unrecorded() -> contextlib.AbstractContextManager[None]:
    """Within this context nothing is written on any tape, and tensors are no longer fake."""
    return cast("contextlib.AbstractContextManager[None]", _disable_current_modes())


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def type_of(tensor: torch.Tensor) -> Tensor:
    return Tensor(tuple(tensor.shape), dtype_name(tensor.dtype))


def target_of(function: Any) -> str:
    """ "aten.addmm.default" of torch.ops.aten.addmm.default."""
    return f"{function.namespace}.{function._schema.name.split('::')[1]}.{function._overloadname}"


@functools.cache
def operator(target: str) -> Any:
    """The operator of a call: torch.ops.aten.addmm.default of "aten.addmm.default"."""
    namespace, name, overload = target.split(".")
    return getattr(getattr(getattr(torch.ops, namespace), name), overload)


def invoke(call: Call, value: Callable[[str], Any], **replaced: Any) -> tuple[torch.Tensor, ...]:
    """Run a call on the tensors that `value` gives for its names; `replaced` overrides keywords."""

    def there(argument: Argument) -> Any:
        match argument:
            case Name(name=name):
                return value(name)
            case tuple():
                return [there(item) for item in argument]
            case _:
                return argument

    kwargs = {key: there(item) for key, item in call.kwargs}
    if isinstance(kwargs.get("dtype"), str):
        kwargs["dtype"] = getattr(torch, kwargs["dtype"])
    result = operator(call.target)(*[there(a) for a in call.args], **{**kwargs, **replaced})
    return tuple(result) if isinstance(result, tuple | list) else (result,)


def names_in(argument: Argument | tuple[tuple[str, Argument], ...]) -> Iterator[str]:
    """The names that an argument mentions, in order."""
    match argument:
        case Name(name=name):
            yield name
        case tuple():
            for item in argument:
                yield from names_in(item)


def reads(statement: Statement) -> Iterator[str]:
    """The values that a statement reads, in order."""
    match statement:
        case Call():
            yield from names_in(statement.args)
            for _, argument in statement.kwargs:
                yield from names_in(argument)
        case Recurrence():
            yield from (state.initial for state in statement.states)
            yield from (stream.value for stream in statement.streams)
            yield from (operand.value for operand in statement.operands)
            yield from (product.weight for product in statement.products)


def binds(statement: Statement) -> tuple[str, ...]:
    """The values that a statement makes."""
    if isinstance(statement, Call):
        return (statement.name, *statement.more)
    return tuple(result.name for result in statement.results)


def renamed(argument: Argument, names: Callable[[str], str]) -> Argument:
    """The argument with every name replaced."""
    match argument:
        case Name(name=name):
            return Name(names(name))
        case tuple():
            return tuple(renamed(item, names) for item in argument)
        case _:
            return argument


def is_random(statement: Statement) -> bool:
    """Whether a statement draws random numbers."""
    return (
        isinstance(statement, Call) and torch.Tag.nondeterministic_seeded in operator(statement.target).tags
    )


def with_reads(statement: Statement, names: Callable[[str], str]) -> Statement:
    """The statement with every value that it reads replaced."""
    if isinstance(statement, Call):
        kwargs = tuple((key, renamed(value, names)) for key, value in statement.kwargs)
        return replace(statement, args=tuple(renamed(a, names) for a in statement.args), kwargs=kwargs)
    return replace(
        statement,
        states=tuple(replace(s, initial=names(s.initial)) for s in statement.states),
        streams=tuple(replace(s, value=names(s.value)) for s in statement.streams),
        operands=tuple(replace(o, value=names(o.value)) for o in statement.operands),
        body=tuple(
            replace(i, weight=names(i.weight)) if isinstance(i, Product) else i for i in statement.body
        ),
    )
