"""One step as the CTA that owns a few hidden units sees it: elementwise lines of Triton.

A value whose width is G times the hidden width is G gates. Two forms are kept: a tile [rows, columns] that
holds all gates side by side, in the order in which the products give them, and separate gates [rows, units].
Arithmetic stays on tiles as long as it can, because one line then serves every gate.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from tilewright.proposers.recurrence.ir import Declined, Name, Node
from tilewright.proposers.recurrence.ops import OPS

RESERVED = frozenset({
    "tl", "triton", "cta", "member", "first_row", "steps", "batch", "step", "time", "next_time",
    "row", "unit", "live", "first", "mine", "own", "below", "published", "sigmoid", "tanh", "and", "or",
    "not", "in", "is", "if", "else", "for", "while", "def", "class", "return", "lambda", "pass",
    "None", "True", "False", "range", "from", "float",
})  # fmt: skip


def padded_gates(count: int) -> int:
    """Gates of a tile that holds `count`: a power of two, as tiles must be."""
    return 1 << max(0, count - 1).bit_length()


def variable(name: str) -> str:
    """A value's name as Python writes it."""
    text = re.sub(r"\W", "_", name)
    return f"{text}_" if text in RESERVED or text[:1].isdigit() or not text else text


@dataclass(frozen=True)
class Shown:
    """How the kernel holds a value.

    Args:
        gates: a variable for each gate, empty while only the tile exists; one for a broadcast value.
        tile: the variable of the tile, None where the gates are separate.
        count: gates; 0 for a value of one column that broadcasts.
        rows, columns: whether it varies with the row, and with the unit.
    """

    gates: tuple[str, ...]
    tile: str | None
    count: int
    rows: bool
    columns: bool


@dataclass
class Step:
    """Writes the nodes of one step.

    Args:
        hidden: H; tiles and gates hold the units of one CTA.
        prefix: of the helpers that take a tile apart.
        activation: what the helpers of tanh and sigmoid begin with, "" or "approximate_".
        ahead: values whose tiles are taken apart before the step begins; early: the lines that do it.
    """

    hidden: int
    prefix: str
    activation: str
    values: dict[str, Shown] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    helpers: set[str] = field(default_factory=set)
    splits: set[int] = field(default_factory=set)
    ahead: frozenset[str] = frozenset()
    early: list[str] = field(default_factory=list)

    def gates_of(self, width: int, what: str) -> int:
        """How many gates a width is; 0 for one column.

        Raises:
            Declined: the width is no multiple of the hidden width.
        """
        if width % self.hidden == 0:
            return width // self.hidden
        if width == 1:
            return 0
        raise Declined(f"{what} is {width} wide, which is no multiple of the {self.hidden} hidden units")

    def bind(self, name: str, shown: Shown) -> None:
        self.values[name] = shown

    def node(self, node: Node) -> None:
        """Bind one node.

        Raises:
            Declined: it mixes columns.
        """
        if node.op == "slice":
            self._slice(node)
            return
        operation = OPS.get(node.op)
        if operation is None:
            raise Declined(f"{node.op} mixes columns, which different CTAs hold")
        expression = operation.triton
        if operation.helped:
            self.helpers.add(f"{self.activation}{node.op}")
            expression = f"{self.activation}{expression}"
        count = self.gates_of(node.width, f"the result of {node.op}")
        shown = [self.values[a.name] for a in node.args if isinstance(a, Name)]
        rows, columns = any(s.rows for s in shown), any(s.columns for s in shown)
        target = variable(node.name)
        if count > 1 and all(s.tile is not None or s.count == 0 for s in shown):
            self._write(target, expression, [self._tiled(a) for a in node.args])
            self.bind(node.name, Shown((), target, count, rows, columns))
            return
        targets = (target,) if count <= 1 else tuple(f"{target}_{gate}" for gate in range(count))
        for gate, piece in enumerate(targets):
            self._write(piece, expression, [self._gate(a, gate, count) for a in node.args])
        self.bind(node.name, Shown(targets, None, count, rows, columns))

    def separate(self, name: str) -> tuple[str, ...]:
        """A variable for each gate of a value, taking its tile apart where that has not been done."""
        shown = self.values[name]
        if shown.gates:
            return shown.gates
        assert shown.tile is not None
        held = padded_gates(shown.count)
        gates = tuple(f"{variable(name)}_{gate}" for gate in range(held))
        self.splits.add(held)
        lines = self.early if name in self.ahead else self.lines
        lines.append(f"{', '.join(gates)} = {self.prefix}_gates_{held}({shown.tile})")
        kept = Shown(gates[: shown.count], shown.tile, shown.count, shown.rows, shown.columns)
        self.bind(name, kept)
        return kept.gates

    def whole(self, name: str) -> str:
        """A value of hidden width as one [rows, units] expression, broadcast where it does not vary."""
        shown = self.values[name]
        (gate,) = self.separate(name)
        return (
            gate if shown.rows and shown.columns else f"tl.broadcast_to({gate}, live.shape[0], unit.shape[1])"
        )

    def _slice(self, node: Node) -> None:
        source, first, width = node.args
        assert isinstance(source, Name)
        count = self.gates_of(width, "a slice") if isinstance(width, int) else 0
        if not isinstance(first, int) or first % self.hidden or count == 0:
            raise Declined("a slice of columns does not begin at a multiple of the hidden width")
        gates = self.separate(source.name)[first // self.hidden :][:count]
        shown = self.values[source.name]
        self.bind(node.name, Shown(gates, None, count, shown.rows, shown.columns))

    def _tiled(self, argument: Name | float | int | bool) -> str:
        if not isinstance(argument, Name):
            return number(argument)
        shown = self.values[argument.name]
        return shown.tile if shown.tile is not None else shown.gates[0]

    def _gate(self, argument: Name | float | int | bool, gate: int, count: int) -> str:
        if not isinstance(argument, Name):
            return number(argument)
        gates = self.separate(argument.name)
        return gates[0] if self.values[argument.name].count <= 1 or count <= 1 else gates[gate]

    def _write(self, target: str, expression: str, arguments: Iterable[str]) -> None:
        self.lines.append(f"{target} = {expression.format(*arguments)}")


def number(value: float | int | bool) -> str:
    """A constant of the reference."""
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return f'float("{value}")'
    return f"({value!r})" if value < 0 else repr(value)
