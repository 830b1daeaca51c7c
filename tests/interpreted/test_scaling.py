"""A point of the scaling benchmark is written and built as on a GPU, as far as a CPU goes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # scripts, not a package

import scaling_sides
import sides
from scaling_files import file_path, home_of, prepare, prepared_in, problem_path
from scaling_records import FP16, TF32, Point

from tilewright.contract import breaches
from tilewright.kernelfile import KernelFile

TINY = Point("rnn", 5, 3, 16)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("points")
    written = prepare(TINY, folder, "h200")
    assert prepared_in(folder, [TINY, Point("gru", 5, 3, 16)]) == [written]
    assert (written.point, written.gpu) == (TINY, "H200")
    assert written.plan
    return home_of(TINY, folder)


def test_a_prepared_point_holds_a_model_new_file(home: Path):
    file = KernelFile.parse(file_path(home).read_text(), file_path(home))
    assert breaches(file, problem_path(home).read_text()) == ()
    assert file.kernels


def test_cudnns_sides_compute_the_problem(home: Path):
    case = scaling_sides.case_of(problem_path(home), torch.device("cpu"), 0)
    assert case.expected.dtype == torch.float64
    assert case.expected.shape == (5, 3, 16)
    with torch.no_grad():
        entries = list(scaling_sides.entries(case, home))
        assert case.error(scaling_sides.cudnn(case, torch.float16)()) < 3e-3
        assert case.error(scaling_sides.cudnn(case, torch.float32)()) < 1e-5
    graph = ", CUDA graph"
    labels = [FP16, FP16 + graph, TF32, TF32 + graph, "tilewright", "tilewright" + graph]
    assert [entry.label for entry in entries] == labels
    assert [entry.tf32 for entry in entries] == [False, False, True, True, False, False]
    assert sides.build(entries[2], case)[0].error is not None


def test_a_point_that_was_declined_has_cudnns_sides_alone(home: Path, tmp_path: Path):
    case = scaling_sides.case_of(problem_path(home), torch.device("cpu"), 0)
    assert len(list(scaling_sides.entries(case, tmp_path))) == 4
