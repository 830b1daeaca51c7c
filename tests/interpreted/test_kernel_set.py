"""The kernel set's files: their form, their references, and a few of them judged."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))  # scripts, not a package: they import one another by name

import sides  # noqa: E402

from tilewright.contract import breaches  # noqa: E402
from tilewright.judge.answer.budget import ULPS  # noqa: E402
from tilewright.judge.api import check  # noqa: E402
from tilewright.judge.inputs.constants import size_constants, with_sizes  # noqa: E402
from tilewright.judge.verdict import Outcome  # noqa: E402
from tilewright.kernelfile import KernelFile  # noqa: E402
from tilewright.problem import Problem  # noqa: E402

SET = sorted(path for path in (BENCHMARKS / "kernels").iterdir() if path.is_dir())
SMALL = 40  # what sizes are cut to where only the reference is run
# Cheap to interpret at these sizes, which still take several programs and steps, the last of them in part.
JUDGED = {
    "attention": {"BATCH": 1, "HEADS": 2, "TOKENS": 70},
    "cross_entropy": {"TOKENS": 5, "VOCABULARY": 3000},
    "int8_gemm": {"BATCH": 20, "INPUT": 100, "OUTPUT": 70},
}


def test_the_set_is_pairs_of_a_problem_and_a_triton_file() -> None:
    assert len(SET) >= 15
    for folder in SET:
        assert sorted(path.name for path in folder.glob("*.py")) == ["current.py", "problem.py"]
        problem = Problem.from_file(folder / "problem.py")
        assert size_constants(problem.source), f"{folder.name}: sizes are module-level constants"


@pytest.mark.parametrize("folder", SET, ids=lambda folder: folder.name)
def test_every_triton_file_keeps_the_contract(folder: Path) -> None:
    current = folder / "current.py"
    file = KernelFile.parse(current.read_text(), current)
    assert breaches(file, (folder / "problem.py").read_text()) == ()


@pytest.mark.parametrize("folder", SET, ids=lambda folder: folder.name)
def test_every_problem_is_a_case_that_errors_can_be_taken_of(folder: Path, tmp_path: Path) -> None:
    text = (folder / "problem.py").read_text()
    small = {name: min(size.value, SMALL) for name, size in size_constants(text).items()}
    path = tmp_path / "problem.py"
    path.write_text(with_sizes(text, small))
    case = sides.case_of(path, torch.device("cpu"), seed=0)
    assert case.expected.dtype == torch.float64
    with torch.no_grad():
        output = case.model(*case.inputs)
    assert case.error(output) < ULPS * torch.finfo(output.dtype).eps


@pytest.mark.interpreted
@pytest.mark.parametrize("name", JUDGED)
def test_a_kernel_of_the_set_is_correct(name: str) -> None:
    folder = BENCHMARKS / "kernels" / name
    problem = Problem.from_source(with_sizes((folder / "problem.py").read_text(), JUDGED[name]))
    source = (folder / "current.py").read_text()
    verdict = check(problem, source, precision=KernelFile.parse(source, name).precision)
    assert verdict.outcome is Outcome.CORRECT, verdict.reason
