"""A run folder as evidence: whatever is changed in it afterwards is found and named, on paper alone."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from finished_run import (
    ASKED,
    CURRENT,
    DECIDED,
    DEVICE,
    GAIN,
    PROBLEM,
    SUMMARY,
    WORSE,
    decided,
    verdict,
    write_run,
)
from forgeries import (
    better_claim,
    better_ratio,
    blocks_taken_out,
    decided_a_stranger,
    drop_parent,
    empty_blocks,
    empty_samples,
    faster_samples,
    forged_verdict,
    measured_elsewhere,
    negative_samples,
    neither_verdict_nor_reason,
    no_difference,
    no_raw_samples,
    not_allowed,
    other_problem,
    past_budget,
    raise_evidence,
    reseal,
    rewrite,
    screened_a_stranger,
    screened_in_no_time,
    swap_best,
    swap_candidate,
    timed_a_stranger,
    without_seeds,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tilewright import manifest
from tilewright.candidate import Candidate
from tilewright.cli import main
from tilewright.errors import NotTimed
from tilewright.evidence import Evidence, Figure
from tilewright.gpu.catalogue import find
from tilewright.judge.speed.model import SpeedVerdict
from tilewright.judge.verdict import Outcome, Verdict
from tilewright.machine import Machine, this_machine
from tilewright.runs import Tried, open_run
from tilewright.serial import from_json, to_json
from tilewright.stages import race
from tilewright.stages.diagnosis import Outlook
from tilewright.stages.race import gain_of
from tilewright.stages.summary import StageReport
from tilewright.verify import api, rerun
from tilewright.verify.api import verify
from tilewright.verify.model import Standing, Verification


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a run on the target's own GPU leaves it."""
    folder = tmp_path_factory.mktemp("verify") / "run"
    write_run(folder)
    return folder


@pytest.fixture
def folder(sealed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sealed, tmp_path / "run"))


def on_paper(folder: Path, quoted: str | None = None) -> Verification:
    return verify(folder, quoted=quoted, rerun=False)


def wrong(verification: Verification) -> dict[str, str]:
    """What differs, and why."""
    return {line.what: line.why for line in verification.lines if line.standing is Standing.DIFFERS}


def test_an_untouched_folder_agrees_in_every_line(folder: Path) -> None:
    verification = on_paper(folder, manifest.digest_of(folder))
    assert wrong(verification) == {} and verification.agrees
    checked = {line.what for line in verification.lines if line.standing is Standing.AGREES}
    assert {"manifest", "files", "log.jsonl", "verdicts", "evidence", "best.py", "summary"} <= checked
    speed = next(line for line in verification.lines if line.what == "speedup from the record")
    assert speed.recorded == speed.found and speed.found.startswith("1.25")


def test_what_is_left_out_is_named_with_the_reason(folder: Path) -> None:
    skipped = [line for line in on_paper(folder).lines if line.standing is Standing.NOT_CHECKED]
    assert {"manifest", "contract", "memory safety"} <= {line.what for line in skipped}
    assert all(line.why for line in skipped)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_byte_of_one_file_is_enough(
    sealed: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = Path(shutil.copytree(sealed, tmp_path_factory.mktemp("bytes") / "run"))
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != manifest.LOCK)
    path = data.draw(st.sampled_from(files), "file")
    before = path.read_bytes()
    at = data.draw(st.integers(0, len(before) - 1), "place")
    other = data.draw(st.integers(1, 255), "difference")
    how = data.draw(st.sampled_from(["flip", "trim", "append", "insert"]), "how")
    after = {
        "flip": before[:at] + bytes([before[at] ^ other]) + before[at + 1 :],
        "trim": before[:at],
        "append": before + bytes([other]),
        "insert": before[:at] + bytes([other]) + before[at:],
    }[how]
    path.write_bytes(after)
    found = wrong(on_paper(folder))
    name = path.relative_to(folder).as_posix()
    # A changed entry of the manifest shows at the file that it speaks of.
    assert name in found or (path.name == manifest.NAME and found)


def test_a_run_that_set_out_from_the_reference_agrees_too(tmp_path: Path) -> None:
    first = Candidate(CURRENT, "algorithm", "recurrence compiler", "one persistent kernel")
    gain = decided("reference", first.id, (40.0, 16.0))
    report = StageReport("algorithm", Outlook("algorithm", True, "loops"), 1, 1, 1, first.id)
    asked = dataclasses.replace(ASKED, current=None, stages=("algorithm",))
    summary = dataclasses.replace(
        SUMMARY,
        best=first.id,
        given=None,
        baseline="the reference",
        gain=gain_of(gain, Evidence.MEASURED),
        stages=(report,),
    )
    with open_run(tmp_path, asked) as run:
        run.record_machine(this_machine("H100 SXM"))
        run.write("problem.py", PROBLEM)
        run.record(first, Tried.of(first, "correct", None, verdict(3)))
        run.record_times(gain)
        run.write("best.py", first.source)
        run.write("summary.json", to_json(summary))
        run.seal()
    assert wrong(on_paper(tmp_path)) == {}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.timeout(20)
def test_a_pipe_in_place_of_a_file_is_not_waited_for(folder: Path) -> None:
    for name in ("best.py", "log.jsonl", manifest.NAME):
        (folder / name).unlink()
        os.mkfifo(folder / name)
    lines = on_paper(folder).lines
    assert {"best.py", "log.jsonl"} == {line.what for line in lines if line.why == "is no regular file"}


def test_an_added_a_removed_and_a_replaced_file_are_named(folder: Path) -> None:
    (folder / "candidates" / f"{WORSE.id}.py").unlink()
    (folder / "notes.txt").write_text("added later")
    (folder / "current.py").unlink()
    (folder / "current.py").symlink_to(folder / "best.py")
    found = wrong(on_paper(folder))
    assert found["notes.txt"] == "was added" and found["current.py"] == "was changed"
    assert found[f"candidates/{WORSE.id}.py"] == "is missing"


def test_a_folder_without_a_manifest_is_incomplete(folder: Path) -> None:
    (folder / manifest.NAME).unlink()
    assert "did not finish" in wrong(on_paper(folder))["manifest"]
    (folder / "summary.json").unlink()
    (folder / "best.py").unlink()
    assert {"manifest", "summary.json", "best.py"} <= wrong(on_paper(folder)).keys()


@pytest.mark.parametrize(
    "forge, named",
    [
        (raise_evidence, "evidence"),
        (measured_elsewhere, "evidence"),
        (faster_samples, "decisions.jsonl"),
        (forged_verdict, "decisions.jsonl"),
        (blocks_taken_out, "decisions.jsonl"),
        (empty_blocks, "decisions.jsonl"),
        (decided_a_stranger, "decisions.jsonl"),
        (decided_a_stranger, "speedup from the record"),
        (neither_verdict_nor_reason, "decisions.jsonl"),
        (no_difference, "summary"),
        (no_raw_samples, "speedup from the record"),
        (empty_samples, "timings.jsonl"),
        (negative_samples, "timings.jsonl"),
        (timed_a_stranger, "timings.jsonl"),
        (better_ratio, "speedup from the record"),
        (better_claim, "summary"),
        (swap_best, "best.py"),
        (swap_candidate, "log.jsonl"),
        (drop_parent, "log.jsonl"),
        (past_budget, "verdicts"),
        (without_seeds, "verdicts"),
        (not_allowed, "verdicts"),
        (screened_a_stranger, "screenings.jsonl"),
        (screened_in_no_time, "screenings.jsonl"),
        (other_problem, "what was asked"),
    ],
)
def test_a_forgery_under_a_manifest_written_anew_contradicts_the_records(
    folder: Path, forge: Callable[[Path], None], named: str
) -> None:
    forge(folder)
    reseal(folder)
    found = wrong(on_paper(folder))
    assert named in found and not {"manifest", "files"} & found.keys()


def test_what_the_user_allowed_is_no_breach(folder: Path) -> None:
    not_allowed(folder)
    rewrite(folder / "run.json", lambda asked: asked.update(allow=["library"]))
    reseal(folder)
    assert "verdicts" not in wrong(on_paper(folder))


def test_a_forgery_that_fits_is_told_by_the_digest_quoted_before(folder: Path) -> None:
    quoted = manifest.digest_of(folder)
    rewrite(folder / "log.jsonl", lambda tried: tried.update(why="a better reason"), 1)
    reseal(folder)
    assert wrong(on_paper(folder)) == {}
    assert list(wrong(on_paper(folder, quoted.upper()))) == ["manifest"]


GARBAGE = (
    "", "null", "[]", "3", "{}", '"x"', "[" * 100_000, "1" * 5_000, "{", "\x00", '{"format": 2}', "\ud800"
)  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "run.json",
        "summary.json",
        "log.jsonl",
        "screenings.jsonl",
        "timings.jsonl",
        "decisions.jsonl",
        "machines.jsonl",
    ],
)
@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_damaged_json_is_a_line_and_no_traceback(folder: Path, name: str, garbage: str) -> None:
    (folder / name).write_bytes(garbage.encode("utf-8", "surrogatepass"))
    assert wrong(on_paper(folder))[name]
    reseal(folder)
    assert wrong(on_paper(folder))


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_a_damaged_manifest_is_a_line_and_no_traceback(folder: Path, garbage: str) -> None:
    (folder / manifest.NAME).write_bytes(garbage.encode("utf-8", "surrogatepass"))
    assert "manifest" in wrong(on_paper(folder))


def test_the_command_says_both_values_and_exits_by_what_it_found(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = manifest.digest_of(folder)
    before = {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}
    assert main(["verify", str(folder), "--no-rerun", "--digest", digest]) == 0
    assert {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))} == before
    out = capsys.readouterr().out
    assert digest in out and "0 differs" in out
    better_ratio(folder)
    assert main(["verify", str(folder), "--no-rerun"]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "summary.json: was changed" in out and "recorded 2.0000x" in out and "found 1.25" in out
    assert main(["verify", str(folder), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    contract = next(line for line in said["lines"] if line["what"] == "contract")
    assert contract["standing"] == "not checked here" and "not sound" in contract["why"]


def test_what_is_no_bundle_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    assert main(["verify", str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err
    assert main(["verify", str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_a_digest_is_quoted_in_full_or_not_at_all(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(folder), "--digest", manifest.digest_of(folder)[:12]]) == 2
    assert "64 hexadecimal digits" in capsys.readouterr().err


def test_control_characters_of_a_hostile_folder_never_reach_the_terminal(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "\x1b[2Jname\udcff").write_text("")
    assert main(["verify", str(folder), "--no-rerun"]) == 1
    out = capsys.readouterr().out
    assert "\x1b[2J" not in out and "\\x1b[2Jname\\udcff" in out.replace("\n", "")


def test_versions_are_read_without_importing_what_they_are_of() -> None:
    machine = this_machine("H100 SXM")
    assert machine.device == "H100 SXM" and machine.python.startswith("3.")
    assert from_json(to_json(machine), Machine) == machine


def test_an_estimate_is_computed_again_from_the_log(folder: Path) -> None:
    """Without an inspection in the log, an estimated speedup has nothing that it could come from."""
    figure = Figure(1.5, "x", Evidence.ESTIMATED)
    assert GAIN is not None
    estimated = dataclasses.replace(GAIN, ratio=figure, low=1.5, high=1.5, basis="estimate")
    summary = dataclasses.replace(SUMMARY, gain=estimated, evidence=Evidence.ESTIMATED)
    (folder / "summary.json").write_text(to_json(summary))
    reseal(folder)
    assert "speedup from the record" in wrong(on_paper(folder))


@pytest.mark.parametrize(
    "plugged, us, standing, why",
    [
        ("h100", 15.9, Standing.AGREES, ""),
        ("h100", 19.0, Standing.DIFFERS, "apart"),
        ("h100", 20.0, Standing.DIFFERS, "not shown to be faster"),
        ("h100", None, Standing.DIFFERS, "could not be timed"),
        ("a100", 15.9, Standing.NOT_CHECKED, "this is A100"),
        (None, 15.9, Standing.NOT_CHECKED, "no GPU"),
    ],
)
def test_the_speedup_is_decided_again_on_a_gpu_of_the_same_name(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    plugged: str | None,
    us: float | None,
    standing: Standing,
    why: str,
) -> None:
    """What would need a GPU is replaced by what it would answer."""

    def answer(*sides: object, **options: object) -> SpeedVerdict:
        speed = decided("", "", (20.0, us)).speed if us else None
        if speed is None:
            raise NotTimed("hides time")
        return speed

    gpu = dataclasses.replace(find("h100"), name=DEVICE) if plugged == "h100" else find("a100")
    monkeypatch.setattr(api, "plugged_in", lambda: gpu if plugged else None)
    monkeypatch.setattr(race, "compare_speed", answer)
    monkeypatch.setattr(rerun, "check", lambda *code, **options: verdict(5))
    lines = {line.what: line for line in verify(folder).lines}
    found = lines["speedup, timed again"]
    assert found.standing is standing and why in found.why and found.recorded.startswith("1.25")
    assert lines["same function, fresh seeds"].standing is Standing.AGREES


@pytest.mark.parametrize(
    "outcome, plugged, standing",
    [
        (Outcome.WRONG, "h100", Standing.DIFFERS),
        (Outcome.STRAY_ACCESS, "h100", Standing.DIFFERS),
        (Outcome.OUT_OF_RESOURCES, "h100", Standing.DIFFERS),
        (Outcome.OUT_OF_RESOURCES, None, Standing.NOT_CHECKED),
        (Outcome.NOT_CHECKED, "h100", Standing.NOT_CHECKED),
    ],
)
def test_what_the_judge_says_here_decides_unless_this_machine_lacks_something(
    folder: Path, monkeypatch: pytest.MonkeyPatch, outcome: Outcome, plugged: str | None, standing: Standing
) -> None:
    monkeypatch.setattr(api, "plugged_in", lambda: find(plugged) if plugged else None)
    monkeypatch.setattr(race, "compare_speed", lambda *sides, **options: DECIDED.speed)
    monkeypatch.setattr(rerun, "check", lambda *code, **options: Verdict(outcome, "says so"))
    lines = {line.what: line for line in verify(folder).lines}
    assert lines["same function, recorded seeds"].standing is standing
    assert lines["same function, fresh seeds"].standing is standing
    stray = Standing.DIFFERS if outcome is Outcome.STRAY_ACCESS else Standing.NOT_CHECKED
    assert lines["memory safety"].standing is stray
