"""Inspection without Triton says what is missing and what still works."""

from pathlib import Path

import pytest

from tilewright.errors import SetupError
from tilewright.gpu.catalogue import find
from tilewright.inspect.api import inspect
from tilewright.problem import Problem

PROBLEM = Path(__file__).parents[1] / "data" / "kernels_inspect" / "vector_problem.py"


def test_without_triton(tmp_path, monkeypatch):
    package = tmp_path / "triton"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('no Triton on this platform')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(SetupError, match=r"Triton is not installed.*work without it"):
        inspect(Problem.from_file(PROBLEM), "", find("h100"))
