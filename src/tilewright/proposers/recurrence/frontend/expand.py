"""nn.LSTM, GRU and RNN as recurrences, one for each layer and direction. Worker side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch

from tilewright.proposers.recurrence.frontend.tape import Tape, binds, renamed, with_reads
from tilewright.proposers.recurrence.ir import (
    Call,
    Declined,
    Name,
    Network,
    Node,
    Operand,
    Product,
    Recurrence,
    Result,
    State,
    Stream,
    Tensor,
)


def expand(network: Network) -> Network:
    """The network with every kept layer as recurrences and the calls around them.

    Raises:
        Declined: a layer that is not float32.
    """
    tape = Tape()
    now: dict[str, str] = {}
    for name in (*network.inputs, *network.parameters):
        tape.declare(tape.free_name(name), network.types[name])
        now[name] = name
    with tape.recording():
        for statement in network.statements:
            if isinstance(statement, Call):
                if statement.target.startswith("tilewright."):
                    values = _layers(tape, cast(Call, with_reads(statement, now.__getitem__)))
                else:
                    values = tape.run(statement, lambda name: tape[now[name]])
                now.update(zip(binds(statement), map(tape.name_of, values), strict=True))
                continue
            for result in statement.results:
                now[result.name] = tape.free_name(result.name)
                tape.declare(now[result.name], network.types[result.name])
            moved = cast(Recurrence, with_reads(statement, now.__getitem__))
            results = tuple(Result(now[r.name], r.source, r.every_step) for r in moved.results)
            tape.append(replace(moved, name=tape.free_name(moved.name), results=results))
        outputs = renamed(network.outputs, now.__getitem__)
    return Network(network.inputs, network.parameters, tape.types, tuple(tape.statements), outputs)


@dataclass(frozen=True)
class _Cell:
    """The body of one layer's step: what each state becomes, and the operands it reads."""

    body: tuple[Product | Node, ...]
    following: tuple[tuple[str, str], ...]
    operands: tuple[Operand, ...] = ()


def _layers(tape: Tape, call: Call) -> tuple[torch.Tensor, ...]:
    """The recurrences of one kept layer stack; returns what the layer returns."""
    kind = call.target.split(".")[1]
    tape.line = call.line
    states = 2 if kind == "lstm" else 1
    x, *initials = (tape[cast(Name, a).name] for a in call.args[: 1 + states])
    weights = [tape[w.name] for w in cast("tuple[Name, ...]", call.args[1 + states])]
    biases, layers, both, batch_first = call.args[2 + states :]
    assert isinstance(layers, int)
    if x.dtype != torch.float32:
        raise Declined(f"nn.{kind.split('_')[0].upper()} in {x.dtype}", call.line)
    directions = 2 if both else 1
    each = len(weights) // (layers * directions)
    rows = x.transpose(0, 1) if batch_first else x
    finals: list[list[torch.Tensor]] = [[] for _ in initials]
    for layer in range(layers):
        outputs = []
        for direction in range(directions):
            index = layer * directions + direction
            own = weights[index * each : (index + 1) * each]
            starts = [initial.select(0, index) for initial in initials]
            name = tape.free_name(f"{kind}_l{layer}{'_reverse' if direction else ''}")
            every, *last = _layer(tape, kind, name, rows, starts, own, bool(biases), direction == 1)
            outputs.append(every)
            for values, value in zip(finals, last, strict=True):
                values.append(value)
        rows = torch.cat(outputs, 2) if both else outputs[0]
    result = rows.transpose(0, 1) if batch_first else rows
    return result, *(torch.stack(values) for values in finals)


def _layer(
    tape: Tape,
    kind: str,
    name: str,
    rows: torch.Tensor,
    starts: list[torch.Tensor],
    weights: list[torch.Tensor],
    biases: bool,
    reverse: bool,
) -> tuple[torch.Tensor, ...]:
    """One direction of one layer on rows [T, B, I]: every h [T, B, H], then the last of each state."""
    steps, batch, inner = rows.shape
    w_ih, w_hh = weights[:2]
    width = w_ih.shape[0]
    hidden = width // {"lstm": 4, "gru": 3}.get(kind, 1)
    bias = _bias(kind, hidden, weights[2], weights[3]) if biases else None
    flat, across = rows.reshape(steps * batch, inner), w_ih.t()
    pre = torch.mm(flat, across) if bias is None else torch.addmm(bias, flat, across)
    stream = Stream("pre", width, tape.name_of(pre.reshape(steps, batch, width)))
    recurrent = Product("recurrent", "h", tape.name_of(w_hh), width, w_hh.shape[1])
    if kind == "lstm":
        projection = weights[-1] if len(weights) == (5 if biases else 3) else None
        own = None if projection is None else tape.name_of(projection)
        cell = _lstm(recurrent, hidden, own, w_hh.shape[1])
    elif kind == "gru":
        cell = _gru(recurrent, hidden, tape.name_of(weights[3][2 * hidden :]) if biases else None)
    else:
        cell = _elman(recurrent, kind.removeprefix("rnn_"))
    states = tuple(
        State(state, start.shape[1], tape.name_of(start))
        for state, start in zip(("h", "c"), starts, strict=False)
    )
    results = [Result(tape.free_name(f"{name}_h_all"), dict(cell.following)["h"], True)]
    for state in states:
        last_name = tape.free_name(f"{name}_{state.name}_last")
        results.append(Result(last_name, dict(cell.following)[state.name], False))
    tape.append(
        Recurrence(
            name=name,
            steps=steps,
            batch=batch,
            reverse=reverse,
            states=states,
            streams=(stream,),
            operands=cell.operands,
            body=cell.body,
            following=cell.following,
            results=tuple(results),
            line=tape.line,
        )
    )
    every = tape.declare(results[0].name, Tensor((steps, batch, states[0].width)))
    last = (tape.declare(r.name, Tensor((batch, s.width))) for r, s in zip(results[1:], states, strict=True))
    return every, *last


def _bias(kind: str, hidden: int, b_ih: torch.Tensor, b_hh: torch.Tensor) -> torch.Tensor:
    """What is added to the input's product; GRU's b_hn stays inside the step, where r multiplies it."""
    if kind != "gru":
        return torch.add(b_ih, b_hh)
    gates = 2 * hidden
    return torch.cat([torch.add(b_ih[:gates], b_hh[:gates]), b_ih[gates:]])


def _lstm(recurrent: Product, hidden: int, projection: str | None, out: int) -> _Cell:
    body: list[Product | Node] = [recurrent, _node("gates", "add", "recurrent", "pre", width=4 * hidden)]
    for position, (gate, function) in enumerate(
        (("i", "sigmoid"), ("f", "sigmoid"), ("g", "tanh"), ("o", "sigmoid"))
    ):
        body.append(Node(f"{gate}_pre", "slice", (Name("gates"), position * hidden, hidden), hidden))
        body.append(_node(gate, function, f"{gate}_pre", width=hidden))
    body += [
        _node("kept", "mul", "f", "c", width=hidden),
        _node("added", "mul", "i", "g", width=hidden),
        _node("c_next", "add", "kept", "added", width=hidden),
        _node("c_tanh", "tanh", "c_next", width=hidden),
        _node("h_next", "mul", "o", "c_tanh", width=hidden),
    ]
    if projection is not None:
        body.append(Product("h_projected", "h_next", projection, out, hidden))
    following = (("h", "h_next" if projection is None else "h_projected"), ("c", "c_next"))
    return _Cell(tuple(body), following)


def _gru(recurrent: Product, hidden: int, bias: str | None) -> _Cell:
    body: list[Product | Node] = [recurrent]
    for position, gate in enumerate(("r", "z")):
        first = position * hidden
        body += [
            Node(f"{gate}_in", "slice", (Name("pre"), first, hidden), hidden),
            Node(f"{gate}_own", "slice", (Name("recurrent"), first, hidden), hidden),
            _node(f"{gate}_pre", "add", f"{gate}_in", f"{gate}_own", width=hidden),
            _node(gate, "sigmoid", f"{gate}_pre", width=hidden),
        ]
    body += [
        Node("n_in", "slice", (Name("pre"), 2 * hidden, hidden), hidden),
        Node("n_own", "slice", (Name("recurrent"), 2 * hidden, hidden), hidden),
    ]
    own = "n_own"
    operands: tuple[Operand, ...] = ()
    if bias is not None:
        operands = (Operand("b_n", bias, (hidden,)),)
        body.append(_node("n_biased", "add", "n_own", "b_n", width=hidden))
        own = "n_biased"
    body += [
        _node("n_reset", "mul", "r", own, width=hidden),
        _node("n_pre", "add", "n_in", "n_reset", width=hidden),
        _node("n", "tanh", "n_pre", width=hidden),
        Node("z_left", "sub", (1.0, Name("z")), hidden),
        _node("new", "mul", "z_left", "n", width=hidden),
        _node("old", "mul", "z", "h", width=hidden),
        _node("h_next", "add", "new", "old", width=hidden),
    ]
    return _Cell(tuple(body), (("h", "h_next"),), operands)


def _elman(recurrent: Product, function: str) -> _Cell:
    body = (
        recurrent,
        _node("sum", "add", "recurrent", "pre", width=recurrent.width),
        _node("h_next", function, "sum", width=recurrent.width),
    )
    return _Cell(body, (("h", "h_next"),))


def _node(name: str, op: str, *args: str, width: int) -> Node:
    return Node(name, op, tuple(Name(a) for a in args), width)
