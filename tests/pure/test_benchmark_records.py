"""Benchmarks without a GPU: how samples are interleaved, what a record holds, the README's tables."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))  # scripts, not a package: they import one another by name

import compiled_loop  # noqa: E402
import network_records  # noqa: E402
import recording  # noqa: E402
import tables  # noqa: E402


class FakeDevice:
    """A clock that only runs when a side does: each side costs what it says."""

    def __init__(self) -> None:
        self.now_us = 0.0
        self.log: list[str] = []

    def contender(self, label: str, microseconds: float) -> recording.Contender:
        def run() -> None:
            self.now_us += microseconds
            self.log.append(label)

        return recording.Contender(label, run, lambda: self.log.append(f"prepare {label}"))

    def wall_us(self, run: recording.Run) -> float:
        started = self.now_us
        run()
        return self.now_us - started

    def device_us(self, run: recording.Run) -> float:
        return self.wall_us(run)


def a_record(*sides: recording.Side, date: str = "2026-11-22T10:00:00Z") -> recording.Record:
    machine = recording.Machine(
        "NVIDIA H100 80GB HBM3", "580.1", "13.0", "91900", "2.11.0", "3.6.0", "3.12.1"
    )
    return recording.Record(
        name="vanilla_rnn",
        date=date,
        commit="0123456789abcdef",
        dirty=False,
        command=("python", "benchmarks/vanilla_rnn.py"),
        case={"T": 256, "dtype": "float32"},
        machine=machine,
        sides=sides,
    )


def side(label: str, *wall_us: float, error: float | None = 1e-4, note: str = "") -> recording.Side:
    return recording.Side(label, wall_us, tuple(w / 2 for w in wall_us), error, note)


def test_slow_sides_get_fewer_samples_but_never_too_few():
    device = FakeDevice()
    sides = [device.contender("fast", 10.0), device.contender("slow", 5e3), device.contender("slowest", 1e6)]
    taken = recording.sample(sides, device, seconds_per_side=1.0, least=20, most=100)
    assert {label: len(samples.wall_us) for label, samples in taken.items()} == {
        "fast": 100,
        "slow": 50,
        "slowest": 20,
    }
    assert set(taken["slow"].wall_us) == {5e3}
    assert len(taken["slow"].device_us) == 50


def test_samples_are_interleaved_in_an_order_that_the_seed_decides():
    def order(seed: int) -> list[str]:
        device = FakeDevice()
        sides = [device.contender("a", 10.0), device.contender("b", 10.0)]
        recording.sample(sides, device, seconds_per_side=1.0, least=20, most=20, seed=seed)
        return [entry for entry in device.log if entry.startswith("prepare")][len(sides) :]

    once = order(seed=1)
    assert once == order(seed=1)
    assert once != order(seed=2)
    assert once.count("prepare a") == once.count("prepare b") == 20
    changes = sum(before != after for before, after in pairwise(once))
    assert changes > 5


def test_a_side_is_prepared_before_every_sample():
    device = FakeDevice()
    sides = [device.contender("a", 10.0), device.contender("b", 10.0)]
    recording.sample(sides, device, seconds_per_side=1.0, least=20, most=20)
    prepared = ""
    for entry in device.log:
        if entry.startswith("prepare"):
            prepared = entry
        else:
            assert prepared == f"prepare {entry}"


def test_a_record_comes_back_as_it_was_written(tmp_path: Path):
    record = a_record(side("current", 3.0, 1.0, 2.0), recording.Side("lost", note="it raised"))
    path = recording.write(record, tmp_path)
    assert path.name == "vanilla_rnn-nvidia-h100-80gb-hbm3-2026-11-22T100000Z.json"
    assert recording.read(path) == record


def test_a_record_is_never_overwritten(tmp_path: Path):
    recording.write(a_record(), tmp_path)
    with pytest.raises(recording.RecordError, match="File exists"):
        recording.write(a_record(), tmp_path)


def test_a_record_of_another_format_is_refused(tmp_path: Path):
    path = recording.write(a_record(), tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(recording.RecordError, match="format 99"):
        recording.read(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}'])
def test_a_file_that_is_no_record_is_named(tmp_path: Path, text: str):
    path = tmp_path / "vanilla_rnn-x.json"
    path.write_text(text)
    with pytest.raises(recording.RecordError, match=r"vanilla_rnn-x\.json: not a record"):
        recording.read(path)


def test_quartiles_need_two_samples():
    assert recording.spread([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 3.0, 4.0)
    with pytest.raises(recording.RecordError, match="1 samples"):
        recording.spread([1.0])


def test_the_table_compares_medians_with_the_first_side_of_the_same_record():
    record = a_record(
        side("current", 15e3, 14e3, 13e3, error=1.27e-3),
        side("best", 101.0, 100.0, 99.0, error=4e-4),
        side("compiled", error=None, note="compilation did not finish in 240 s"),
    )
    rows = tables.table(record, Path("x.json")).splitlines()
    assert rows[0] == "| side | wall, µs | device, µs | vs current | error |"
    assert rows[2] == "| current | 14\xa0000 (13\xa0500–14\xa0500) | 7\xa0000 | 1.00× | 1.3e-03 |"
    assert rows[3] == "| best | 100.0 (99.5–100.5) | 50.0 | 140.00× | 4.0e-04 |"
    assert rows[4] == "| compiled | – | – | – | – |"
    assert "- compiled: compilation did not finish in 240 s." in rows


def test_a_first_side_that_failed_leaves_no_ratio():
    record = a_record(recording.Side("current", note="it raised"), side("best", 1.0, 2.0, 3.0))
    assert "| best | 2.0 (1.5–2.5) | 1.0 | – |" in tables.table(record, Path("x.json"))


def test_blocks_are_made_from_the_newest_record_and_nothing_else_changes(tmp_path: Path):
    recording.write(a_record(side("old", 1.0, 2.0), date="2026-11-21T10:00:00Z"), tmp_path)
    recording.write(a_record(side("new", 1.0, 2.0), date="2026-11-22T10:00:00Z"), tmp_path)
    text = "# A\n<!-- results:vanilla_rnn -->\nstale\n<!-- /results -->\nB\n"
    made = tables.rendered(text, tmp_path)
    assert "| new |" in made and "| old |" not in made and "stale" not in made
    assert made.startswith("# A\n") and made.endswith("<!-- /results -->\nB\n")
    assert tables.rendered(made, tmp_path) == made


def test_check_tells_a_stale_table_and_the_plain_command_mends_it(tmp_path: Path):
    readme = tmp_path / "README.md"
    readme.write_text("<!-- results:vanilla_rnn -->\nstale\n<!-- /results -->\n")
    results = tmp_path / "results"
    arguments = ["--file", str(readme), "--results", str(results)]
    assert tables.main([*arguments, "--check"]) == 1
    assert "stale" in readme.read_text()
    assert tables.main(arguments) == 0
    assert readme.read_text() == "<!-- results:vanilla_rnn -->\nno record yet\n<!-- /results -->\n"
    recording.write(a_record(side("current", 1.0, 2.0)), results)
    assert tables.main([*arguments, "--check"]) == 1
    assert tables.main(arguments) == 0
    assert tables.main([*arguments, "--check"]) == 0


def test_a_network_is_a_row_with_each_form_beside_the_same_form(tmp_path: Path):
    assert network_records.section(tmp_path) == ""
    sides = (
        side("PyTorch, fp32", 3e4, 3e4, error=1e-7),
        side("PyTorch, fp32, CUDA graph", 8e3, 8e3, error=1e-7),
        side("PyTorch, tf32", 4e4, 4e4),
        side("tilewright", 1e3, 1e3),
        side("tilewright, CUDA graph", 8e2, 8e2),
    )
    recording.write(replace(a_record(*sides), name="lstm"), tmp_path)
    recording.write(replace(a_record(*sides[:1]), name="gru"), tmp_path)
    gru, lstm = network_records.section(tmp_path).splitlines()[2:4]
    assert lstm == "| lstm | 30.00 | 8.00 | 1.00 | 0.80 | 30.0× | 10.0× | 1.0e-07 | 1.0e-04 |"
    assert gru == "| gru | 30.00 | – | – | – | – | – | 1.0e-07 | – |"


def test_the_readme_shows_the_newest_records():
    assert tables.main(["--check"]) == 0


def comes_to_its_end(number: int) -> bool:
    """Whether a process that was sent SIGKILL is soon gone: its end comes a moment after the signal."""
    for _ in range(600):
        try:
            if psutil.Process(number).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def test_a_probe_that_takes_too_long_is_killed_with_its_children(tmp_path: Path):
    child = tmp_path / "child"
    script = f"sleep 60 & echo $! > '{child}'; wait"
    probe = compiled_loop.Probe.start(["bash", "-c", script], seconds=3.0)
    with pytest.raises(compiled_loop.DidNotFinish, match="did not finish in 3 s"):
        probe.finish()
    number = int(child.read_text())
    assert comes_to_its_end(number)


def test_a_probe_that_ended_while_another_was_waited_for_has_finished():
    """It also writes more than a pipe holds, which must not stop it."""
    script = "import sys; sys.stderr.write('x' * 200_000)"
    probe = compiled_loop.Probe.start([sys.executable, "-c", script], seconds=0.0)
    probe.process.wait(30)
    probe.finish()


def test_a_probe_that_fails_says_its_last_line():
    probe = compiled_loop.Probe.start(
        [sys.executable, "-c", "raise ValueError('no such shape')"], seconds=30.0
    )
    with pytest.raises(compiled_loop.DidNotFinish, match="failed: ValueError: no such shape"):
        probe.finish()


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--file", "best.py"], "not LABEL=PATH"),
        (["--file", "current=" + __file__], "labels must differ"),
        (["--file", "best=/no/such/file.py"], "not LABEL=PATH"),
    ],
)
def test_the_benchmark_refuses_arguments_it_cannot_use(arguments: list[str], said: str):
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "vanilla_rnn.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert said in done.stderr
