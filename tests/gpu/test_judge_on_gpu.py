"""The judge on a GPU: verdicts that only a device can give, full sizes, and timing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tilewright.cli.bench import command as bench
from tilewright.evidence import Evidence
from tilewright.gpu.catalogue import find
from tilewright.judge.api import check, time_sides
from tilewright.judge.statistics import median, ratio_of_medians
from tilewright.judge.verdict import Outcome, Verdict
from tilewright.problem import Problem
from tilewright.workers import Limits

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data" / "judge"
EXAMPLE = ROOT / "examples" / "vanilla_rnn"
LIMITS = Limits(seconds=200.0, memory_bytes=32 * 2**30)


@pytest.fixture(autouse=True)
def _gpu() -> None:
    from tilewright.gpu.plugged import plugged_in

    if plugged_in() is None:
        pytest.skip("no NVIDIA GPU here")


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


def test_evidence_for_another_target_is_named_so() -> None:
    assert scaled(target=find("l4")).evidence is Evidence.MEASURED_ON


def test_a_skipped_last_tile_shows_through_poisoned_memory() -> None:
    verdict = scaled(("triton.cdiv(x.numel(), 64)", "x.numel() // 64"))
    assert verdict.outcome is Outcome.WRONG
    assert "24 of 600" in verdict.reason


def test_an_output_left_on_the_cpu_is_a_mismatch() -> None:
    verdict = scaled(("return out", "return out.cpu()"))
    assert verdict.outcome is Outcome.MISMATCH
    assert "device cpu" in verdict.reason


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
    source = text("steps.py")
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
    verdict = judged(problem, source, precision="tf32")
    assert verdict.correct, verdict.reason


def test_sides_are_timed_interleaved_and_a_slower_one_is_seen() -> None:
    sizes = (("ROWS = 6", "ROWS = 60000"), ("COLS = 100", "COLS = 512"))
    problem = Problem.from_source(text("scale_problem.py", *sizes))
    fast = text("scale.py", ("numel(), 64)", "numel(), 1024)"), ("BLOCK=64", "BLOCK=1024"))
    call = "scale(x, self.weight, self.bias)"
    twice = fast.replace(f"return {call}", f"{call}\n        return {call}")
    broken = text("scale.py", ("return scale(", "raise RuntimeError('no'); return scale("))
    timing = time_sides(
        problem, [("fast", fast), ("twice", twice), ("broken", broken), ("reference", None)], seconds=2.0
    )
    sides = {side.label: side for side in timing.sides}
    assert list(sides) == ["fast", "twice", "broken", "reference"]
    assert "no" in sides["broken"].problem
    for label in ("fast", "twice", "reference"):
        for samples in (sides[label].cold, sides[label].warm):
            assert len(samples.wall_us) == len(samples.device_us) >= 11
            assert median(samples.wall_us) >= median(samples.device_us) * 0.9
    assert ratio_of_medians(sides["twice"].cold.device_us, sides["fast"].cold.device_us).low > 1.3
    assert timing.device
    assert timing.triton


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
    assert rows["reference"]["ratio"]["low"] <= rows["reference"]["ratio"]["value"]
