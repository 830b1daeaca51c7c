"""The re-rolled form of a network: what the passes of the recurrence compiler hand to one another.

    Network     = inputs, parameters, Statement*, outputs
    Statement   = Call                      one PyTorch operator, run once
                | Recurrence                one time loop
    Recurrence  = State*, Stream*, Operand*, Product*, Node*, what leaves the loop
    Node        = an elementwise operation on [B, W] values of one step, or a slice of columns

Values are named. Within a network a name is bound once: by an input, a parameter, a call, or as a
result of a recurrence. Within a recurrence a name is bound once: by a state, a stream, an operand,
a product or a node. Shapes: B rows of the batch, T steps, W, H columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


class Declined(Exception):
    """The compiler does not take this network.

    Args:
        reason: one sentence, for the report.
        line: of the reference's file, where one is known.
    """

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


@dataclass(frozen=True)
class Name:
    """A reference to a value, told apart from a constant of the same text."""

    name: str


Scalar: TypeAlias = bool | int | float | str | None
Argument: TypeAlias = "Name | Scalar | tuple[Argument, ...]"


@dataclass(frozen=True)
class Tensor:
    """The type of a value: its shape and dtype ("float32")."""

    shape: tuple[int, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class Call:
    """One PyTorch operator, run once: before, between or after the loops.

    Args:
        name: the value it binds; for an operator with several results the first, the others in `more`.
        target: "aten.addmm.default", as `torch.ops` finds it.
        line: of the reference's file.
    """

    name: str
    target: str
    args: tuple[Argument, ...]
    kwargs: tuple[tuple[str, Argument], ...] = ()
    more: tuple[str, ...] = ()
    line: int | None = None


@dataclass(frozen=True)
class State:
    """A carried value [B, width], with the value it starts from."""

    name: str
    width: int
    initial: str


@dataclass(frozen=True)
class Stream:
    """One row block of a sequence [T, B, width] per step."""

    name: str
    width: int
    value: str


@dataclass(frozen=True)
class Operand:
    """A value that every step reads whole: [width] (a bias), [B, width], or [] (a scalar)."""

    name: str
    value: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Product:
    """left @ weight.T with left [B, inner] of this step and weight [width, inner] the same every step.

    Args:
        left: a state; a node of this step (a second product in the chain of one step); or a stream,
            where a loop reads the outputs of the loop below it step by step instead of after it.
        weight: a value of the network.
    """

    name: str
    left: str
    weight: str
    width: int
    inner: int


@dataclass(frozen=True)
class Node:
    """One elementwise operation on values of one step.

    Args:
        op: a key of `ops.OPS` ("add", "mul", "tanh", "where", …), "slice" with arguments
            (source, first column, width), or a row reduction "row_mean", "row_var", "row_max" over columns
            ([B, W] → [B, 1]).
        args: names of this recurrence, or numbers.
        width: columns of the result; 1 broadcasts.
    """

    name: str
    op: str
    args: tuple[Name | float | int | bool, ...]
    width: int


@dataclass(frozen=True)
class Result:
    """A value of the loop that is read after it.

    Args:
        name: what the network calls it.
        source: a node or state of the recurrence; of a state, its value after the step.
        every_step: [T, B, width] of all steps in order of time, else [B, width] of the last one run.
    """

    name: str
    source: str
    every_step: bool


@dataclass(frozen=True)
class Recurrence:
    """A time loop: for each step, products, then nodes, then the next states.

    Args:
        steps: T. reverse: whether it runs from the last step to the first; sequences stay in order of time.
        following: (state, node or state) pairs: what a state becomes after the step.
        body: products and nodes in an order in which every name is bound before it is read.
    """

    name: str
    steps: int
    batch: int
    reverse: bool
    states: tuple[State, ...]
    streams: tuple[Stream, ...]
    operands: tuple[Operand, ...]
    body: tuple[Product | Node, ...]
    following: tuple[tuple[str, str], ...]
    results: tuple[Result, ...]
    line: int | None = None

    @property
    def products(self) -> tuple[Product, ...]:
        return tuple(item for item in self.body if isinstance(item, Product))

    @property
    def nodes(self) -> tuple[Node, ...]:
        return tuple(item for item in self.body if isinstance(item, Node))


Statement: TypeAlias = Call | Recurrence


@dataclass(frozen=True)
class Network:
    """One forward.

    Args:
        inputs: names of forward's tensor arguments, in order.
        parameters: value name → dotted attribute of Model ("i2h.weight"), parameters and buffers.
        types: of every value of the network.
        outputs: what forward returns: a name, or a nested tuple of names.
    """

    inputs: tuple[str, ...]
    parameters: dict[str, str]
    types: dict[str, Tensor]
    statements: tuple[Statement, ...]
    outputs: Argument

    @property
    def recurrences(self) -> tuple[Recurrence, ...]:
        return tuple(s for s in self.statements if isinstance(s, Recurrence))


@dataclass(frozen=True)
class Group:
    """Recurrences that one kernel runs side by side: directions, or layers as a wavefront.

    A stream whose value is an every-step result of another member follows that member step by step.
    """

    members: tuple[Recurrence, ...]
