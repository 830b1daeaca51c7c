"""What was inspected once is not compiled again, as long as nothing it depends on has changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tilewright import workers
from tilewright.gpu.catalogue import find
from tilewright.inspect import cache
from tilewright.inspect.api import inspect_many
from tilewright.problem import Problem

DATA = Path(__file__).parents[1] / "data" / "kernels_inspect"
H100 = find("h100")
pytestmark = pytest.mark.compiled


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The tasks that workers were given, with a cache of its own."""
    monkeypatch.setenv("TILEWRIGHT_CACHE", str(tmp_path))
    seen: list[str] = []
    real = workers.call

    def call(task: str, *args: object, **kwargs: object) -> object:
        seen.append(task)
        return real(task, *args, **kwargs)

    monkeypatch.setattr(workers, "call", call)
    return seen


def test_a_second_look_comes_from_disk_and_says_the_same(calls: list[str]) -> None:
    problem = Problem.from_file(DATA / "vector_problem.py")
    good, broken = ((DATA / f"{name}.py").read_text() for name in ("elementwise", "broken"))
    first = inspect_many(problem, [good, broken, good], H100)
    assert len(calls) == 1 and first[0] == first[2] and first[0].runs
    assert inspect_many(problem, [good], H100) == first[:1]
    assert len(calls) == 1
    assert inspect_many(problem, [broken], H100)[0].reason == first[1].reason
    assert len(calls) == 2  # a failure is not kept


def test_whatever_it_depends_on_makes_it_another_entry() -> None:
    problem = Problem.from_file(DATA / "vector_problem.py")
    entries = {
        cache._path(problem, "x", H100),
        cache._path(problem, "y", H100),
        cache._path(problem, "x", find("a100")),
        cache._path(problem, "x", replace(H100, sms=1)),
        cache._path(replace(problem, source=problem.source + "\n"), "x", H100),
    }
    assert len(entries) == 5


def test_a_damaged_entry_or_a_folder_that_cannot_be_written_is_no_entry(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    problem = Problem.from_file(DATA / "vector_problem.py")
    monkeypatch.setenv("TILEWRIGHT_CACHE", str(tmp_path))
    path = cache._path(problem, "x", H100)
    path.parent.mkdir(parents=True)
    path.write_text('{"gpu": "H100')
    assert cache.load(problem, "x", H100) is None
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TILEWRIGHT_CACHE", str(tmp_path / "file"))
    assert cache.load(problem, "x", H100) is None
