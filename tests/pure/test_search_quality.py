"""What a record of the search's quality says, from what was timed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import search_quality as benchmark
from recording import Machine, RecordError, write
from search_quality import Configuration, SearchRecord, assembled, newest, quality, section

from tilewright.gpu.catalogue import find
from tilewright.screening.model import Screened, Screening

PROVENANCE = {
    "name": "search_quality-gemm",
    "date": "2026-11-23T04:00:00Z",
    "commit": "0" * 40,
    "dirty": False,
    "command": ("python", "benchmarks/search_quality.py"),
    "case": {"samples": "3", "most": "400"},
    "machine": Machine("a GPU", "1", "2", "3", "4", "5", "6"),
}
SPACE = {
    "given": Configuration("as given", 50.0, True),
    "near": Configuration("BLOCK 64", 40.0, True),
    "best": Configuration("BLOCK 128", 60.0, False),
    "wrong": Configuration("BLOCK 256", 10.0, True),
}


def screening(**times: float | str) -> Screening:
    found = [
        Screened(label, (), value) if isinstance(value, str) else Screened(label, (value,) * 3)
        for label, value in times.items()
    ]
    return Screening(tuple(sorted(found, key=lambda one: one.time_us)), "a GPU", 1.0, 1, 0)


def record() -> SearchRecord:
    everything = screening(given=100.0, near=25.0, best=20.0, wrong="wrong: output 0 is off")
    return assembled(PROVENANCE, SPACE, everything, screening(given=99.0, near=26.0, wrong="wrong: off"))


def test_the_search_is_measured_against_the_best_of_all_by_the_exhaustive_times() -> None:
    found = quality(record())
    assert found.best_us == 20.0
    assert found.found == pytest.approx(20 / 25)
    assert found.estimated == pytest.approx(20 / 25)  # what is wrong was never timed
    assert found.device_share == pytest.approx((99 + 26) / (100 + 25 + 20))


def test_a_search_that_found_nothing_is_no_result() -> None:
    nothing = assembled(PROVENANCE, SPACE, screening(**dict.fromkeys(SPACE, 1.0)), screening(given="error"))
    assert nothing.found is None
    with pytest.raises(RecordError, match="timed nothing"):
        quality(nothing)


def test_a_record_is_read_back_and_the_newest_of_a_kernel_counts(tmp_path: Path) -> None:
    write(record(), tmp_path)
    assert newest(tmp_path) == [record()]
    text = section(tmp_path)
    assert "| gemm | 3 | 20.0 | 80.0% | 86.2% | 80.0% |" in text
    assert "the estimate alone ends within 10% of the best on 0 of 1" in text
    assert section(tmp_path / "nothing") == ""


def test_without_a_gpu_it_says_so_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark, "plugged_in", lambda: None)
    assert benchmark.main(["--results", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_beyond_what_the_search_tries_the_space_is_sampled() -> None:
    path, current = benchmark.files("row_norm")
    problem, given = benchmark.Problem.from_file(path), benchmark.Candidate(current.read_text())
    stage = next(stage for stage in benchmark.stages("single") if stage.name == "block_tiling")
    here = benchmark.Situation(problem, given, None, find("h200"), stage, {}, "float32")
    first = list(benchmark.beyond(here, {given.id}, 20, seed=0))
    assert len({one.id for one in first} - {given.id}) == 20
    assert list(benchmark.beyond(here, {given.id}, 20, seed=0)) == first
    known = {one.id for one in first}
    assert not known & {one.id for one in benchmark.beyond(here, known, 20, seed=0)}
