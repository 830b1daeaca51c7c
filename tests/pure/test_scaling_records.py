"""The scaling benchmark without a GPU: its points, what becomes of one, the record, the table, the plot."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))  # scripts, not a package: they import one another by name

import recording  # noqa: E402
import scaling  # noqa: E402
import scaling_plot  # noqa: E402
import tables  # noqa: E402
from apart import Lost  # noqa: E402
from recording import Side  # noqa: E402
from scaling_files import Prepared, file_path, problem_text  # noqa: E402
from scaling_records import (  # noqa: E402
    PLOT,
    Measured,
    Outcome,
    Point,
    ScalingRecord,
    geometric_mean,
    newest,
    points,
    read,
    section,
)

SMALL, WIDE, LARGE = (Point("lstm", 512, batch, 64) for batch in (1, 4, 16))
HUGE, LAST = Point("lstm", 512, 256, 2048), Point("gru", 512, 256, 2048)
BLOCK = "# A\n<!-- results:scaling -->\nstale\n<!-- /results -->\nB\n"


def sides(ours: float | None, fp16: float, tf32: float) -> tuple[Side, ...]:
    """Eager sides and, except for ours, slower graphs. Our graph is the faster of the two."""

    def of(label: str, us: float) -> Side:
        return Side(label, (us - 1.0, us, us + 9.0), (us, us, us), 1e-4)

    theirs = [
        of(f"{label}{form}", us + extra)
        for label, us in (("cuDNN, fp16", fp16), ("cuDNN, tf32", tf32))
        for form, extra in (("", 0.0), (", CUDA graph", 50.0))
    ]
    mine = [of("tilewright", ours + 70.0), of("tilewright, CUDA graph", ours)] if ours else []
    return (*theirs, *mine)


def timed(point: Point, ours: float, fp16: float, tf32: float) -> Measured:
    return Measured(point, Outcome.TIMED, "0123456789ab", "one kernel", "", "ff", sides(ours, fp16, tf32))


def a_record(*measured: Measured, date: str = "2026-12-01T10:00:00Z") -> ScalingRecord:
    return ScalingRecord(
        name="scaling",
        date=date,
        commit="0123456789abcdef",
        dirty=False,
        command=("python", "benchmarks/scaling.py", "run", "runs/scaling"),
        case={"T": "512", "dtype": "float32"},
        machine=recording.Machine("NVIDIA H200", "580.1", "13.0", "91900", "2.11.0", "3.6.0", "3.12.1"),
        points=measured,
    )


MEASURED = (
    timed(SMALL, 100.0, 400.0, 800.0),
    timed(WIDE, 100.0, 100.0, 400.0),
    timed(LARGE, 200.0, 50.0, 100.0),
    Measured(HUGE, Outcome.DECLINED, "0123456789ab", reason="the weights do not fit"),
    Measured(LAST, Outcome.NOT_REACHED, "0123456789ab", "one kernel", "no time left", "ff"),
    Measured(Point("rnn", 512, 64, 64), Outcome.FAILED, reason="not done in 120 s"),
    timed(Point("rnn", 64, 16, 256), 100.0, 90.0, 400.0),
)


def row(text: str, title: str, hidden: int) -> str:
    lines = text.splitlines()
    return next(line for line in lines[lines.index(heading(title)) :] if line.startswith(f"| H={hidden} "))


def heading(title: str) -> str:
    return f"| {title} | B=1 | B=4 | B=16 | B=64 | B=256 |"


def test_the_points_are_the_grid_and_the_lines_of_the_plot():
    every = points()
    assert len(every) == len(set(every)) == 90 + 15
    assert sum(point.steps == 512 for point in every) == 90
    assert {p.steps for p in every if "steps" in p.lines} == {64, 128, 256, 512, 1024, 2048}
    assert {(p.steps, p.batch) for p in every if "hidden" in p.lines} == {(512, 16)}
    on_lines = [bool(point.lines) for point in every]
    assert on_lines == sorted(on_lines, reverse=True)


def test_a_point_is_compared_in_each_sides_better_form():
    one = timed(SMALL, 100.0, 400.0, 800.0)
    assert one.best_us("tilewright") == 100.0
    assert one.speedup("cuDNN, fp16") == 4.0
    assert one.speedup("cuDNN, tf32") == 8.0
    assert one.speedup("cuDNN, fp16", "cuDNN, tf32") == 4.0
    assert replace(one, sides=sides(None, 1.0, 2.0)).speedup("cuDNN, fp16") is None
    assert replace(one, sides=one.sides[-2:]).speedup("cuDNN, fp16") is None


def test_geometric_mean():
    assert geometric_mean([4.0, 1.0, 0.25]) == pytest.approx(1.0)
    assert geometric_mean([3.0]) == pytest.approx(3.0)


def test_a_record_reads_back_and_the_newest_is_taken(tmp_path: Path):
    old, new = a_record(date="2026-11-30T10:00:00Z"), a_record(*MEASURED)
    recording.write(old, tmp_path)
    path = recording.write(new, tmp_path)
    assert path.name == "scaling-nvidia-h200-2026-12-01T100000Z.json"
    assert read(path) == new
    assert newest(tmp_path) == (new, path)
    assert '"wall_us": [ 399.0, 400.0, 409.0 ]' in path.read_text()


def test_a_whole_grid_of_samples_stays_small(tmp_path: Path):
    def full(label: str) -> Side:
        return Side(label, (12345.6,) * 16, (12345.6,) * 16, 4.0123456789e-4)

    labels = [f"{side}{form}" for side in ("cuDNN, fp16", "cuDNN, tf32", "tilewright")
              for form in ("", ", CUDA graph")]  # fmt: skip
    every = [replace(timed(p, 1.0, 1.0, 1.0), sides=tuple(map(full, labels))) for p in points()]
    assert recording.write(a_record(*every), tmp_path).stat().st_size < 300_000


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}'])
def test_a_file_that_is_no_record_is_named(tmp_path: Path, text: str):
    path = tmp_path / "scaling-x.json"
    path.write_text(text)
    with pytest.raises(recording.RecordError, match=r"scaling-x\.json: not a record"):
        read(path)


def test_a_record_of_another_format_is_refused(tmp_path: Path):
    path = recording.write(replace(a_record(), format=99), tmp_path)
    with pytest.raises(recording.RecordError, match="format 99"):
        read(path)


def test_the_table_is_a_matrix_of_speedups_with_every_other_outcome_named(tmp_path: Path):
    recording.write(a_record(*MEASURED), tmp_path)
    text = section(tmp_path)
    assert row(text, "LSTM", 64) == "| H=64 | 4.00× | 1.00× | **0.25×** | – | – |"
    assert row(text, "LSTM", 2048) == "| H=2048 | – | – | – | – | declined |"
    assert row(text, "GRU", 2048) == "| H=2048 | – | – | – | – | – |"
    assert row(text, "Elman RNN", 64) == "| H=64 | – | – | – | failed | – |"
    assert "- rnn/512/64/64 failed: not done in 120 s." in text


def test_the_table_counts_and_takes_the_mean_over_the_grid(tmp_path: Path):
    recording.write(a_record(*MEASURED), tmp_path)
    lines = section(tmp_path).splitlines()
    means = "geometric mean 1.00×, 1.00× over fp16 alone, 2.52× over tf32 alone"
    figures = f"compared at 3, {means}, slower at 1"
    assert f"- LSTM: {figures}, 1 declined." in lines
    assert f"- All 6 points: {figures}, 1 declined, 1 failed, 1 not reached." in lines
    assert "- GRU: compared at 0, 1 not reached." in lines
    assert any(line.startswith("- Other numbers of steps: compared at 1,") for line in lines)
    assert "files written by commit 0123456789ab, timed at commit 0123456789ab" in lines[-1]
    assert "tilewright 1.0e-04, cuDNN, fp16 1.0e-04" in lines[-1]


def test_the_readme_block_is_filled_in_or_says_that_there_is_no_record(tmp_path: Path):
    assert "\nno record yet\n" in tables.rendered(BLOCK, tmp_path)
    recording.write(a_record(*MEASURED), tmp_path)
    made = tables.rendered(BLOCK, tmp_path)
    assert heading("LSTM") in made and "stale" not in made
    assert tables.rendered(made, tmp_path) == made


@pytest.mark.parametrize(
    "text, compiled, times, outcome, reason",
    [
        ("x", None, sides(1.0, 2.0, 3.0), Outcome.TIMED, ""),
        ("x", Lost("it died"), None, Outcome.FAILED, "it died"),
        ("x", None, Lost("it hung"), Outcome.FAILED, "it hung"),
        ("x", None, (Side("tilewright", note="no output"),), Outcome.FAILED, "no output"),
        ("x", None, None, Outcome.NOT_REACHED, "no time left"),
        ("", None, None, Outcome.DECLINED, "too wide; no plan"),
        ("", None, sides(None, 2.0, 3.0), Outcome.DECLINED, "too wide; no plan"),
    ],
)
def test_what_becomes_of_a_point(tmp_path: Path, text: str, compiled, times, outcome: str, reason: str):
    if text:
        file_path(tmp_path).write_text(text)
    said = Prepared(SMALL, "H200", "0123456789ab", "", ("too wide", "no plan"))
    answers = {} if times is None else {tmp_path: times}
    one = scaling.became(said, tmp_path, {tmp_path: compiled} if text else {}, answers)
    assert (one.outcome, one.reason, bool(one.file_sha256)) == (outcome, reason, bool(text))
    assert one.sides == (times if isinstance(times, tuple) else ())


def test_problems_differ_in_their_sizes_and_layers_alone():
    text = problem_text(Point("gru", 512, 4, 128))
    assert "nn.GRU(hidden_size, hidden_size)" in text
    assert "STEPS = 512\nBATCH = 4\nHIDDEN = 128\n" in text
    compile(text, "problem.py", "exec")


def test_without_matplotlib_the_plot_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    path, output = recording.write(a_record(*MEASURED), tmp_path), tmp_path / "x.svg"
    assert scaling.main(["plot", str(path), "--output", str(output)]) == 2
    assert "the plot needs matplotlib: pip install 'tilewright[plots]'" in capsys.readouterr().err
    assert not output.exists()


def test_the_plot_is_the_same_every_time_and_names_its_record(tmp_path: Path):
    pytest.importorskip("matplotlib", reason="the plot needs matplotlib")
    record = a_record(*(timed(p, 100.0, 200.0, 300.0) for p in points()))
    drawn = []
    for name in ("one.svg", "two.svg"):
        scaling_plot.draw(record, Path("scaling-x.json"), tmp_path / name)
        drawn.append((tmp_path / name).read_text())
    assert drawn[0] == drawn[1]
    assert "scaling-x.json" in drawn[0]


def test_the_plot_in_the_documentation_is_that_of_the_newest_record():
    found = newest()
    if found:
        assert found[1].name in PLOT.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "arguments, said",
    [(["prepare", "x", "--only", "mlp/*"], "no point is mlp/*"), (["run"], "required: folder")],
)
def test_the_command_refuses_arguments_it_cannot_use(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit, match="2"):
        scaling.main(arguments)
    assert said in capsys.readouterr().err
