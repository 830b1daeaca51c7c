"""What `bench` prints, with a judge that answers as it is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tilewright.cli import main
from tilewright.errors import NotTimed
from tilewright.gpu import plugged
from tilewright.gpu.catalogue import find
from tilewright.judge import api
from tilewright.judge.speed.decision import recompute
from tilewright.judge.speed.model import Block, Rules, SpeedVerdict
from tilewright.judge.speed.samples import Samples, Side, Timing
from tilewright.judge.verdict import Outcome, Verdict

DATA = Path(__file__).parents[1] / "data" / "judge"
TIMES = {"first.py": 20.0, "faster.py": 16.0, "equal.py": 20.0, "liar.py": 1.0, "reference": 40.0}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, object]:
    """Stands in for the judge on a GPU; what speed verdicts were asked for is kept."""
    kept: dict[str, object] = {}
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate((*TIMES, "wrong.py")):
        Path(name).write_text((DATA / "scale.py").read_text() + f"\n# {number}\n")

    def check(problem: object, source: str, *, path: str, **options: object) -> Verdict:
        return Verdict(Outcome.WRONG if path == "wrong.py" else Outcome.CORRECT, "differs", trials=1)

    def time_sides(
        problem: object, sides: list[tuple[str, str | None]], *, seconds: float, **options: object
    ) -> Timing:
        kept["medians"] = seconds
        samples = {label: Samples((TIMES[label],) * 3, (TIMES[label],) * 3) for label, _ in sides}
        return Timing("H100", "", "2.11", "3.6", tuple(Side(label, s, s, "") for label, s in samples.items()))

    def compare_speed(
        problem: object,
        before: str | None,
        after: str | None,
        *,
        labels: tuple[str, str],
        condition: str,
        seconds: float,
        **options: object,
    ) -> SpeedVerdict:
        assert (before is None, after is None) == (labels[0] == "reference", labels[1] == "reference")
        kept.update({"condition": condition, "decision": seconds, labels[1]: labels[0]})
        if labels[1] == "liar.py":
            raise NotTimed("liar.py: not-allowed: hidden-time: 90 µs")
        one, other = (TIMES[label] for label in labels)
        same = [Block((one,), (one,))] * 16
        return recompute([Block((one,), (other,))] * 10, same, Rules(), condition)

    for name, answer in (("check", check), ("time_sides", time_sides), ("compare_speed", compare_speed)):
        monkeypatch.setattr(api, name, answer)
    monkeypatch.setattr(plugged, "plugged_in", lambda: find("h100"))
    return kept


def bench(*arguments: str) -> int:
    return main(["bench", *arguments, "--problem", str(DATA / "scale_problem.py")])


def test_each_file_is_decided_against_the_first(
    asked: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("first.py", "faster.py", "equal.py", "--reference", "--seconds", "12") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert {asked[name] for name in ("faster.py", "equal.py", "reference")} == {"first.py"}
    assert "faster.py against first.py: 1.250× as fast (ratio 1.2500 to 1.2500; device time, cold L2" in out
    assert "equal.py against first.py: no difference shown" in out
    assert "reference against first.py: 2.000× as slow" in out
    assert out.count("chance of a false alarm below 1 %") == 3
    assert asked["medians"] == pytest.approx(2.0) and asked["decision"] == pytest.approx(10.0)


def test_a_side_whose_clock_lies_has_no_figures_and_counts(
    asked: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("wrong.py", "first.py", "liar.py", "--condition", "wall time, warm L2", "--json") == 1
    rows = {row["label"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert asked["condition"] == "wall time, warm L2" and asked["liar.py"] == "first.py"
    assert "hidden-time" in rows["liar.py"]["problem"] and rows["liar.py"]["device_cold_us"] is None
    assert rows["wrong.py"]["problem"].startswith("not timed: wrong")
    assert rows["first.py"]["against_first"] is None and rows["first.py"]["device_cold_us"] == 20.0


def test_every_raw_block_is_in_the_json(asked: dict[str, object], capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("first.py", "faster.py", "--json") == 0
    said = json.loads(capsys.readouterr().out)["rows"][1]["against_first"]
    assert said["outcome"] == "faster" and len(said["pairs"]) == 10 and len(said["noise_pairs"]) == 16


def test_there_is_no_such_condition(asked: dict[str, object], capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("first.py", "--condition", "device time") == 2
    assert "--condition" in capsys.readouterr().err
