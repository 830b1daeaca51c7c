"""The false-alarm benchmark without a GPU: calibration, trials, what a record holds and its summary."""

from __future__ import annotations

import json
import math
import random
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))  # scripts, not a package: they import one another by name

import false_alarms  # noqa: E402
import recording  # noqa: E402

from tilewright.judge.speed.decision import decide  # noqa: E402
from tilewright.judge.speed.model import Block, Rules, SpeedOutcome, SpeedVerdict  # noqa: E402

SOURCE = "import torch\nREPEATS = 1000\n"
CONDITION = "device time, cold L2"
OVERHEAD_US, REPEAT_US = 20.0, 0.08  # a kernel of 100 µs, four fifths of it loop


class Side:
    """Times of two loops with some jitter, in blocks of three samples."""

    def __init__(self, before: str, after: str, seed: int) -> None:
        self.before, self.after = (self._time(source) for source in (before, after))
        self.draw = random.Random(seed)

    @staticmethod
    def _time(source: str) -> float:
        repeats = false_alarms.REPEATS.search(source)
        assert repeats
        return OVERHEAD_US + REPEAT_US * int(repeats[1])

    def _samples(self, time_us: float) -> tuple[float, ...]:
        return tuple(time_us * self.draw.gauss(1.0, 0.003) for _ in range(3))

    def pair_block(self) -> Block:
        return Block(self._samples(self.before), self._samples(self.after))

    def same_block(self) -> Block:
        return Block(self._samples(self.before), self._samples(self.before))


class Machine:
    """A `false_alarms.Compare` whose samples are the same in every run.

    Some of its verdicts have fewer looks than the rules, as where there is no time for all of them.
    """

    def __init__(self, seed: int) -> None:
        self.seeds = random.Random(seed)

    def __call__(self, before: str, after: str) -> SpeedVerdict:
        rules = replace(Rules(), looks=self.seeds.choice([(10,), (10, 20), Rules().looks]))
        return decide(Side(before, after, self.seeds.getrandbits(32)), rules, CONDITION)


def a_record(seed: int = 0, count: int = 6) -> false_alarms.AlarmRecord:
    compare = Machine(seed)
    calibration = false_alarms.calibrate(compare, SOURCE)
    trials = false_alarms.take(compare, SOURCE, calibration, against_itself=count, slowed=3)
    return false_alarms.AlarmRecord(
        name=false_alarms.NAME,
        date=f"2026-11-22T10:00:0{seed}Z",
        commit="0123456789abcdef",
        dirty=False,
        command=("python", "benchmarks/false_alarms.py"),
        case={"kernel": "benchmarks/repeats/kernel.py", "dtype": "float32"},
        machine=recording.Machine("NVIDIA H100", "580.1", "13.0", "91900", "2.11.0", "3.6.0", "3.12.1"),
        condition=CONDITION,
        rules=Rules(),
        calibration=calibration,
        trials=tuple(trials),
    )


def test_calibration_finds_the_loop_s_share_of_the_time() -> None:
    calibration = false_alarms.calibrate(Machine(1), SOURCE)
    assert calibration.share == pytest.approx(0.8, rel=0.02)
    assert calibration.repeats_for(0.0) == 1000
    assert calibration.repeats_for(0.02) == pytest.approx(1025, abs=1)


def test_calibration_that_shows_nothing_is_no_calibration() -> None:
    with pytest.raises(recording.RecordError, match="no difference shown"):
        false_alarms.calibrate(lambda before, _: Machine(1)(before, before), SOURCE)
    with pytest.raises(recording.RecordError, match="no line"):
        false_alarms.calibrate(Machine(1), "import torch\n")


def test_the_kernel_s_own_file_can_be_given_another_loop() -> None:
    source = (false_alarms.FOLDER / "kernel.py").read_text()
    longer = false_alarms.with_repeats(source, 77)
    assert false_alarms.REPEATS.findall(longer) == ["77"]
    assert len(longer.splitlines()) == len(source.splitlines())


def test_a_record_reads_back_and_gives_every_verdict_again(tmp_path: Path) -> None:
    taken = a_record()
    back = false_alarms.read(recording.write(taken, tmp_path))
    assert back == taken
    false_alarms.check(back)
    rows = {row.added: row for row in false_alarms.summarise(back.trials)}
    assert list(rows) == [0.0, *false_alarms.ADDED]
    assert rows[0.0].slower.trials == 6
    assert rows[0.05].slower == false_alarms.Rate(3, 3)
    assert rows[0.05].measured == pytest.approx(0.05, abs=0.003)
    assert rows[0.05].blocks == (10, 10)


def test_a_verdict_that_its_samples_do_not_give_is_told(tmp_path: Path) -> None:
    taken = a_record()
    at = next(n for n, trial in enumerate(taken.trials) if trial.outcome is SpeedOutcome.SLOWER)
    honest = taken.trials[at]
    for forged in (
        replace(honest, outcome=SpeedOutcome.NO_DIFFERENCE),
        replace(honest, ratio=replace(honest.ratio, low=0.9 * honest.ratio.low)),
        replace(honest, pairs=honest.pairs[:-1]),
    ):
        trials = (*taken.trials[:at], forged, *taken.trials[at + 1 :])
        with pytest.raises(recording.RecordError, match=f"trial {at} "):
            false_alarms.check(replace(taken, trials=trials))


def test_parts_add_up_and_do_not_count_twice(tmp_path: Path) -> None:
    parts = [recording.write(a_record(seed), tmp_path) for seed in (0, 1)]
    assert false_alarms.summary_of(parts)[0].faster.trials == 12
    with pytest.raises(recording.RecordError, match="another record holds too"):
        false_alarms.summary_of([parts[0], parts[0]])
    other = recording.write(replace(a_record(2), condition="wall time, warm L2"), tmp_path)
    with pytest.raises(recording.RecordError, match="another device, condition or rules"):
        false_alarms.summary_of([parts[0], other])


def test_trials_end_with_the_time(tmp_path: Path) -> None:
    calibration = false_alarms.calibrate(Machine(0), SOURCE)
    past = time.monotonic() - 1.0
    took = false_alarms.take(Machine(0), SOURCE, calibration, against_itself=5, slowed=5, until=past)
    assert list(took) == []


def test_a_rate_has_its_clopper_pearson_interval() -> None:
    """None of n: the upper end is 1 − (α/2)^(1/n)."""
    low, high = false_alarms.Rate(0, 200).interval
    assert low == 0.0
    assert high == pytest.approx(1.0 - math.pow(0.025, 1.0 / 200.0))
    assert str(false_alarms.Rate(0, 200)) == "0 of 200 (0.0–1.8 %)"


@pytest.mark.parametrize("text", ["", "{}", '{"format": 1}', "[1]", '{"trials": [1]}'])
def test_what_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "false_alarms-x.json"
    path.write_text(text)
    with pytest.raises(recording.RecordError, match="not a record"):
        false_alarms.read(path)


def test_a_record_of_another_format_is_refused(tmp_path: Path) -> None:
    path = recording.write(replace(a_record(count=1), format=9), tmp_path)
    with pytest.raises(recording.RecordError, match="format 9"):
        false_alarms.read(path)


def test_the_summary_is_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recording.write(a_record(), tmp_path)
    assert false_alarms.main(["--summary", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "| none | " in printed
    assert "| 5 % | " in printed
    values = json.loads(path.read_text())
    values["trials"][0]["pairs"][0][1] *= 2.0
    path.write_text(json.dumps(values))
    assert false_alarms.main(["--summary", str(path)]) == 2


def test_all_trials_taken_alike_are_shown_together(tmp_path: Path) -> None:
    assert false_alarms.section(tmp_path) == ""
    records = [replace(a_record(seed), date=f"2026-11-2{seed}T10:00:00Z") for seed in (0, 1)]
    other = replace(a_record(2), condition="wall time, warm L2", date="2026-11-19T10:00:00Z")
    paths = [recording.write(record, tmp_path) for record in (*records, other)]
    shown = false_alarms.section(tmp_path)
    assert shown.startswith(false_alarms.table(false_alarms.summary_of(paths[:2])))
    assert "2026-11-20 to 2026-11-21" in shown and other.condition not in shown
