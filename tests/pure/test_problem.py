"""Problem files: what is accepted, and one clear line for what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilewright.errors import ProblemError
from tilewright.problem import Problem, call_piece, import_problem

GOOD = """
class Model:
    pass

N = 4

def get_inputs():
    return [N]

def get_init_inputs():
    return []
"""


def test_reading_a_problem_executes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "problem.py"
    path.write_text("raise SystemExit('executed')\n" + GOOD)
    assert Problem.from_file(path).source.endswith(GOOD)


@pytest.mark.parametrize("missing", ["Model", "get_inputs", "get_init_inputs"])
def test_a_missing_piece_is_named_with_what_to_add(missing: str) -> None:
    source = GOOD.replace(f"class {missing}", "class Other").replace(f"def {missing}(", "def other(")
    with pytest.raises(ProblemError, match=rf"p\.py: no {missing} .*; add .*{missing}"):
        Problem.from_source(source, "p.py")


def test_a_syntax_error_names_its_line() -> None:
    with pytest.raises(ProblemError, match=r"p\.py:3: is not Python"):
        Problem.from_source("x = 1\ny = 2\nz = (\n", "p.py")


def test_pieces_bound_by_import_or_inside_a_branch_count() -> None:
    source = "from elsewhere import Model\nif True:\n    get_inputs = get_init_inputs = list\n"
    assert Problem.from_source(source).source == source


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "is not UTF-8 text"),
    ],
)
def test_unreadable_files_are_one_line(tmp_path: Path, make, says: str) -> None:
    path = tmp_path / "problem.py"
    make(path)
    with pytest.raises(ProblemError, match=says) as caught:
        Problem.from_file(path)
    assert "\n" not in str(caught.value)


def test_a_failing_import_names_the_line_that_failed() -> None:
    with pytest.raises(ProblemError, match=r"broken\.py:2: import fails with ZeroDivisionError"):
        import_problem("x = 1\ny = 1 / 0\n" + GOOD, "broken.py")


def test_get_inputs_that_raises_names_its_line() -> None:
    problem = import_problem(GOOD.replace("return [N]", "return [missing]"), "p.py")
    with pytest.raises(ProblemError, match=r"p\.py:8: get_inputs raises NameError"):
        call_piece(problem, "get_inputs", "p.py")


def test_get_inputs_must_return_a_list() -> None:
    problem = import_problem(GOOD.replace("return [N]", "return 3"), "p.py")
    with pytest.raises(ProblemError, match="get_inputs returns int, not a list"):
        call_piece(problem, "get_inputs", "p.py")
