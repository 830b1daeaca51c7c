"""The judge on a GPU: verdicts that only a device can give, full sizes, and timing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tilewright.cli.bench import command as bench
from tilewright.errors import NotTimed
from tilewright.evidence import Evidence
from tilewright.gpu.catalogue import find
from tilewright.judge.api import check, compare_speed, time_sides
from tilewright.judge.means.findings import Kind
from tilewright.judge.speed.model import Rules, SpeedOutcome
from tilewright.judge.speed.statistics import median
from tilewright.judge.verdict import Outcome, Verdict
from tilewright.problem import Problem
from tilewright.workers import Limits

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data" / "judge"
EXAMPLE = ROOT / "examples" / "vanilla_rnn"
LIMITS = Limits(seconds=200.0, memory_bytes=32 * 2**30)


def text(name: str, *edits: tuple[str, str]) -> str:
    source = (DATA / name).read_text()
    for old, new in edits:
        assert old in source
        source = source.replace(old, new)
    return source


def judged(problem: str, source: str, **options: object) -> Verdict:
    given = {"trials": 1, "limits": LIMITS, **options}
    return check(Problem.from_source(problem, "problem.py"), source, **given)  # type: ignore[arg-type]


def scaled(*edits: tuple[str, str], **options: object) -> Verdict:
    return judged(text("scale_problem.py"), text("scale.py", *edits), **options)


def test_a_correct_file_is_measured_at_full_size() -> None:
    verdict = scaled(trials=3)
    assert verdict.correct, verdict.reason
    assert verdict.evidence is Evidence.MEASURED
    assert verdict.sizes == ""
    assert "NVIDIA" in verdict.device


def test_the_build_for_another_target_is_judged_and_named_so() -> None:
    verdict = scaled(target=find("l4"))
    assert verdict.correct, verdict.reason
    assert verdict.evidence is Evidence.MEASURED_ON
    assert "kernels were built as for L4" in verdict.notes


def test_a_skipped_last_tile_shows_through_poisoned_memory() -> None:
    verdict = scaled(("triton.cdiv(x.numel(), 64)", "x.numel() // 64"))
    assert verdict.outcome is Outcome.WRONG
    assert "24 of 600" in verdict.reason


def test_an_output_left_on_the_cpu_is_a_mismatch() -> None:
    verdict = scaled(("return out", "return out.cpu()"))
    assert verdict.outcome is Outcome.MISMATCH
    assert "device cpu" in verdict.reason


LAUNCH = "    scale_kernel[grid]("
ON_A_STREAM = f"    with torch.cuda.stream(side):\n    {LAUNCH}"
BEFORE = "    side = torch.cuda.Stream()\n    side.wait_stream(torch.cuda.current_stream())\n"
AFTER = "    torch.cuda.current_stream().wait_stream(side)\n    return out\n"


def test_a_stream_of_its_own_must_wait_for_the_callers() -> None:
    verdict = scaled((LAUNCH, f"    side = torch.cuda.Stream()\n{ON_A_STREAM}"), ("    return out\n", AFTER))
    assert verdict.outcome is Outcome.WRONG
    assert "amid the work of a stream" in verdict.reason
    verdict = scaled((LAUNCH, BEFORE + ON_A_STREAM), ("    return out\n", AFTER))
    assert verdict.correct, verdict.reason


def test_a_kernel_that_does_not_compile_is_a_compile_error_with_its_line() -> None:
    verdict = scaled(
        ("    x = tl.load(x_ptr + at, mask=ok)", "    x = tl.load(x_ptr + at, mask=ok) + undefined")
    )
    assert verdict.outcome is Outcome.COMPILE_ERROR
    assert "undefined" in verdict.reason
    assert "candidate.py:11" in verdict.reason


def test_too_much_shared_memory_is_out_of_resources() -> None:
    verdict = judged(text("scale_problem.py"), text("hungry.py"))
    assert verdict.outcome is Outcome.OUT_OF_RESOURCES, verdict.reason
    assert "shared memory" in verdict.reason


def test_too_much_device_memory_is_out_of_resources() -> None:
    verdict = scaled(("return scale(", "torch.empty(2**45, device=x.device); return scale("))
    assert verdict.outcome is Outcome.OUT_OF_RESOURCES


def test_an_illegal_access_is_a_crash() -> None:
    verdict = scaled(
        (
            "tl.store(out_ptr + at, x * weight + bias, mask=ok)",
            "tl.store(out_ptr + at.to(tl.int64) * (1 << 40), x)",
        )
    )
    assert verdict.outcome is Outcome.CRASH
    assert "illegal memory access" in verdict.reason


def test_programs_that_wait_for_ever_are_a_timeout() -> None:
    wait = "    while tl.atomic_add(out_ptr, 0.0) != 12345.0:\n        pass\n    tl.store("
    assert scaled(("    tl.store(", wait), limits=Limits(seconds=30)).outcome is Outcome.TIMEOUT


def test_a_wrong_config_in_the_files_own_list_is_found() -> None:
    problem = text("steps_problem.py", ("STEPS = 512", "STEPS = 3"))
    hard_coded = text("steps.py", ('triton.cdiv(hidden, meta["BLOCK"])', "triton.cdiv(hidden, 32)"))
    verdict = judged(problem, hard_coded, precision="tf32")
    assert verdict.outcome is Outcome.WRONG
    assert judged(problem, text("steps.py"), precision="tf32").correct


def test_tf32_products_are_within_a_tf32_budget_and_over_a_float32_one() -> None:
    problem = text("steps_problem.py", ("STEPS = 512", "STEPS = 8"), ("HIDDEN = 32", "HIDDEN = 256"))
    source = text("steps.py", ('input_precision="ieee"', 'input_precision="tf32"'))
    within = judged(problem, source, precision="tf32")
    assert within.correct, within.reason
    assert judged(problem, source, precision="float32").outcome is Outcome.WRONG


def test_the_example_is_correct_at_full_size() -> None:
    problem = Problem.from_file(EXAMPLE / "problem.py")
    verdict = check(problem, (EXAMPLE / "current.py").read_text(), precision="tf32", limits=LIMITS)
    assert verdict.correct, verdict.reason
    assert verdict.sizes == ""


def test_recurrent_reference_modules_run_in_float64() -> None:
    problem = text(
        "steps_problem.py",
        ("self.mix = nn.Linear(hidden, hidden)", "self.mix = nn.LSTM(hidden, hidden, 2)"),
        ("h = torch.randn(x.shape[1], x.shape[2], device=x.device)", "return self.mix(x)[0]"),
        ("STEPS = 512", "STEPS = 16"),
    )
    source = problem.replace("class Model(", "class ModelNew(").split("def get_inputs")[0]
    verdict = judged(problem, source, precision="tf32", allow=[Kind.LIBRARY])
    assert verdict.correct, verdict.reason


def many_rows(rows: int = 1000) -> tuple[Problem, str, str]:
    """A problem of some microseconds, a file for it, and one that does it twice."""
    sizes = (("ROWS = 6", f"ROWS = {rows}"), ("COLS = 100", "COLS = 512"))
    once = text("scale.py", ("numel(), 64)", "numel(), 1024)"), ("BLOCK=64", "BLOCK=1024"))
    call = "scale(x, self.weight, self.bias)"
    twice = once.replace(f"return {call}", f"{call}\n        return {call}")
    return Problem.from_source(text("scale_problem.py", *sizes)), once, twice


def test_sides_are_timed_interleaved_and_a_slower_one_is_seen() -> None:
    problem, fast, twice = many_rows()
    broken = text("scale.py", ("return scale(", "raise RuntimeError('no'); return scale("))
    timing = time_sides(
        problem, [("fast", fast), ("twice", twice), ("broken", broken), ("reference", None)], seconds=1.0
    )
    sides = {side.label: side for side in timing.sides}
    assert list(sides) == ["fast", "twice", "broken", "reference"]
    assert "no" in sides["broken"].problem
    for label in ("fast", "twice", "reference"):
        for samples in (sides[label].cold, sides[label].warm):
            assert len(samples.wall_us) == len(samples.device_us) >= 11
            assert median(samples.wall_us) >= median(samples.device_us) * 0.9
    assert median(sides["twice"].cold.device_us) > 1.3 * median(sides["fast"].cold.device_us)
    assert timing.device
    assert timing.triton


def test_device_time_leaves_out_what_the_host_takes() -> None:
    problem, once, _ = many_rows(6)
    (side,) = time_sides(problem, [("once", once)], seconds=1.0).sides
    for samples in (side.cold, side.warm):
        assert 0.0 < median(samples.device_us) < 0.5 * median(samples.wall_us)


def test_a_file_that_does_its_work_once_is_faster_than_one_that_does_it_twice() -> None:
    problem, once, twice = many_rows()
    rules = Rules(looks=(10,), noise_blocks=6)  # enough for a factor, and quickly taken
    verdict = compare_speed(problem, twice, once, rules=rules, seconds=10.0)
    assert verdict.outcome is SpeedOutcome.FASTER, verdict.statement
    assert verdict.ratio.low > 1.1
    assert compare_speed(problem, once, twice, rules=rules, seconds=10.0).outcome is SpeedOutcome.SLOWER


@pytest.mark.parametrize("condition", ["device time, cold L2", "wall time, warm L2"])
def test_a_file_against_itself_shows_no_difference(condition: str) -> None:
    problem, once, _ = many_rows()
    rules = Rules(
        false_alarm=1e-4, looks=(16,), noise_blocks=8
    )  # of the tests, not of users: each run is one more trial
    verdict = compare_speed(problem, once, once, condition=condition, rules=rules, seconds=10.0)
    assert verdict.outcome is SpeedOutcome.NO_DIFFERENCE, verdict.statement
    assert verdict.ratio.low < 1.0 < verdict.ratio.high
    if condition.startswith("device"):  # how wide it is in wall time is up to what else the machine does
        assert 0.9 < verdict.ratio.low <= verdict.ratio.high < 1.1


INSTANCES = """
import torch
from torch import nn
from tilewright.judge.cell.subject import Subject

subject = Subject("cuda")
subject.open(open("candidate.py").read(), "candidate.py")
for number in range(12):
    subject.build([], 0, padding_bytes=12345 * 97**number % 2**24)
    subject.load({})
    print(subject.model.small.data_ptr(), subject.model.large.data_ptr())
"""


def test_instances_do_not_get_the_places_of_the_ones_before(tmp_path: Path) -> None:
    sizes = "nn.Parameter(torch.zeros(64)), nn.Parameter(torch.zeros(2**20))"
    (tmp_path / "candidate.py").write_text(
        "import torch\nfrom torch import nn\n\nclass ModelNew(nn.Module):\n    def __init__(self):\n"
        f"        super().__init__()\n        self.small, self.large = {sizes}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", INSTANCES], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    small, large = zip(*(line.split() for line in done.stdout.splitlines()), strict=True)
    assert len(set(small)) > 3 and len(set(large)) > 3


def test_a_side_that_answers_wrongly_is_not_timed() -> None:
    problem, once, _ = many_rows()
    wrong = once.replace("x * weight + bias", "x * weight - bias")
    assert wrong != once
    with pytest.raises(NotTimed, match="after: wrong"):
        compare_speed(problem, once, wrong, seconds=2.0)


def test_bench_prints_medians_and_leaves_out_what_is_wrong(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text(text("scale.py", ("x * weight + bias,", "x * weight - bias,")))
    arguments = [str(DATA / "scale.py"), str(wrong), "--problem", str(DATA / "scale_problem.py")]
    result = CliRunner().invoke(
        bench, [*arguments, "--reference", "--seconds", "1", "--json"], standalone_mode=False
    )
    assert result.exception is None
    assert result.return_value == 1
    rows = {row["label"]: row for row in json.loads(result.stdout)["rows"]}
    assert rows[str(wrong)]["problem"].startswith("not timed: wrong")
    against = rows["reference"]["against_first"]
    assert against["ratio"]["low"] <= against["ratio"]["value"] <= against["ratio"]["high"]
    assert against["condition"] == "device time, cold L2" and len(against["pairs"]) == 10
