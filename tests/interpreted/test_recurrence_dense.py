"""Networks without a loop: their products by kernels of their own, judged; and those that are left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from proposing import proposed, run_interpreted

from tilewright.gpu.catalogue import find
from tilewright.judge.api import check
from tilewright.problem import Problem
from tilewright.proposers.recurrence.emit import dense_kernel as emit_dense
from tilewright.proposers.recurrence.emit import narrow as emit_narrow
from tilewright.proposers.recurrence.emit.dense_kernel import Tile

pytestmark = pytest.mark.interpreted
HEAD = "import torch\nimport torch.nn as nn\n\nROWS = 21\n\n\n"
TAIL = "\n\ndef get_inputs():\n    return [{inputs}]\n\n\ndef get_init_inputs():\n    return []\n"
JOINED = """class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.inward = nn.Linear({first} + {second}, 70)
        self.outward = nn.Linear(70, 33)

    def forward(self, x, h):
        return self.outward(torch.tanh(self.inward(torch.cat((x, h), dim=1))))
"""
THREE = """class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(96, 40) * 0.1)

    def forward(self, x, y):
        return torch.relu(torch.cat([x, y, x], dim=-1) @ self.weight)
"""
ONE = """class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(96, 40, bias=False)

    def forward(self, x):
        return torch.relu(self.layer(x))
"""


def problem(model: str, inputs: str) -> Problem:
    return Problem.from_source(HEAD + model + TAIL.format(inputs=inputs))


def joined(first: int, second: int) -> Problem:
    model = JOINED.format(first=first, second=second)
    return problem(model, f"torch.randn(ROWS, {first}), torch.randn(ROWS, {second})")


@pytest.mark.parametrize(
    ("given", "precision", "tile"),
    [
        (joined(52, 37), "tf32", Tile(16, 32, 1, 4, 3)),
        (joined(64, 32), "float32", Tile(32, 32, 2, 4, 3)),
        (joined(40, 90), "float16", Tile(16, 64, 4, 4, 3)),
        (problem(THREE, "torch.randn(ROWS, 3, 32), torch.randn(ROWS, 3, 32)"), "tf32", Tile(64, 32, 2, 4, 3)),
    ],
)
def test_products_are_what_the_reference_computes(
    given: Problem, precision: str, tile: Tile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Odd sizes, K shared among programs, parts that end inside a share."""
    monkeypatch.setattr(emit_dense, "choose_tile", lambda *_: tile)
    proposals = proposed(given, find("h100"), precision)
    assert len(proposals.candidates) == 1, proposals.notes
    source = proposals.candidates[0].source
    assert "torch.cat" not in source and "addmm" not in source
    verdict = check(given, source, precision=precision)
    assert verdict.correct, verdict.reason


@pytest.mark.parametrize(
    ("given", "tile"),
    [
        (joined(52, 37), emit_narrow.Tile(64, 2)),
        (problem(THREE, "torch.randn(ROWS, 3, 32), torch.randn(ROWS, 3, 32)"), emit_narrow.Tile(64, 1)),
    ],
)
def test_products_of_narrow_operands_are_what_the_reference_computes(
    given: Problem, tile: emit_narrow.Tile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At sizes for which they would not pay; odd ones, in parts, K shared among programs."""
    monkeypatch.setattr(emit_narrow, "pays", lambda *_, **__: True)
    monkeypatch.setattr(emit_narrow, "choose_tile", lambda *_, **__: tile)
    monkeypatch.setattr(emit_narrow, "COLUMNS", 32)
    (candidate,) = proposed(given, find("h100"), "tf32").candidates
    assert "torch.cat" not in candidate.source and "addmm" not in candidate.source
    verdict = check(given, candidate.source, precision="tf32")
    assert verdict.correct, verdict.reason


def test_narrow_operands_hold_any_range(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Rows far beyond float16's range, each with a large value among small ones."""
    monkeypatch.setattr(emit_narrow, "pays", lambda *_, **__: True)
    (candidate,) = proposed(problem(ONE, "torch.randn(ROWS, 96)"), find("h100"), "tf32").candidates
    (tmp_path / "made.py").write_text(candidate.source)
    code = (
        "import torch, made\n"
        "from tilewright.judge.interpreted.interpreter import repair\n"
        "repair()\n"
        "torch.manual_seed(0)\n"
        "model = made.ModelNew()\n"
        "for scale in (1e-30, 1e-6, 1.0, 1e6, 1e30):\n"
        "    x = torch.randn(21, 96) * scale * torch.logspace(-3, 3, 21)[:, None]\n"
        "    x[:, 5] *= 1e4\n"
        "    wanted = x.double() @ model.layer.weight.double().T\n"
        "    error = (model(x) - wanted.relu()).abs().amax(1) / wanted.abs().amax(1)\n"
        "    print(error.max().item())\n"
    )
    run = run_interpreted(code, tmp_path)
    assert not run.returncode, run.stderr
    errors = [float(line) for line in run.stdout.split()]
    assert len(errors) == 5 and max(errors) < 2**-10, errors


@pytest.mark.parametrize(
    ("model", "inputs", "reason"),
    [
        ("return self.layer(x)", "torch.randn(ROWS, 64)", "nothing to fold in"),
        (
            "return torch.tanh(self.layer(torch.conv1d(x, self.kernel)))",
            "torch.randn(ROWS, 4, 66)",
            "library",
        ),
        ("return torch.tanh(x.sin().cos().exp())", "torch.randn(ROWS, 64)", "nor a matrix product"),
        (
            "return torch.tanh(self.layer(x.sin().cos().exp().abs().sqrt()))",
            "torch.randn(ROWS, 64)",
            "forward has no loop, and products are",
        ),
    ],
)
def test_other_networks_are_declined_with_the_reason(model: str, inputs: str, reason: str) -> None:
    body = (
        "class Model(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.layer = nn.Linear(64, 64)\n        self.kernel = nn.Parameter(torch.randn(4, 4, 3))\n\n"
        f"    def forward(self, x):\n        {model}\n"
    )
    proposals = proposed(problem(body, inputs), find("h100"))
    assert not proposals.candidates
    assert any(reason in note for note in proposals.notes), proposals.notes
