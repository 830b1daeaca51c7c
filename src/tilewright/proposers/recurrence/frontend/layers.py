"""torch.nn.LSTM, GRU and RNN as one operator each, so that a trace keeps them whole. Worker side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from tilewright.proposers.recurrence.ir import Declined

_SETTINGS = "Tensor[] weights, bool biases, int layers, bool both, bool batch_first"
_library = torch.library.Library("tilewright", "FRAGMENT")
_library.define(f"lstm(Tensor x, Tensor h, Tensor c, {_SETTINGS}) -> (Tensor, Tensor, Tensor)")
for _kind in ("gru", "rnn_tanh", "rnn_relu"):
    _library.define(f"{_kind}(Tensor x, Tensor h, {_SETTINGS}) -> (Tensor, Tensor)")


def _shapes(x: Any, *states_and_settings: Any) -> Any:
    """Fake results: every output of the last layer, then the final states."""
    *states, _, _, _, both, _ = states_and_settings
    width = states[0].shape[2] * (2 if both else 1)
    return x.new_empty(*x.shape[:2], width), *(torch.empty_like(state) for state in states)


for _kind in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
    torch.library.register_fake(f"tilewright::{_kind}", _shapes, lib=_library)


class KeepLayers(TorchFunctionMode):  # type: ignore[misc] # torch is not followed
    """Within this context torch.lstm, gru, rnn_tanh and rnn_relu run as the operators of this module."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kind = getattr(func, "__name__", "")
        if kind in ("dropout", "dropout_", "alpha_dropout", "feature_dropout", "feature_alpha_dropout"):
            _refuse_dropout(*args, **(kwargs or {}))
        if kind in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
            return _kept(kind, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _refuse_dropout(x: Any, p: float = 0.5, training: bool = True, *_: Any, **more: Any) -> None:
    """What a GPU drops, seeded or not, is decided by the operator as a whole: its draws have no parts."""
    if p and more.get("train", training):
        raise Declined(f"dropout of {p:g} in training mode")


def _kept(kind: str, x: Any, state: Any, weights: Any, *settings: Any) -> Any:
    if not isinstance(weights, tuple | list):
        raise Declined(f"nn.{kind.split('_')[0].upper()} runs on a packed sequence")
    biases, layers, dropout, training, both, batch_first = settings
    if dropout and training and layers > 1:
        layer = kind.split("_")[0].upper()
        raise Declined(f"nn.{layer} drops values between its layers (dropout {dropout:g})")
    states = tuple(state) if isinstance(state, tuple | list) else (state,)
    if x.shape[1 if batch_first else 0] == 1:
        return _one_step(kind, x, states, weights, biases, layers, both, batch_first)
    run = getattr(torch.ops.tilewright, kind)
    return run(x, *states, list(weights), biases, layers, both, batch_first)


def _one_step(
    kind: str, x: Any, states: Any, weights: Any, biases: bool, layers: int, both: bool, batch_first: bool
) -> Any:
    """A sequence of one step, in plain operators: in a user's own loop it is that loop's cell."""
    row = x.squeeze(1 if batch_first else 0)
    each = len(weights) // (layers * (2 if both else 1))
    after: list[list[torch.Tensor]] = [[] for _ in states]
    for layer in range(layers):
        outputs = []
        for direction in range(2 if both else 1):
            index = layer * (2 if both else 1) + direction
            own = weights[index * each : (index + 1) * each]
            stepped = cell(kind, row, [s[index] for s in states], own, biases)
            outputs.append(stepped[0])
            for values, value in zip(after, stepped, strict=True):
                values.append(value)
        row = torch.cat(outputs, 1) if both else outputs[0]
    return row.unsqueeze(1 if batch_first else 0), *(torch.stack(values) for values in after)


def cell(
    kind: str, x: torch.Tensor, states: Sequence[torch.Tensor], weights: Sequence[torch.Tensor], biases: bool
) -> tuple[torch.Tensor, ...]:
    """One step of one layer: x [B, I], states [B, H] → the states after it. Gates in PyTorch's order."""
    w_ih, w_hh = weights[:2]
    b_ih, b_hh = weights[2:4] if biases else (None, None)
    pre, own = torch.nn.functional.linear(x, w_ih, b_ih), torch.nn.functional.linear(states[0], w_hh, b_hh)
    if kind == "lstm":
        i, f, g, o = (pre + own).chunk(4, 1)
        c = torch.sigmoid(f) * states[1] + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        projected = len(weights) == (5 if biases else 3)
        return (torch.nn.functional.linear(h, weights[-1]) if projected else h), c
    if kind == "gru":
        (r, z, n), (own_r, own_z, own_n) = pre.chunk(3, 1), own.chunk(3, 1)
        z = torch.sigmoid(z + own_z)
        n = torch.tanh(n + torch.sigmoid(r + own_r) * own_n)
        return (n + z * (states[0] - n),)
    return (torch.tanh(pre + own) if kind == "rnn_tanh" else torch.relu(pre + own),)
