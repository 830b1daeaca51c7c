"""From the calls of one cycle of a step to the body of an `ir.Recurrence`. Worker side.

Every value of the step becomes [B, width]: its last dimension is the columns, the ones before it the
rows; a vector [B] beside matrices is one column. A view is read as columns of the value it lies in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import torch

from tilewright.proposers.recurrence.frontend.elementwise import RULES, Number, Term, Value, number
from tilewright.proposers.recurrence.frontend.simplify import VIEWS
from tilewright.proposers.recurrence.frontend.tape import Tape, binds, invoke, unrecorded
from tilewright.proposers.recurrence.ir import (
    Argument,
    Call,
    Declined,
    Name,
    Node,
    Operand,
    Product,
    State,
    Stream,
    Tensor,
)


class Outside(Protocol):
    """What a cycle reads from around it, on the network's tape."""

    tape: Tape

    def varies(self, name: str) -> bool:
        """Whether a value of the step is another one at every step."""
        ...

    def once(self, name: str) -> torch.Tensor:
        """A value that is the same at every step."""
        ...

    def every(self, name: str) -> torch.Tensor:
        """A value of every step, [T, …] in order of time."""
        ...


@dataclass
class Body:
    """The parts of a recurrence but its results.

    Args:
        names: value of the step → its name here, where it lies in columns of its own.
    """

    batch: int
    states: list[State] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    operands: list[Operand] = field(default_factory=list)
    items: list[Product | Node] = field(default_factory=list)
    following: list[tuple[str, str]] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)


def lower(
    calls: Sequence[Call],
    states: Sequence[tuple[str, torch.Tensor, str]],
    types: dict[str, Tensor],
    outside: Outside,
) -> Body:
    """The body of a recurrence.

    Args:
        calls: of the cycle, in order.
        states: (name, value before the first step, name of the value after the step).
        types: of the values of the step.
        outside: where the rest comes from.

    Raises:
        Declined: an operator without a rule, or a value that is not a matrix of rows and columns.
    """
    return _Lowering(calls, states, types, outside).run()


class _Lowering:
    def __init__(
        self,
        calls: Sequence[Call],
        states: Sequence[tuple[str, torch.Tensor, str]],
        types: dict[str, Tensor],
        outside: Outside,
    ) -> None:
        self._calls = calls
        self._states = states
        self._types = types
        self._outside = outside
        self._inner = {n for c in calls for n in binds(c)} | {name for name, _, _ in states}
        self._vectors = True
        self._body = Body(self._rows())
        # name → (base, metadata tensor over the base's columns)
        self._placed: dict[str, tuple[str, torch.Tensor]] = {}
        self._widths: dict[str, int] = {}
        self._booleans: set[str] = set()
        self._memo: dict[tuple[object, ...], Value] = {}
        self._line: int | None = None

    def run(self) -> Body:
        body = self._body
        for name, initial, _ in self._states:
            rows, width = self._matrix(self._types[name].shape)
            start = initial.reshape(rows, width)
            body.states.append(State(name, width, self._outside.tape.name_of(start)))
            self._base(name, name, width)
        for call in self._calls:
            self._line = call.line
            self._lower(call)
        for name, _, after in self._states:
            shape = self._types[name].shape
            body.following.append((name, self._columns(after, shape).name))
        for name in self._inner:
            if name in self._placed and not self._is_view(name):
                base, meta = self._placed[name]
                _, width = self._matrix(self._types[name].shape)
                if self._widths[base] == width and meta.is_contiguous() and meta.storage_offset() == 0:
                    body.names[name] = base
        return body

    def _rows(self) -> int:
        """B: the rows of the matrices that the cycle computes.

        Where they differ, those of the largest; a value of so many elements is then one column.
        """
        shapes = {self._types[n].shape for n in self._inner if not self._is_view(n)}
        matrices = [shape for shape in shapes if len(shape) > 1]
        if not matrices:
            return 1
        self._vectors = False
        rows = max(math.prod(shape[:-1]) for shape in matrices)
        for call in self._calls:
            shape = self._types[call.name].shape
            fits = len(shape) < 2 or rows in (math.prod(shape[:-1]), math.prod(shape))
            if not fits and call.target not in VIEWS:
                others = next(list(s) for s in matrices if math.prod(s[:-1]) == rows)
                reason = f"a step's values of shapes {list(shape)} and {others} have no rows in common"
                raise Declined(reason, call.line)
        return rows

    def _is_view(self, name: str) -> bool:
        return any(c.name == name and c.target in VIEWS for c in self._calls)

    def _matrix(self, shape: Sequence[int]) -> tuple[int, int]:
        """Rows and columns of a value of the step."""
        if len(shape) > 1 and math.prod(shape[:-1]) == self._body.batch:
            rows, width = math.prod(shape[:-1]), shape[-1]
        elif self._vectors:
            rows, width = 1, math.prod(shape)
        else:
            rows, width = math.prod(shape), 1
        if rows != self._body.batch:
            raise self._declined(f"a value of shape {list(shape)} beside a batch of {self._body.batch}")
        return rows, width

    def _declined(self, reason: str) -> Declined:
        return Declined(reason, self._line)

    def _base(self, name: str, base: str, width: int) -> None:
        """Let a value of the step be a value of the recurrence of its own."""
        self._widths[base] = width
        with unrecorded():
            self._placed[name] = (base, torch.empty(self._types[name].shape, device="meta"))

    def _lower(self, call: Call) -> None:
        kind = call.target.split(".")[1]
        if self._types[call.name].dtype not in ("float32", "bool"):
            raise self._declined(f"a carried computation in {self._types[call.name].dtype}")
        if call.target in VIEWS:
            self._view(call)
        elif kind == "mm":
            self._product(call)
        elif kind == "bmm":
            self._row_products(call)
        elif kind in ROWS:
            shape = self._types[cast(Name, call.args[0]).name].shape
            ROWS[kind](self, call, shape)
        elif kind in RULES:
            shape = self._types[call.name].shape
            args = [self._term(a, shape) for a in call.args]
            kwargs = {key: self._term(a, shape) for key, a in call.kwargs}
            try:
                result = RULES[kind](self._write, *args, **kwargs)
            except (NotImplementedError, TypeError):
                raise self._declined(f"operator {kind} with these arguments has no rule") from None
            self._bind(call.name, result)
        else:
            raise self._declined(f"operator {kind} has no rule")

    def _bind(self, name: str, result: Term) -> None:
        width = self._matrix(self._types[name].shape)[1]
        if not isinstance(result, Value) or result.width != width:
            item = Node(name, "add", (self._argument(number(self._write, result)), 0.0), width)
            self._body.items.append(item)
            result = Value(name, width)
        self._base(name, result.name, width)

    def _view(self, call: Call) -> None:
        source = cast(Name, call.args[0]).name
        base, meta = self._placed[source]
        with unrecorded():
            if call.target != "aten.reshape.default":
                self._placed[call.name] = base, invoke(call, lambda name: meta)[0]
                return
            try:
                self._placed[call.name] = base, meta.view(cast("tuple[int, ...]", call.args[1]))
            except (RuntimeError, ValueError):
                raise self._declined("a reshape inside the step moves data") from None

    def _product(self, call: Call) -> None:
        left, right = (cast(Name, a).name for a in call.args)
        if left not in self._inner:
            raise self._declined("a product with a carried value on its right: write W @ h as h @ W.T")
        if self._outside_varies(right) or right in self._inner:
            raise self._declined("a product of two values that change from step to step")
        shape = self._types[left].shape
        value = self._columns(left, shape)
        if value.width != shape[1]:
            raise self._declined("a product with a broadcast value")
        weight = self._outside.tape.name_of(transposed(self._outside.tape, self._outside.once(right)))
        width = self._types[call.name].shape[1]
        self._body.items.append(Product(call.name, value.name, weight, width, shape[1]))
        self._base(call.name, call.name, width)

    def _row_products(self, call: Call) -> None:
        """A matrix for each row times a vector, as products summed along the columns; or an outer product."""
        left, right = (cast(Name, a).name for a in call.args)
        shape = self._types[left].shape
        if shape[2] == 1:
            result = self._types[call.name].shape
            self._bind(
                call.name, self._write("mul", self._columns(left, result), self._columns(right, result))
            )
            return
        if self._types[right].shape[2] != 1:
            raise self._declined("a product of a matrix for each row with another matrix")
        x = self._write("mul", self._columns(left, shape), self._columns(right, shape, turned=True))
        self._bind(call.name, self._total(x, shape[2]))

    def _outside_varies(self, name: str) -> bool:
        return name not in self._inner and self._outside.varies(name)

    def _term(self, argument: Argument, shape: Sequence[int]) -> Any:
        return self._columns(argument.name, shape) if isinstance(argument, Name) else argument

    def _columns(self, name: str, shape: Sequence[int], *, turned: bool = False) -> Value:
        """A value, or its transpose, as the columns that it contributes to a result of this shape."""
        if name not in self._inner:
            return self._read(name, shape, turned)
        if name not in self._placed:
            raise self._declined("the second result of an operator is carried: an index, or a statistic")
        base, meta = self._placed[name]
        rows, width = self._matrix(shape)
        try:
            with unrecorded():
                meta = meta.transpose(-1, -2) if turned else meta
                flat = meta.expand(tuple(shape)).view(rows, width)
        except (RuntimeError, ValueError):  # torch.view raises either
            raise self._declined("a step's value is rearranged, not read by columns") from None
        down, across = flat.stride()
        own = self._widths[base]
        first = int(flat.storage_offset())
        if (rows > 1 and down != own) or (width > 1 and across not in (0, 1)) or first >= own:
            raise self._declined("a step's value is rearranged, not read by columns")
        return self._slice(base, first, 1 if across == 0 else width)

    def _slice(self, base: str, first: int, width: int) -> Value:
        boolean = base in self._booleans
        if (first, width) == (0, self._widths[base]):
            return Value(base, width, boolean)
        key = ("slice", base, first, width)
        if key not in self._memo:
            name = self._free(f"{base}_{first}")
            self._body.items.append(Node(name, "slice", (Name(base), first, width), width))
            self._memo[key] = Value(name, width, boolean)
            self._widths[name] = width
        return self._memo[key]

    def _free(self, stem: str) -> str:
        """A name that no other value of this recurrence has."""
        count, name = 1, stem
        while name in self._widths or name in self._types:
            count += 1
            name = f"{stem}_{count}"
        return name

    def _read(self, name: str, shape: Sequence[int], turned: bool = False) -> Value:
        """A value from outside the cycle: a stream, or an operand."""
        rows, width = self._matrix(shape)
        own = self._types[name].shape
        own = (*own[:-2], own[-1], own[-2]) if turned else own
        narrow = width if own and own[-1] == shape[-1] else 1
        if self._vectors is False and len(shape) == 1:
            narrow = 1
        partial = tuple(shape) if len(shape) == 1 or width == 1 else (*shape[:-1], narrow)
        key = ("read", name, tuple(shape), turned)
        if key in self._memo:
            return self._memo[key]
        local = self._free(f"{name}_in")
        if self._outside.varies(name):
            value = self._outside.every(name)
            value = value.transpose(-1, -2) if turned else value
            value = value if value.dtype == torch.float32 else value.to(torch.float32)
            value = value.reshape(value.shape[0], *[1] * (len(shape) - len(own)), *own)
            if tuple(value.shape[1:]) != partial:
                value = value.expand(value.shape[0], *partial)
            value = value.reshape(value.shape[0], rows, narrow)
            self._body.streams.append(Stream(local, narrow, self._outside.tape.name_of(value)))
        else:
            value = self._outside.once(name)
            value = value.transpose(-1, -2) if turned else value
            value = value if value.dtype == torch.float32 else value.to(torch.float32)
            if value.numel() == 1:
                value, narrow = value.reshape(()), 1
            elif value.numel() == narrow and rows > 1 and len(shape) > 1:
                value = value.reshape(narrow)
            else:
                value = value.expand(partial).reshape(rows, narrow)
            self._body.operands.append(Operand(local, self._outside.tape.name_of(value), tuple(value.shape)))
        self._widths[local] = narrow
        self._memo[key] = Value(local, narrow)
        return self._memo[key]

    def _write(self, op: str, *args: Term) -> Value:
        width = max((a.width for a in args if isinstance(a, Value)), default=0)
        if width == 0:
            raise NotImplementedError
        name = self._free(op)
        self._body.items.append(Node(name, op, tuple(self._argument(a) for a in args), width))
        self._widths[name] = width
        boolean = op in ("lt", "le", "gt", "ge", "eq", "ne")
        if boolean:
            self._booleans.add(name)
        return Value(name, width, boolean)

    def _argument(self, term: Term) -> Name | Number:
        return Name(term.name) if isinstance(term, Value) else term

    # Reductions over the columns.

    def _over_columns(self, call: Call, shape: Sequence[int], dims: Argument) -> Value:
        rank = len(shape)
        listed = dims if isinstance(dims, tuple) else (dims,)
        if [d % rank for d in listed if isinstance(d, int)] != [rank - 1] or self._matrix(shape)[0] == 0:
            raise self._declined(f"operator {call.target.split('.')[1]} over other dimensions than the last")
        value = self._columns(cast(Name, call.args[0]).name, shape)
        if value.width != shape[-1]:
            raise self._declined("a reduction of a broadcast value")
        return value

    def _row(self, op: str, x: Value) -> Value:
        name = self._free(op)
        self._body.items.append(Node(name, op, (Name(x.name),), 1))
        self._widths[name] = 1
        return Value(name, 1)

    def _total(self, x: Value, columns: int) -> Value:
        """The sum over the columns, from their mean."""
        return self._write("mul", self._row("row_mean", x), float(columns))

    def _reduced(self, call: Call, shape: Sequence[int]) -> Value:
        """What a reduction goes over, its dimensions being the second argument or all."""
        return self._over_columns(call, shape, call.args[1] if len(call.args) > 1 else None)

    def mean(self, call: Call, shape: Sequence[int]) -> None:
        self._bind(call.name, self._row("row_mean", self._reduced(call, shape)))

    def sum(self, call: Call, shape: Sequence[int]) -> None:
        self._bind(call.name, self._total(self._reduced(call, shape), shape[-1]))

    def max(self, call: Call, shape: Sequence[int]) -> None:
        """The largest value, without where it is."""
        self._bind(call.name, self._row("row_max", self._reduced(call, shape)))

    def min(self, call: Call, shape: Sequence[int]) -> None:
        x = self._write("neg", self._reduced(call, shape))
        self._bind(call.name, self._write("neg", self._row("row_max", x)))

    def softmax(self, call: Call, shape: Sequence[int]) -> None:
        powers, total, _, _ = self._powers(call, shape)
        self._bind(call.name, self._write("div", powers, total))

    def log_softmax(self, call: Call, shape: Sequence[int]) -> None:
        _, total, moved, _ = self._powers(call, shape)
        self._bind(call.name, self._write("sub", moved, self._write("log", total)))

    def logsumexp(self, call: Call, shape: Sequence[int]) -> None:
        _, total, _, highest = self._powers(call, shape)
        self._bind(call.name, self._write("add", self._write("log", total), highest))

    def _powers(self, call: Call, shape: Sequence[int]) -> tuple[Value, Value, Value, Value]:
        """exp(x - max), its sum over the columns, x - max, and max."""
        x = self._over_columns(call, shape, call.args[1])
        highest = self._row("row_max", x)
        moved = self._write("sub", x, highest)
        powers = self._write("exp", moved)
        return powers, self._total(powers, shape[-1]), moved, highest

    def var(self, call: Call, shape: Sequence[int]) -> None:
        self._bind(call.name, self._variance(call, shape))

    def std(self, call: Call, shape: Sequence[int]) -> None:
        self._bind(call.name, self._write("sqrt", self._variance(call, shape)))

    def _variance(self, call: Call, shape: Sequence[int]) -> Value:
        """`row_var`, which divides by the number of columns, with PyTorch's correction."""
        x = self._over_columns(call, shape, call.args[1] if len(call.args) > 1 else None)
        correction = dict(call.kwargs).get("correction", 1)
        correction = 1 if correction is None else correction
        assert isinstance(correction, int | float)
        if shape[-1] <= correction:
            raise self._declined("a variance of one value")
        factor = shape[-1] / (shape[-1] - correction)
        row = self._row("row_var", x)
        return row if factor == 1 else self._write("mul", row, factor)

    def norm(self, call: Call, shape: Sequence[int]) -> None:
        """The Euclidean norm, from the mean of squares."""
        order, dims = (*call.args[1:], 2, None)[:2]
        if order != 2:
            raise self._declined(f"a norm of order {order}")
        x = self._over_columns(call, shape, dims)
        total = self._total(self._write("mul", x, x), shape[-1])
        self._bind(call.name, self._write("sqrt", total))

    def layer_norm(self, call: Call, shape: Sequence[int]) -> None:
        _, normalized, weight, bias, eps = call.args
        if normalized != (shape[-1],):
            raise self._declined("layer norm over more than the last dimension")
        x = self._over_columns(call, shape, -1)
        scale = self._write("rsqrt", self._write("add", self._row("row_var", x), cast(float, eps)))
        result = self._write("mul", self._write("sub", x, self._row("row_mean", x)), scale)
        if isinstance(weight, Name):
            result = self._write("mul", result, self._columns(weight.name, shape))
        if isinstance(bias, Name):
            result = self._write("add", result, self._columns(bias.name, shape))
        self._bind(call.name, result)


ROWS: dict[str, Callable[[_Lowering, Call, Sequence[int]], None]] = {
    "mean": _Lowering.mean,
    "sum": _Lowering.sum,
    "var": _Lowering.var,
    "std": _Lowering.std,
    "max": _Lowering.max,
    "amax": _Lowering.max,
    "min": _Lowering.min,
    "amin": _Lowering.min,
    "_softmax": _Lowering.softmax,
    "_log_softmax": _Lowering.log_softmax,
    "logsumexp": _Lowering.logsumexp,
    "linalg_vector_norm": _Lowering.norm,
    "native_layer_norm": _Lowering.layer_norm,
}


def is_product(call: Call) -> bool:
    """Whether a call of a step multiplies matrices."""
    return call.target == "aten.mm.default"


def lowers(call: Call, types: dict[str, Tensor]) -> bool:
    """Whether a call is elementwise, a reduction of columns or a view, as far as its operator tells."""
    kind = call.target.split(".")[1]
    known = kind in RULES or kind in ROWS or call.target in VIEWS or kind == "bmm"
    return known and all(types[name].dtype in ("float32", "bool") for name in binds(call))


def transposed(tape: Tape, matrix: torch.Tensor) -> torch.Tensor:
    """The transpose, without transposing twice."""
    name = tape.name_of(matrix)
    for statement in reversed(tape.statements):
        if isinstance(statement, Call) and statement.name == name:
            if statement.target == "aten.t.default":
                return tape[cast(Name, statement.args[0]).name]
            break
    return matrix.t()
