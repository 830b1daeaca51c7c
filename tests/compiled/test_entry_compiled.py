"""Functions in place of ModelNew files: inspected, optimized, and what the command line says against them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tilewright.cli import main
from tilewright.serial import structure
from tilewright.stages.summary import Summary

pytestmark = pytest.mark.compiled

DATA = Path(__file__).parents[1] / "data" / "entry"
PROBLEM = DATA / "norm_problem.py"
ENTRY = f"{DATA / 'norm.py'}:layer_norm"


def test_the_launches_of_an_autograd_functions_forward_are_inspected(capsys) -> None:
    code = main(["inspect", "--entry", ENTRY, "--problem", str(PROBLEM), "--gpu", "h100", "--json"])
    recording = json.loads(capsys.readouterr().out)["recording"]
    assert code == 0
    (launch,) = recording["launches"]
    line = (DATA / "norm.py").read_text().split("\n")[launch["line"] - 1]
    assert launch["kernel"] == "forward_kernel" and "forward_kernel[(rows,)](" in line, (
        "lines keep their numbers"
    )
    assert recording["operations"] == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="what a GPU changes is tested in tests/gpu")
def test_an_entry_is_optimized_and_the_summary_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = ["optimize", str(PROBLEM), "--entry", ENTRY, "--gpu", "h100", "-o", str(folder)]
    assert main([*command, "--stages", "block_tiling", "--budget", "0s", "--allow", "all"]) == 0
    summary = structure(json.loads((folder / "summary.json").read_text()), Summary)
    assert summary.given.correct
    assert any("the current code was made from" in note and ":layer_norm" in note for note in summary.notes)
    best = (folder / "best.py").read_text()
    assert best == (folder / "current.py").read_text()
    assert "layer_norm = LayerNorm.apply\n\n\nclass ModelNew(nn.Module):" in best


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check"], "there is no code; give CODE.py, or a function in its place with --entry"),
        (["inspect", "norm.py", "--entry", ENTRY], "CODE.py and --entry both give the code"),
        (["bench"], "there is no code"),
        (["bench", "--entry", ENTRY, "--entry", ENTRY], "the same file is given twice"),
        (["check", "--entry", "absent.py:f"], "absent.py: no such file; give the path of a Python file"),
        (["check", "--entry", f"{DATA / 'norm.py'}:forward_kernel"], "norm.py:9: forward_kernel is a kernel"),
    ],
)
def test_what_is_wrong_with_an_entry_is_one_line(capsys, arguments: list[str], message: str) -> None:
    assert main([*arguments, "--problem", str(PROBLEM)]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("error: ") and message in said


@pytest.mark.parametrize("other", ["--current", "--request"])
def test_optimize_takes_the_code_from_one_place(capsys, other: str) -> None:
    assert main(["optimize", str(PROBLEM), "--entry", ENTRY, other, "x", "--gpu", "h100"]) == 2
    err = capsys.readouterr().err
    assert other in err and "--entry" in err and "both give the current code; give one of the two" in err


def test_an_argument_that_nothing_fits_is_named(capsys) -> None:
    problem = DATA.parents[1] / "problems" / "linear.py"
    assert main(["inspect", "--entry", ENTRY, "--problem", str(problem), "--gpu", "h100"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "layer_norm's argument normalized_shape; say what goes there with --map normalized_shape=" in said


def test_inspect_says_which_pair_it_does_not_use(capsys) -> None:
    command = ["inspect", str(DATA / "linear.py"), "--problem", str(PROBLEM), "--gpu", "h100", "--map", "w=v"]
    assert main(command) == 2
    assert "error: --map w: no argument of an entry" in capsys.readouterr().err
