"""Run folders: nothing lost, nothing overwritten unasked, resumable after a kill."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from tilewright import manifest
from tilewright.candidate import Candidate
from tilewright.errors import RunFolderError
from tilewright.gpu.catalogue import find
from tilewright.judge.speed.samples import Samples, Side, Timing
from tilewright.judge.verdict import Outcome, OutputError, Verdict
from tilewright.runs import Asked, Decided, Tried, open_run, read_lines, read_log

ASKED = Asked(
    "p", "c", None, find("h100"), "fusion", ("block_tiling",), {"k": {"m": 1.5}}, "tf32", {}, "0.1.0"
)
VERDICT = Verdict(Outcome.CORRECT, errors=(OutputError(0, 1e-7, 1e-6, 2e-7, float("inf")),), trials=3)

SAMPLES = Samples((3.0, 2.5), (1.5, 1.25))
TIMING = Timing("H100", "580", "2.11", "3.6", (Side("a", SAMPLES, SAMPLES),))
DECIDED = Decided("final", "a", "b", "H100", problem="b hides time")


def tried(source: str) -> tuple[Candidate, Tried]:
    candidate = Candidate(source, "block_tiling", "launch tuning", "smaller", "0", {"BLOCK": "32"})
    return candidate, Tried.of(candidate, "correct", None, VERDICT)


def test_a_killed_run_resumes_with_everything_but_the_line_cut_short(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", ASKED) as run:
        run.record(*tried("a = 1"))
        run.record(*tried("b = 2"))
    log = tmp_path / "run" / "log.jsonl"
    log.write_text(log.read_text()[:-30])
    with open_run(tmp_path / "run", ASKED) as run:
        assert run.resumed
        candidate, record = tried("a = 1")
        assert run.tried == {candidate.id: record}
        assert run.source_of(candidate.id) == "a = 1"
        run.record(*tried("c = 3"))
    assert [t.id for t in read_log(tmp_path / "run")] == [Candidate("a = 1").id, Candidate("c = 3").id]


def test_a_run_killed_before_its_manifest_was_written_is_not_finished(tmp_path: Path) -> None:
    with open_run(tmp_path, ASKED) as run:
        run.record(*tried("a = 1"))
        run.write("summary.json", "{}")
    with open_run(tmp_path, ASKED) as run:
        assert run.resumed and len(run.tried) == 1


def test_what_a_kill_left_half_written_is_no_part_of_the_evidence(tmp_path: Path) -> None:
    with open_run(tmp_path, ASKED) as run:
        run.record(*tried("a = 1"))
        run.record_times(TIMING)
        run.record_times(DECIDED)
    (tmp_path / "best.py.part").write_text("half")
    (tmp_path / "candidates" / "0123456789ab.py").write_text("of a candidate that the log never got")
    with (tmp_path / "timings.jsonl").open("a") as timings:
        timings.write('{"device": "H100"')
    with (tmp_path / "decisions.jsonl").open("a") as decisions:
        decisions.write('{"purpose": "final"')
    with open_run(tmp_path, ASKED) as run:
        run.seal()
    assert read_lines(tmp_path / "timings.jsonl", Timing) == ([TIMING], [])
    assert read_lines(tmp_path / "decisions.jsonl", Decided) == ([DECIDED], [])
    kept = {
        "run.json",
        "log.jsonl",
        "timings.jsonl",
        "decisions.jsonl",
        f"candidates/{Candidate('a = 1').id}.py",
    }
    assert manifest.read(tmp_path).files.keys() == kept


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"format": 2}', "[" * 100_000])
def test_a_damaged_run_is_named_not_resumed(tmp_path: Path, damage: str) -> None:
    with open_run(tmp_path, ASKED):
        pass
    (tmp_path / "run.json").write_text(damage)
    with pytest.raises(RunFolderError, match=r"run.json: cannot be read.*--force"), open_run(tmp_path, ASKED):
        pass


def test_a_finished_run_is_replaced_only_when_forced(tmp_path: Path) -> None:
    with open_run(tmp_path, ASKED) as run:
        run.write("summary.json", "{}")
        run.write("best.py", "precious")
        run.seal()
    with pytest.raises(RunFolderError, match=r"finished run.*--force"), open_run(tmp_path, ASKED):
        pass
    assert (tmp_path / "best.py").read_text() == "precious"
    with open_run(tmp_path, ASKED, force=True) as run:
        assert not run.resumed and not (tmp_path / "best.py").exists()


def test_another_question_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with open_run(tmp_path, ASKED):
        pass
    other = dataclasses.replace(ASKED, gpu=find("a100"))
    with pytest.raises(RunFolderError, match="another question"), open_run(tmp_path, other):
        pass


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_of_someone_elses_files_is_never_touched(tmp_path: Path, force: bool) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunFolderError, match="holds no run"), open_run(tmp_path, ASKED, force=force):
        pass
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_two_runs_into_one_folder(tmp_path: Path) -> None:
    with (
        open_run(tmp_path, ASKED),
        pytest.raises(RunFolderError, match="another run is using this folder"),
        open_run(tmp_path, ASKED),
    ):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_write_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RunFolderError, match="cannot be written"), open_run(tmp_path / "run", ASKED):
        pass


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(RunFolderError, match="cannot be written"), open_run(tmp_path / "run", ASKED):
        pass
