"""What a check leaves out when its time is up, it names."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tilewright.judge import session
from tilewright.judge.means.findings import Finding, Kind
from tilewright.judge.session import Session


def test_sizes_are_tried_until_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def attempts(case: Any, seed: int) -> Iterator[tuple[str, Any]]:
        for name in ("another ROWS", "another COLUMNS", "strided and misaligned inputs"):

            def attempt(name: str = name) -> list[Finding]:
                tried.append(name)
                checked.fault = "no time"
                return [Finding(Kind.SIZES, name)]

            yield name, attempt

    monkeypatch.setattr(session, "generality", attempts)
    cell: Any = SimpleNamespace(command=lambda name: SimpleNamespace(values={"findings": []}))
    payload = {"precision": None, "allow": [Kind.SIZES.value], "interpreter_seconds": 600.0}
    checked = Session(payload, cell, torch.device("cpu"), lambda now: None)
    instance: Any = SimpleNamespace(seed=1)
    case: Any = None
    checked._beyond(case, instance)
    assert tried == ["another ROWS"]
    assert checked.answer.findings == (Finding(Kind.SIZES, "another ROWS"),)
    assert checked.answer.notes == (
        "not tried, no time left: another COLUMNS; strided and misaligned inputs",
    )
