"""Recurrences written by hand in the re-rolled form, and the same step by step in PyTorch."""

from __future__ import annotations

import torch

from tilewright.proposers.recurrence.ir import (
    Group,
    Name,
    Node,
    Operand,
    Product,
    Recurrence,
    Result,
    State,
    Stream,
    Tensor,
)
from tilewright.proposers.recurrence.ops import OPS

N = Name


class Cell:
    """Builds one loop, with the types and random values of everything it reads."""

    def __init__(
        self, index: int, steps: int, batch: int, hidden: int, *, reverse: bool, below: tuple[str, int] | None
    ):
        self.index, self.steps, self.batch, self.hidden, self.reverse = index, steps, batch, hidden, reverse
        self.below = below
        self.values: dict[str, torch.Tensor] = {}
        self.states: list[State] = []
        self.streams: list[Stream] = []
        self.operands: list[Operand] = []
        self.body: list[Product | Node] = []

    def name(self, base: str) -> str:
        return f"{base}_{self.index}"

    def value(self, base: str, *shape: int, scale: float = 1.0) -> str:
        name = self.name(base)
        self.values[name] = torch.randn(*shape) * scale
        return name

    def state(self, base: str) -> None:
        self.states.append(
            State(base, self.hidden, self.value(f"{base}0", self.batch, self.hidden, scale=0.5))
        )

    def node(self, name: str, op: str, *args: object, width: int | None = None) -> None:
        made = tuple(N(a) if isinstance(a, str) else a for a in args)
        self.body.append(Node(name, op, made, self.hidden if width is None else width))  # type: ignore[arg-type]

    def product(self, name: str, left: str, gates: int, inner: int) -> None:
        width = gates * self.hidden
        weight = self.value(f"w_{name}", width, inner, scale=inner**-0.5)
        self.body.append(Product(name, left, weight, width, inner))

    def input(self, gates: int) -> str:
        """The part of the step that does not depend on its state, `gates` times the hidden width."""
        width = gates * self.hidden
        if self.below is None:
            self.streams.append(Stream("x", width, self.value("pre", self.steps, self.batch, width)))
            return "x"
        value, inner = self.below
        self.streams.append(Stream("lower", inner, value))
        self.operands.append(Operand("bias", self.value("b", width, scale=0.3), (width,)))
        self.product("xw", "lower", gates, inner)
        self.node("x", "add", "xw", "bias", width=width)
        return "x"

    def loop(self, following: dict[str, str], results: tuple[Result, ...]) -> Recurrence:
        return Recurrence(
            f"loop_{self.index}", self.steps, self.batch, self.reverse, tuple(self.states),
            tuple(self.streams), tuple(self.operands), tuple(self.body), tuple(following.items()), results,
        )  # fmt: skip


def lstm(cell: Cell) -> Recurrence:
    h = cell.hidden
    cell.state("h")
    cell.state("c")
    x = cell.input(4)
    cell.product("hw", "h", 4, h)
    cell.node("gates", "add", x, "hw", width=4 * h)
    for g, (gate, op) in enumerate((("i", "sigmoid"), ("f", "sigmoid"), ("g", "tanh"), ("o", "sigmoid"))):
        cell.node(f"{gate}_in", "slice", "gates", g * h, h)
        cell.node(gate, op, f"{gate}_in")
    cell.node("kept", "mul", "f", "c")
    cell.node("new", "mul", "i", "g")
    cell.node("c2", "add", "kept", "new")
    cell.node("shown", "tanh", "c2")
    cell.node("h2", "mul", "o", "shown")
    i = cell.index
    return cell.loop(
        {"h": "h2", "c": "c2"},
        (Result(f"y_{i}", "h2", True), Result(f"hn_{i}", "h", False), Result(f"cn_{i}", "c", False)),
    )


def gru(cell: Cell) -> Recurrence:
    h = cell.hidden
    cell.state("h")
    x = cell.input(3)
    cell.operands.append(Operand("bh", cell.value("bh", 3 * h, scale=0.3), (3 * h,)))
    cell.product("hw", "h", 3, h)
    cell.node("hb", "add", "hw", "bh", width=3 * h)
    for g, gate in enumerate("rzn"):
        cell.node(f"x{gate}", "slice", x, g * h, h)
        cell.node(f"h{gate}", "slice", "hb", g * h, h)
    for gate in "rz":
        cell.node(f"{gate}s", "add", f"x{gate}", f"h{gate}")
        cell.node(gate, "sigmoid", f"{gate}s")
    cell.node("rh", "mul", "r", "hn")
    cell.node("ns", "add", "xn", "rh")
    cell.node("n", "tanh", "ns")
    cell.node("difference", "sub", "h", "n")
    cell.node("step", "mul", "z", "difference")
    cell.node("h2", "add", "n", "step")
    i = cell.index
    return cell.loop({"h": "h2"}, (Result(f"y_{i}", "h", True), Result(f"hn_{i}", "h", False)))


def elman(cell: Cell, op: str = "tanh") -> Recurrence:
    cell.state("h")
    x = cell.input(1)
    cell.product("hw", "h", 1, cell.hidden)
    cell.node("sum", "add", "hw", x)
    cell.node("h2", op, "sum")
    i = cell.index
    return cell.loop({"h": "h2"}, (Result(f"y_{i}", "h2", True), Result(f"hn_{i}", "h", False)))


def leaky(cell: Cell) -> Recurrence:
    """Two states, a leak per unit, resets of rows at some steps, and a node read at the last step only."""
    h, i = cell.hidden, cell.index
    cell.state("h")
    cell.state("a")
    x = cell.input(2)
    mask = cell.name("mask")
    cell.values[mask] = (torch.rand(cell.steps, cell.batch, 1) > 0.3).float()
    cell.streams.append(Stream("m", 1, mask))
    cell.values[cell.name("leak")] = torch.rand(h) * 0.5
    cell.operands.append(Operand("leak", cell.name("leak"), (h,)))
    cell.product("hw", "h", 2, h)
    cell.product("aw", "a", 1, h)
    cell.node("both", "add", x, "hw", width=2 * h)
    cell.node("left", "slice", "both", 0, h)
    cell.node("right", "slice", "both", h, h)
    cell.node("lefts", "add", "left", "aw")
    cell.node("drive", "tanh", "lefts")
    cell.node("rest", "sub", 1.0, "leak")
    cell.node("kept", "mul", "leak", "h")
    cell.node("moved", "mul", "rest", "drive")
    cell.node("mixed", "add", "kept", "moved")
    cell.node("h2", "mul", "mixed", "m")
    cell.node("a2", "sigmoid", "right")
    return cell.loop(
        {"h": "h2", "a": "a2"},
        (Result(f"y_{i}", "h2", True), Result(f"drive_{i}", "drive", False), Result(f"an_{i}", "a", False)),
    )


def columns(cell: Cell) -> Recurrence:
    """Single columns beside wide values: given by a product, cut from one, picked from a state, carried."""
    h, i = cell.hidden, cell.index
    cell.state("h")
    cell.states.append(State("n", 1, cell.value("n0", cell.batch, 1)))
    x = cell.input(1)
    sizes = (("gw", "h", 1, h), ("pw", "h", 3, h), ("uw", "p", h, 3), ("nw", "n", h, 1))
    for name, left, width, inner in sizes:
        weight = cell.value(f"w_{name}", width, inner, scale=inner**-0.5)
        if name == "uw":
            cell.node("high", "row_max", "pw", width=1)
            cell.node("low", "sub", "pw", "high", width=3)
            cell.node("p", "exp", "low", width=3)
        cell.body.append(Product(name, left, weight, width, inner))
    cell.values[cell.name("g")] = torch.randn(1)
    cell.operands.append(Operand("gb", cell.name("g"), (1,)))
    cell.node("gs", "add", "gw", "gb", width=1)
    cell.node("gate", "sigmoid", "gs", width=1)
    cell.node("first", "slice", "pw", 0, 1, width=1)
    cell.node("third", "slice", "h", 2, 1, width=1)
    cell.node("both", "mul", "first", "third", width=1)
    cell.node("n2", "tanh", "both", width=1)
    cell.node("sum", "add", "uw", x)
    cell.node("more", "add", "sum", "nw")
    cell.node("drive", "tanh", "more")
    cell.node("gated", "mul", "gate", "drive")
    cell.node("h2", "add", "gated", "third")
    return cell.loop({"h": "h2", "n": "n2"}, (Result(f"y_{i}", "h2", True), Result(f"hn_{i}", "h", False)))


def gated(cell: Cell) -> Recurrence:
    """One gate for all columns, beside a column that all of them read."""
    h, i = cell.hidden, cell.index
    cell.state("h")
    x = cell.input(1)
    cell.body.append(Product("gw", "h", cell.value("w_gw", 1, h, scale=h**-0.5), 1, h))
    cell.node("gate", "sigmoid", "gw", width=1)
    cell.node("third", "slice", "h", 2, 1, width=1)
    cell.node("drive", "tanh", x)
    cell.node("gated", "mul", "gate", "drive")
    cell.node("h2", "add", "gated", "third")
    return cell.loop({"h": "h2"}, (Result(f"y_{i}", "h2", True), Result(f"hn_{i}", "h", False)))


CELLS = {"lstm": lstm, "gru": gru, "elman": elman, "leaky": leaky, "columns": columns, "gated": gated,
         "relu": lambda cell: elman(cell, "relu")}  # fmt: skip


def group(kind: str, layers: int, steps: int, batch: int, hidden: int, *, directions: int = 1, seed: int = 0):
    """`layers` as a wavefront, or one layer in both directions; with types and values of what is read."""
    torch.manual_seed(seed)
    members, values = [], {}
    below = None
    for index in range(layers * directions):
        cell = Cell(index, steps, batch, hidden, reverse=directions == 2 and index % 2 == 1, below=below)
        members.append(CELLS[kind](cell))
        values |= cell.values
        below = (f"y_{index}", hidden) if directions == 1 else None
    types = {name: Tensor(tuple(v.shape), str(v.dtype).removeprefix("torch.")) for name, v in values.items()}
    for member in members:
        for result in member.results:
            shape = (steps, batch, hidden) if result.every_step else (batch, hidden)
            types[result.name] = Tensor(shape)
    return Group(tuple(members)), types, values


def run(group: Group, values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Every result, in float64, one step after another."""
    known = {name: value.double() for name, value in values.items()}
    for loop in group.members:
        state = {s.name: known[s.initial] for s in loop.states}
        out: dict[str, list[torch.Tensor]] = {r.name: [] for r in loop.results}
        order = range(loop.steps - 1, -1, -1) if loop.reverse else range(loop.steps)
        for time in order:
            now = {**state, **{s.name: known[s.value][time] for s in loop.streams}}
            now |= {o.name: known[o.value] for o in loop.operands}
            for item in loop.body:
                if isinstance(item, Product):
                    now[item.name] = now[item.left] @ known[item.weight].T
                elif item.op == "slice":
                    source, first, width = item.args
                    now[item.name] = now[source.name][:, first : first + width]
                else:
                    if item.op == "row_max":
                        now[item.name] = now[item.args[0].name].amax(1, keepdim=True)
                        continue
                    args = [now[a.name] if isinstance(a, Name) else torch.tensor(a) for a in item.args]
                    now[item.name] = OPS[item.op].torch(*args)
            state = {name: now[source] for name, source in loop.following}
            for r in loop.results:
                out[r.name].append(state[r.source] if r.source in state else now[r.source])
        for r in loop.results:
            steps = out[r.name][::-1] if loop.reverse else out[r.name]
            known[r.name] = torch.stack(steps) if r.every_step else out[r.name][-1]
    return {r.name: known[r.name] for loop in group.members for r in loop.results}
