"""What the values of a traced loop are called."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from tilewright.proposers.recurrence.frontend.passes import compile_network

sys.path.append(str(Path(__file__).parents[1] / "data" / "recurrence"))
from references import problem

ROOT = Path(__file__).parents[2]


def names_of(source: str, path: str = "problem.py") -> tuple[list[str], list[str]]:
    """The names inside the one loop, and those of its results."""
    (loop,) = compile_network(source, path).recurrences
    items = (*loop.states, *loop.streams, *loop.operands, *loop.body)
    return [item.name for item in items], [result.name for result in loop.results]


def test_the_reference_case() -> None:
    path = ROOT / "examples" / "vanilla_rnn" / "problem.py"
    inside, results = names_of(path.read_text(), str(path))
    assert inside == ["h", "i2h_input", "i2h_h", "preactivation", "h_next"]
    assert results == ["loop_h_all"]


def test_a_cell_of_gates() -> None:
    source = problem(
        "self.w = nn.Linear(I, 4 * H); self.u = nn.Linear(H, 4 * H)",
        "x, h0, c0",
        """
        h, c, outputs = h0, c0, []
        for t in range(x.size(0)):
            i, f, g, o = (self.w(x[t]) + self.u(h)).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs)
        """,
        "torch.randn(T, B, I), torch.randn(B, H), torch.randn(B, H)",
    )
    inside, _ = names_of(source)
    assert {"h", "c", "w_input", "u_h", "gates", "gate_0", "gate_3", "h_next", "c_next"} <= set(inside)
    assert len(set(inside)) == len(inside)


def test_a_state_without_an_input_keeps_a_name_of_its_own() -> None:
    source = problem(
        "self.u = nn.Linear(H, H); self.w = nn.Linear(I, H)",
        "x",
        """
        h = torch.zeros(x.size(1), H)
        for t in range(x.size(0)):
            h = torch.tanh(self.w(x[t]) + self.u(h))
        return h
        """,
    )
    inside, results = names_of(source)
    assert inside[0] == "state" and "state_next" in inside
    assert all(name.isidentifier() for name in (*inside, *results))
    ast.parse("\n".join(f"{name} = 0" for name in inside))
