"""From a reference alone to a file of the recurrence compiler, on a machine without a GPU."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from tilewright.cli import main
from tilewright.contract import breaches
from tilewright.kernelfile import KernelFile
from tilewright.runs import read_log

pytestmark = [
    pytest.mark.compiled,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(torch.cuda.is_available(), reason="what a GPU changes is tested in tests/gpu"),
]

RECURRENT = '''"""The last state of a leaky cell over a sequence [BATCH, STEPS, INPUT]."""

import torch
import torch.nn as nn

STEPS = 12
BATCH = 3
INPUT = 24
HIDDEN = 20


class Model(nn.Module):
    def __init__(self, inputs, hidden, leak=0.25):
        super(Model, self).__init__()
        self.leak = leak
        self.inward = nn.Linear(inputs, hidden)
        self.again = nn.Linear(hidden, hidden, bias=False)
        self.out = nn.Linear(hidden, 5)

    def forward(self, x):
        h = torch.zeros(x.shape[0], self.again.in_features, device=x.device)
        for t in range(x.shape[1]):
            h = (1 - self.leak) * h + self.leak * torch.tanh(self.inward(x[:, t]) + self.again(h))
        return self.out(h)


def get_inputs():
    return [torch.randn(BATCH, STEPS, INPUT)]


def get_init_inputs():
    return [INPUT, HIDDEN]
'''
LOOPLESS = RECURRENT.replace("for t in range(x.shape[1]):", "for t in range(1):")


def test_a_reference_alone_becomes_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problem, run = tmp_path / "problem.py", tmp_path / "run"
    problem.write_text(RECURRENT)
    command = [
        "optimize",
        str(problem),
        "--gpu",
        "rtx4090",
        "--precision",
        "tf32",
        "--budget",
        "30m",
        "-o",
        str(run),
        "--json",
    ]
    assert main(command) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["verdict"]["outcome"] == "correct"
    assert summary["given"] is None and summary["improved"]
    assert summary["baseline"] == "the reference"
    kept = next(tried for tried in read_log(run) if tried.id == summary["best"])
    assert kept.proposer == "recurrence compiler" and kept.parent is None
    assert not (run / "current.py").exists()
    source = (run / "best.py").read_text()
    assert breaches(KernelFile.parse(source, "best.py"), RECURRENT) == ()
    assert "12 steps over 3 rows" in source.split('"""')[1], "the header says what was found"


def test_what_is_declined_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problem = tmp_path / "problem.py"
    problem.write_text(LOOPLESS)
    assert main(["optimize", str(problem), "--gpu", "rtx4090", "-o", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert "no correct file was found" in error and "no loop" in error and "--current" in error


def test_stages_that_need_code_ask_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problem = tmp_path / "problem.py"
    problem.write_text(RECURRENT)
    command = ["optimize", str(problem), "--gpu", "rtx4090", "--stages", "block_tiling"]
    assert main([*command, "-o", str(tmp_path / "run")]) == 2
    assert "--current" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_plan_can_be_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problem, run = tmp_path / "problem.py", tmp_path / "run"
    problem.write_text(RECURRENT)
    command = [
        "optimize",
        str(problem),
        "--gpu",
        "rtx4090",
        "--precision",
        "tf32",
        "--budget",
        "30m",
        "-o",
        str(run),
    ]
    assert main([*command, "--plan", "spread"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    kernel, forward = said.partition("best.py on RTX 4090")[2].split("one forward:")
    assert re.search(r"recurrence_kernel: \d+ registers, \d+ bytes shared, \d+% occupancy limited by", kernel)
    assert "(compiled); " in kernel and "us a launch (estimated)" in kernel
    assert re.match(r" \d+ us \(estimated\): (launches|latency|memory|compute) \d+%", forward)
    tried = [candidate for candidate in read_log(run) if candidate.proposer == "recurrence compiler"]
    assert tried and all("weights spread" in candidate.why for candidate in tried)


def test_a_plan_that_cannot_take_the_network_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = tmp_path / "problem.py"
    problem.write_text(RECURRENT.replace("HIDDEN = 20", "HIDDEN = 1024"))
    command = ["optimize", str(problem), "--gpu", "rtx4090", "-o", str(tmp_path / "run")]
    assert main([*command, "--plan", "stationary"]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "weights stationary in registers need" in error
    assert "the plan stationary, the only one allowed, does not take this network" in error


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--plan", "wide"], "stationary, spread"),
        (["--plan", "spread", "--stages", "block_tiling"], "algorithm"),
    ],
)
def test_a_plan_that_means_nothing_is_refused(
    more: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = tmp_path / "problem.py"
    problem.write_text(RECURRENT)
    assert main(["optimize", str(problem), "--gpu", "rtx4090", *more, "-o", str(tmp_path / "run")]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()
