"""The kernel set without a GPU: what is left to measure, how a record is made, and the README's table."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))  # scripts, not a package: they import one another by name

import kernel_plot  # noqa: E402
import kernel_records  # noqa: E402
import kernel_set  # noqa: E402
import recording  # noqa: E402
import tables  # noqa: E402

from tilewright.errors import NotTimed, ProblemError  # noqa: E402
from tilewright.evidence import Evidence  # noqa: E402
from tilewright.judge.speed.decision import decide  # noqa: E402
from tilewright.judge.speed.model import Block, Rules, SpeedVerdict  # noqa: E402
from tilewright.judge.verdict import Outcome, Verdict  # noqa: E402
from tilewright.runs import Decided  # noqa: E402
from tilewright.stages.diagnosis import Outlook  # noqa: E402
from tilewright.stages.summary import StageReport, Step, Summary  # noqa: E402

CONDITION = "device time, cold L2"
GIVEN, RESULT = "the file as given", "a faster file"
TIMES_US: Mapping[str | None, float] = {GIVEN: 100.0, RESULT: 50.0, None: 80.0}
BLOCK = "# A\n<!-- results:kernel_set -->\n<!-- /results -->\nB\n"


class Sides:
    """Times with a little jitter, the same in every run."""

    def __init__(self, before: str | None, after: str) -> None:
        self.times_us = TIMES_US[before], TIMES_US[after]
        self.draw = random.Random(0)

    def block(self, *times_us: float) -> Block:
        before, after = (tuple(t * self.draw.gauss(1.0, 0.003) for _ in range(3)) for t in times_us)
        return Block(before, after)

    def pair_block(self) -> Block:
        return self.block(*self.times_us)

    def same_block(self) -> Block:
        return self.block(self.times_us[0], self.times_us[0])


def compare(before: str | None, after: str) -> SpeedVerdict:
    return decide(Sides(before, after), Rules(), CONDITION)


def summary(improved: bool) -> Summary:
    outlook = Outlook(stage="", helps=True, why="it may help")
    step = Step(candidate="abc", proposer="launch tuning", why="num_warps 4 → 8", gave=None)
    tuned = StageReport(
        "block_tiling", outlook, tried=24, correct=18, notes=("BLOCK is left alone",), steps=(step,)
    )
    correct = Verdict(Outcome.CORRECT)
    return Summary(
        gpu="H100",
        device="NVIDIA H100",
        best="abc",
        improved=improved,
        verdict=correct,
        given=correct,
        gain=None,
        stages=(tuned, StageReport("memory_access", outlook)),
        findings=(),
        evidence=Evidence.MEASURED,
        notes=(),
        seconds=100.4,
    )


def a_record(
    kernel: str = "softmax",
    *,
    improved: bool = True,
    date: str = "2026-11-22T10:00:00Z",
    device: str = "NVIDIA H100",
    texts: tuple[str, str] = ("a problem", GIVEN),
    compare: kernel_set.Callable[[str | None, str], SpeedVerdict] = compare,
) -> kernel_records.KernelRecord:
    gain = Decided("gain", "given", "abc", device)
    try:
        gain = replace(gain, speed=compare(GIVEN, RESULT))
    except NotTimed as error:
        gain = replace(gain, problem=error.what)
    search = kernel_set.search_of(summary(improved), 120.0, RESULT if improved else GIVEN)
    labels = ["given", *(["tilewright"] if improved else []), "PyTorch"]
    sides = [recording.Side(label, (9.0, 9.0), (3.0, 4.0, 5.0), 1e-4) for label in labels]
    failed = recording.Side("torch.compile, max-autotune", note="RuntimeError: no such mode")
    timed = recording.Record(
        name=f"kernel_set-{kernel}",
        date=date,
        commit="0123456789abcdef",
        dirty=False,
        command=("python", "benchmarks/kernel_set.py"),
        case={"ROWS": 4096, "products": "tf32"},
        machine=recording.Machine(device, "580.1", "13.0", "91900", "2.11.0", "3.6.0", "3.12.1"),
        sides=(*sides, failed),
    )
    comparisons = kernel_set.compared(search, gain, lambda after: compare(None, after))
    return kernel_set.assembled(timed, texts, search, comparisons)


def of_its_files(kernel: str, date: str) -> kernel_records.KernelRecord:
    problem, current = (path.read_text() for path in kernel_set.files(kernel))
    return a_record(kernel, date=date, texts=(problem, current))


@pytest.mark.parametrize("improved", [True, False])
def test_a_record_reads_back(tmp_path: Path, improved: bool) -> None:
    record = a_record(improved=improved)
    path = recording.write(record, tmp_path)
    assert path.name == "kernel_set-softmax-nvidia-h100-2026-11-22T100000Z.json"
    assert kernel_records.read(path) == record
    assert record.kernel == "softmax"
    assert record.case == {"ROWS": "4096", "products": "tf32"}


def test_a_record_says_what_the_search_did() -> None:
    search = a_record().search
    assert (search.tried, search.correct, search.seconds, search.budget_seconds) == (24, 18, 100.4, 120.0)
    assert (search.given, search.verdict, search.result) == ("correct", "correct", RESULT)
    assert search.steps == ("block_tiling: num_warps 4 → 8",)
    assert search.notes == ("block_tiling: BLOCK is left alone",)


def test_the_result_is_set_against_the_file_as_given_and_against_pytorch() -> None:
    over_given, over_pytorch = a_record().comparisons
    assert (over_given.before, over_given.after) == ("given", "tilewright")
    assert over_given.speed is not None and over_pytorch.speed is not None
    assert over_given.speed.ratio.value == pytest.approx(2.0, rel=0.01)
    assert over_pytorch.speed.ratio.value == pytest.approx(1.6, rel=0.01)
    (only,) = a_record(improved=False).comparisons
    assert (only.before, only.after) == ("PyTorch", "given")
    assert only.speed is not None
    assert only.speed.ratio.value == pytest.approx(0.8, rel=0.01)


def test_what_could_not_be_timed_is_kept_with_the_reason(tmp_path: Path) -> None:
    def fails(before: str | None, after: str) -> SpeedVerdict:
        raise NotTimed("its clock does not tell the truth")

    record = a_record(compare=fails)
    assert [one.problem for one in record.comparisons] == ["its clock does not tell the truth"] * 2
    recording.write(record, tmp_path)
    assert "- softmax, tilewright against given: its clock does not tell" in kernel_records.section(tmp_path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda verdict: verdict["ratio"].update(high=9.0),
        lambda verdict: verdict.update(outcome="no-difference"),
        lambda verdict: verdict["pairs"].pop(),
    ],
)
def test_a_verdict_that_its_blocks_do_not_give_is_told(tmp_path: Path, spoil) -> None:
    path = recording.write(a_record(), tmp_path)
    values = json.loads(path.read_text())
    spoil(values["comparisons"][0]["speed"])
    path.write_text(json.dumps(values))
    with pytest.raises(recording.RecordError, match="tilewright against given: its blocks give another"):
        kernel_records.read(path)


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}'])
def test_a_file_that_is_no_record_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kernel_set-x.json"
    path.write_text(text)
    with pytest.raises(recording.RecordError, match=r"kernel_set-x\.json: not a record"):
        kernel_records.read(path)


def test_a_record_of_another_format_is_refused(tmp_path: Path) -> None:
    path = recording.write(replace(a_record(), format=9), tmp_path)
    with pytest.raises(recording.RecordError, match="format 9"):
        kernel_records.read(path)


def test_what_has_a_record_of_its_present_files_is_left_out() -> None:
    names = ["attention", "cumsum", "softmax"]
    known = {
        "attention": of_its_files("attention", "2026-11-22T10:00:00Z"),
        "cumsum": of_its_files("cumsum", "2026-11-21T10:00:00Z"),
        "softmax": a_record("softmax"),  # of other files
    }
    assert kernel_set.pending(names, known) == ["softmax"]
    assert kernel_set.pending(names, {}) == names
    assert kernel_set.pending(names, known, again=True) == ["softmax", "cumsum", "attention"]


def test_no_kernel_is_started_once_the_time_is_up() -> None:
    assert list(kernel_set.take(["cumsum"], a_record, until=time.monotonic() - 1.0)) == []


def test_a_kernel_that_fails_does_not_stop_the_others() -> None:
    def record(name: str) -> kernel_records.KernelRecord:
        if name == "cumsum":
            raise ProblemError("no Model in the problem file", mend="add one")
        return a_record(name)

    first, second = kernel_set.take(["cumsum", "softmax"], record)
    assert isinstance(first, str) and first.startswith("cumsum: ") and "no Model" in first
    assert second == a_record("softmax")


def test_without_a_gpu_it_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kernel_set, "has_gpu", lambda: False)
    assert kernel_set.main([]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == ["error: PyTorch sees no GPU here; run this on a machine with one"]


def test_without_a_record_there_is_no_table(tmp_path: Path) -> None:
    assert kernel_records.section(tmp_path) == ""
    assert tables.rendered(BLOCK, tmp_path) == BLOCK


def test_the_table_has_a_row_for_the_newest_record_of_each_kernel_on_one_device(tmp_path: Path) -> None:
    recording.write(a_record("softmax", improved=False, date="2026-11-20T10:00:00Z"), tmp_path)
    recording.write(a_record("softmax", date="2026-11-22T10:00:00Z"), tmp_path)
    recording.write(a_record("cumsum", improved=False, date="2026-11-21T10:00:00Z"), tmp_path)
    recording.write(a_record("conv2d", device="NVIDIA A100", date="2026-11-19T10:00:00Z"), tmp_path)
    text = tables.rendered(BLOCK, tmp_path)
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert [row.split(" | ")[0] for row in rows] == ["| cumsum", "| softmax"]
    assert "| 4.0 | as given | – | 0.80× (0.80–0.80) | 4.0 | – | – |" in rows[0]
    assert "| 4.0 | 4.0 | 2.00× (" in rows[1]
    assert "- softmax, torch.compile, max-autotune: RuntimeError: no such mode." in text
    assert "2026-11-21 and 2026-11-22" in text and "A100" not in text
    assert f"({CONDITION})" in text
    assert tables.rendered(text, tmp_path) == text


def test_the_plot_is_the_same_every_time(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the plot needs matplotlib")
    records = [a_record("softmax"), a_record("gemm", improved=False)]
    for name in ("one.svg", "two.svg"):
        kernel_plot.draw(records, tmp_path / name)
    drawn = (tmp_path / "one.svg").read_text()
    assert drawn == (tmp_path / "two.svg").read_text()
    assert "kernel_set-softmax of 2026-11-22T10:00:00Z" in drawn


def test_without_records_or_matplotlib_there_is_no_plot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(kernel_set, "PLOT", tmp_path / "kernels.svg")
    assert kernel_set.main(["--plot", "--results", str(tmp_path)]) == 2
    assert "no record of the kernel set" in capsys.readouterr().err
    recording.write(a_record(), tmp_path)
    assert kernel_set.main(["--plot", "--results", str(tmp_path)]) == 2
    assert "the plot needs matplotlib" in capsys.readouterr().err
    assert not kernel_set.PLOT.exists()


def test_where_nothing_was_better_the_file_as_given_stands_for_the_result() -> None:
    best, eager = ("tilewright", "given"), ("PyTorch",)
    assert kernel_plot.speed(a_record(improved=False), best) == 1.0
    assert kernel_plot.speed(a_record(), eager) == 1.0
    assert kernel_plot.speed(a_record(), ("torch.compile, max-autotune",)) is None
