"""A profile in a file, on its way into a run of `optimize`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tilewright import api
from tilewright.cli import main
from tilewright.errors import InputError, RequestError
from tilewright.problem import Problem
from tilewright.request import parse, profile_block, read_profile_file
from tilewright.runs import read_asked

DATA = Path(__file__).parents[1] / "data" / "judge"
CODE = (DATA / "scale.py").read_text()
FIGURES = {
    "scale_kernel": {"launch__grid_size": 16.0, "dram__throughput.avg.pct_of_peak_sustained_elapsed": 81.5}
}
OTHER = profile_block({"other": {"launch__grid_size": 4.0}})
REQUEST = f"[CURRENT CODE]\n```python\n{CODE}```\n\n{OTHER}\n"


def stop(*arguments: Any) -> None:
    raise InputError("far enough")


def asked_for(monkeypatch: pytest.MonkeyPatch, folder: Path, *options: str) -> dict[str, dict[str, float]]:
    """The profile that a run is made with, as its folder has it."""
    monkeypatch.setattr(api, "run_stages", stop)
    command = ["optimize", str(DATA / "scale_problem.py"), "--gpu", "h100", "-o", str(folder), *options]
    assert main(command) == 2
    return read_asked(folder).profile


def test_a_block_that_profile_wrote_is_what_the_run_is_asked_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    block = tmp_path / "profile.txt"
    block.write_text(profile_block(FIGURES, "Nsight Compute on H200"))
    current = ["--current", str(DATA / "scale.py")]
    assert asked_for(monkeypatch, tmp_path / "without", *current) == {}
    assert asked_for(monkeypatch, tmp_path / "with", *current, "--profile", str(block)) == FIGURES


def test_a_profile_given_takes_the_place_of_the_one_in_a_request(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    request, block = tmp_path / "request.txt", tmp_path / "profile.txt"
    request.write_text(REQUEST)
    block.write_text(profile_block(FIGURES))
    asked = ["--request", str(request)]
    assert asked_for(monkeypatch, tmp_path / "one", *asked) == {"other": {"launch__grid_size": 4.0}}
    assert asked_for(monkeypatch, tmp_path / "two", *asked, "--profile", str(block)) == FIGURES


def test_a_run_says_that_the_profile_in_the_request_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    notes: list[str] = []

    def note(task: Any, *rest: Any) -> None:
        notes.extend(task.notes)
        stop()

    monkeypatch.setattr(api, "run_stages", note)
    problem = Problem.from_file(DATA / "scale_problem.py")
    with pytest.raises(InputError, match="far enough"):
        api.optimize(problem, tmp_path, request=parse(REQUEST), gpu="h100", profile=FIGURES)
    assert "request: its profile is not used, another was given" in notes


@pytest.mark.parametrize(
    ("text", "figures"),
    [
        ('{"k": {"a__b": 1}}', {"k": {"a__b": 1.0}}),
        ('```json\n{"k": {"a__b": "13.97 %"}}\n```\n', {"k": {"a__b": 13.97}}),
        ('## NCU profiling metrics\nread by hand\n{"k": {"a__b": 1, "note": "x"}}', {"k": {"a__b": 1.0}}),
    ],
)
def test_a_file_may_be_framed_in_any_way(tmp_path: Path, text: str, figures: dict[str, Any]) -> None:
    (tmp_path / "profile").write_text(text)
    assert read_profile_file(tmp_path / "profile").figures == figures


@pytest.mark.parametrize("text", ["", "[NCU PROFILING METRICS]\nnone today\n", "{}"])
def test_a_file_without_figures_is_no_profile(tmp_path: Path, text: str) -> None:
    (tmp_path / "profile").write_text(text)
    with pytest.raises(RequestError, match=r"holds no metrics by kernel; give what `tilewright profile"):
        read_profile_file(tmp_path / "profile")


names = st.text(st.characters(codec="utf-8", exclude_categories=("C",)), min_size=1, max_size=30)
metrics = st.dictionaries(names, st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=4)


@example({"a\u2028b": {"c": 1.0}})
@given(st.dictionaries(names, metrics, min_size=1, max_size=3))
def test_a_block_reads_back_as_the_same_figures(
    tmp_path_factory: pytest.TempPathFactory, figures: dict[str, dict[str, float]]
) -> None:
    path = tmp_path_factory.mktemp("block") / "profile.txt"
    path.write_text(profile_block(figures, "Nsight Compute on H200, one forward"), encoding="utf-8")
    assert read_profile_file(path).figures == figures
