"""What the recurrence compiler does not take: each is declined with the reason and the line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tilewright.problem import Problem
from tilewright.proposers.recurrence.frontend.passes import compile_network
from tilewright.proposers.recurrence.ir import Declined
from tilewright.proposers.recurrence.work import network_of

sys.path.append(str(Path(__file__).parents[1] / "data" / "recurrence"))
from references import problem

GRU = "self.cell = nn.GRUCell(I, H)"
DECLINED = {
    "reads a tensor's value": (
        GRU,
        """
        h = torch.zeros(B, H)
        while h.sum() < 10:  # here
            h = self.cell(x[0], h)
        return h
        """,
    ),
    "writes to its input x": (
        GRU,
        """
        h = torch.zeros(B, H)
        x.mul_(2)
        for t in range(T):
            h = self.cell(x[t], h)
        return h
        """,
    ),
    "carries self.h": (
        GRU + "; self.h = torch.zeros(B, H)",
        """
        for t in range(T):
            self.h = self.cell(x[t], self.h)  # here
        return self.h
        """,
    ),
    "keeps state between calls in self.h": (
        GRU + "; self.h = None",
        """
        h = torch.zeros(B, H) if self.h is None else self.h
        for t in range(T):
            h = self.cell(x[t], h)
        self.h = h  # here
        return h
        """,
    ),
    "parameter or buffer": (
        GRU + "; self.register_buffer('h', torch.zeros(B, H))",
        """
        h = self.h
        for t in range(T):
            h = self.cell(x[t], h)
        self.h.copy_(h)  # here
        return h
        """,
    ),
    "dropout 0.5": ("self.lstm = nn.LSTM(I, H, 2, dropout=0.5)", "return self.lstm(x)[0]  # here"),
    "dropout of 0.5": (
        GRU,
        """
        h = torch.zeros(B, H)
        for t in range(T):
            h = F.dropout(self.cell(x[t], h), 0.5)  # here
        return h
        """,
    ),
    "cumsum has no rule": (
        GRU,
        """
        h = torch.zeros(B, H)
        for t in range(T):
            h = torch.cumsum(self.cell(x[t], h), -1)  # here
        return h
        """,
    ),
    "the second result of an operator": (
        "self.u = nn.Linear(H, H); self.v = nn.Linear(I, H)",
        """
        h = torch.zeros(B, H)
        for t in range(T):
            best, where = (self.u(h) + self.v(x[t])).max(1, keepdim=True)
            h = torch.tanh(best * where.float() + h)  # here
        return h
        """,
    ),
    "not by the same amount": (
        "self.u = nn.Linear(H, H); self.v = nn.Linear(I, H)",
        """
        h = torch.zeros(B, H)
        for t in range(T):
            h = torch.tanh(self.u(h) + self.v(x[t]) * 0.9**t)  # here
        return h
        """,
    ),
    "have no rows in common": (
        "self.cell = nn.GRUCell(H, H); self.v = nn.Linear(I, 9 * H)",
        """
        h, seen = torch.zeros(B, H), self.v(x[0]).view(B, 9, H)
        for t in range(T):
            score = torch.softmax(torch.bmm(seen, h[:, :, None]), 1)
            h = self.cell(torch.bmm(score.transpose(1, 2), seen)[:, 0], h)  # here
        return h
        """,
    ),
    "rearranged, not read by columns": (
        "self.u = nn.Linear(H, H)",
        """
        h = torch.zeros(2, H, H)
        for t in range(T):
            h = torch.tanh(self.u(h) + h.transpose(1, 2))  # here
        return h
        """,
    ),
    "W @ h": (
        "self.u = nn.Parameter(torch.randn(H, H))",
        """
        h = torch.zeros(H, B)
        for t in range(T):
            h = torch.tanh(self.u @ h)  # here
        return h
        """,
    ),
    "float64": (
        "self.u = nn.Linear(H, H).double()",
        """
        h = torch.zeros(B, H, dtype=torch.float64)
        for t in range(T):
            h = torch.tanh(self.u(h))
        return h
        """,
    ),
}


@pytest.mark.parametrize("reason", DECLINED)
def test_what_cannot_be_taken_is_declined_with_its_line(reason: str) -> None:
    init, forward = DECLINED[reason]
    source = problem(init, "x", forward)
    with pytest.raises(Declined) as declined:
        compile_network(source, "declined.py")
    assert reason in declined.value.reason
    marked = [number for number, line in enumerate(source.splitlines(), 1) if "# here" in line]
    if marked:
        assert [declined.value.line] == marked


def test_a_worker_returns_the_reason_with_its_line() -> None:
    init, forward = DECLINED["cumsum has no rule"]
    with pytest.raises(Declined, match="has no rule") as declined:
        network_of(Problem.from_source(problem(init, "x", forward)))
    assert declined.value.line is not None
