"""Files whose one launch runs a loop and the products around it, judged under Triton's interpreter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from proposing import proposed, run_interpreted

from tilewright.contract import breaches
from tilewright.gpu.catalogue import find
from tilewright.gpu.model import Gpu
from tilewright.judge.api import check
from tilewright.kernelfile import KernelFile
from tilewright.problem import Problem
from tilewright.proposers.recurrence.emit import narrow as emit_narrow

pytestmark = pytest.mark.interpreted

SOURCE = """import torch
import torch.nn as nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.{cell}
        self.head = nn.Linear({hidden}, {outputs}, bias={bias})

    def forward(self, x):
        {body}


def get_inputs():
    return [torch.randn({steps}, {batch}, {inputs})]


def get_init_inputs():
    return []
"""
RNN = "rnn = nn.{kind}({inputs}, {hidden}, bias={bias})"
HEAD = "return self.head(self.rnn(x)[0])"
BOTH = "seen, last = self.rnn(x)\n        return self.head(seen), seen, last"
ONLY = "return self.rnn(x)[0]"
FIRST = "return self.rnn(x.transpose(0, 1))[0]"


def problem(
    kind: str,
    steps: int,
    batch: int,
    inputs: int,
    hidden: int,
    outputs: int,
    body: str = HEAD,
    bias: bool = True,
) -> Problem:
    sizes = {"steps": steps, "batch": batch, "inputs": inputs, "hidden": hidden, "outputs": outputs}
    cell = RNN.format(kind=kind, bias=bias, **sizes)
    return Problem.from_source(SOURCE.format(cell=cell, body=body, bias=bias, **sizes))


UNHURRIED = 120.0  # as an estimate made while other tests run comes out several times too long


def written(posed: Problem, precision: str = "tf32", dialect: str = "triton", gpu: Gpu | None = None) -> str:
    proposals = proposed(posed, gpu or find("h200"), precision, dialect=dialect, plan="stationary")
    assert proposals.candidates, proposals.notes
    return proposals.candidates[0].source


@pytest.mark.parametrize(
    ("kind", "steps", "batch", "inputs", "hidden", "outputs", "body", "bias"),
    [
        ("RNN", 7, 1, 20, 32, 5, HEAD, True),
        ("RNN", 35, 3, 70, 20, 70, HEAD, True),  # epochs of 32 steps and of 3, columns in two tiles
        ("RNN", 5, 17, 16, 16, 16, HEAD, False),  # three programs, half a tile of rows at the end
        ("RNN", 4, 8, 64, 64, 64, BOTH, True),
        ("LSTM", 5, 9, 12, 24, 3, HEAD, True),
        ("GRU", 6, 2, 12, 17, 3, ONLY, True),
        ("RNN", 5, 4, 12, 16, 3, FIRST, True),  # the sequence lies in memory as [batch, steps, inputs]
    ],
)
def test_one_launch_computes_what_the_reference_computes(
    kind: str, steps: int, batch: int, inputs: int, hidden: int, outputs: int, body: str, bias: bool
) -> None:
    posed = problem(kind, steps, batch, inputs, hidden, outputs, body, bias)
    source = written(posed)
    assert "launch_cooperative_grid=True" in source and "project(" not in source
    verdict = check(posed, source, precision="tf32", interpreter_seconds=UNHURRIED)
    assert verdict.correct, verdict.reason
    assert breaches(KernelFile.parse(source, "best.py"), posed.source) == ()


@pytest.mark.parametrize(
    ("kind", "steps", "batch", "inputs", "hidden", "outputs", "body", "rows"),
    [
        ("RNN", 34, 40, 20, 32, 5, HEAD, 32),  # epochs of 32 steps and of 2, tiles that begin within a step
        ("RNN", 6, 70, 20, 33, 5, BOTH, 64),  # nine programs, half a tile of rows at the end
        ("RNN", 3, 64, 70, 128, 70, HEAD, 64),  # and 32 rows of the product after the loop
        ("LSTM", 3, 70, 12, 48, 3, HEAD, 64),
    ],
)
def test_a_step_of_many_rows_is_computed_in_larger_tiles(
    kind: str, steps: int, batch: int, inputs: int, hidden: int, outputs: int, body: str, rows: int
) -> None:
    posed = problem(kind, steps, batch, inputs, hidden, outputs, body)
    source = written(posed)
    assert f" * {rows} + tl.arange(0, {rows})" in source
    verdict = check(posed, source, precision="tf32", interpreter_seconds=UNHURRIED)
    assert verdict.correct, verdict.reason
    assert breaches(KernelFile.parse(source, "best.py"), posed.source) == ()


@pytest.mark.parametrize("batch", [8, 40, 70])
def test_the_gluon_file_keeps_the_contract(batch: int) -> None:
    posed = problem("RNN", 7, batch, 20, 64, 5)
    source = written(posed, dialect="gluon")
    assert "launch_cooperative_grid=True" in source
    assert breaches(KernelFile.parse(source, "best.py"), posed.source) == ()


@pytest.mark.parametrize(
    ("body", "precision"),
    [
        (HEAD, "float32"),  # half precision would not hold the result
        ("return self.head(self.rnn(torch.flip(x, (0,)))[0])", "float16"),
    ],
)
def test_other_precisions_keep_their_launches(body: str, precision: str) -> None:
    source = written(problem("RNN", 7, 8, 20, 64, 5, body), precision)
    assert "launch_cooperative_grid=True" not in source and "project(" in source


@pytest.mark.parametrize(
    ("kind", "batch", "inputs", "hidden"),
    [
        ("RNN", 512, 512, 64),  # as many programs as half of all multiprocessors
        ("RNN", 256, 512, 128),
        ("LSTM", 256, 64, 64),
    ],
)
def test_more_rows_than_the_workers_keep_up_with_are_projected_beforehand(
    kind: str, batch: int, inputs: int, hidden: int
) -> None:
    source = written(problem(kind, 512, batch, inputs, hidden, 5))
    assert "launch_cooperative_grid=True" not in source and "project(" in source


def test_larger_tiles_keep_up_with_more_rows() -> None:
    assert "launch_cooperative_grid=True" in written(problem("RNN", 512, 64, 64, 64, 5))


SIZED = """import torch
import torch.nn as nn


class Model(nn.Module):
    def __init__(self, hidden, outputs):
        super().__init__()
        self.rnn = nn.RNN(12, hidden)
        self.head = nn.Linear(hidden, outputs)

    def forward(self, x):
        return self.head(self.rnn(x)[0])


def get_inputs():
    return [torch.randn(5, 2, 12)]


def get_init_inputs():
    return [16, 3]
"""


@pytest.mark.parametrize(
    ("hidden", "outputs", "named"), [(16, 4, "head.weight"), (17, 3, "rnn.weight_hh_l0")]
)
def test_weights_of_other_sizes_are_refused(hidden: int, outputs: int, named: str, tmp_path: Path) -> None:
    path = tmp_path / "made.py"
    path.write_text(written(Problem.from_source(SIZED)))
    code = f"import torch, made\nmade.ModelNew({hidden}, {outputs})(torch.zeros(5, 2, 12))"
    run = run_interpreted(code, tmp_path)
    assert f"ValueError: {named} is torch.float32" in run.stderr


@pytest.mark.parametrize("l2_bytes", [2**25, 2**10])
@pytest.mark.parametrize(
    ("kind", "batch", "hidden", "directions", "precision"),
    [("LSTM", 9, 20, 2, "tf32"), ("RNN", 17, 33, 1, "float32"), ("GRU", 8, 16, 2, "float16")],
)
def test_a_loop_reads_tiles_of_what_a_launch_of_its_own_computes(
    kind: str, batch: int, hidden: int, directions: int, precision: str, l2_bytes: int
) -> None:
    cell = RNN.replace("bias={bias}", f"bias={{bias}}, bidirectional={directions == 2}")
    sizes = {"steps": 4, "batch": batch, "inputs": 12, "hidden": hidden, "outputs": 3, "bias": True}
    text = SOURCE.replace("nn.Linear({hidden}", f"nn.Linear({directions * hidden}")
    posed = Problem.from_source(text.format(cell=cell.format(kind=kind, **sizes), body=HEAD, **sizes))
    source = written(posed, precision, gpu=replace(find("h200"), l2_bytes=l2_bytes))
    assert "tiled=True" in source
    assert ("prefetch(" in source) == (l2_bytes == 2**10)
    verdict = check(posed, source, precision=precision, interpreter_seconds=UNHURRIED)
    assert verdict.correct, verdict.reason


def test_a_loop_reads_tiles_of_narrow_operands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emit_narrow, "pays", lambda *_, **__: True)
    sizes = {"steps": 4, "batch": 9, "inputs": 11, "hidden": 20, "outputs": 3, "bias": True}
    cell = RNN.replace("bias={bias}", "bias={bias}, bidirectional=True").format(kind="LSTM", **sizes)
    text = SOURCE.replace("nn.Linear({hidden}", "nn.Linear(40")
    posed = Problem.from_source(text.format(cell=cell, body=HEAD, **sizes))
    source = written(posed, "tf32")
    assert "narrow_product(" in source and "tiled=True" in source
    verdict = check(posed, source, precision="tf32", interpreter_seconds=UNHURRIED)
    assert verdict.correct, verdict.reason
