"""Each verdict of the judge, on the CPU, from a small kernel with one thing done to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilewright.errors import AmbiguousParameters, ProblemError
from tilewright.evidence import Evidence
from tilewright.judge.api import check
from tilewright.judge.means.findings import Kind
from tilewright.judge.verdict import Outcome, Verdict
from tilewright.problem import Problem
from tilewright.workers import Limits

pytestmark = pytest.mark.interpreted

DATA = Path(__file__).parents[1] / "data" / "judge"


def text(name: str, *edits: tuple[str, str]) -> str:
    """A file of the test data with edits made; each must change something."""
    source = (DATA / name).read_text()
    for old, new in edits:
        assert old in source
        source = source.replace(old, new)
    return source


def judged(problem: str, source: str, **options: object) -> Verdict:
    given = {"trials": 1, "limits": Limits(seconds=60.0), **options}
    return check(Problem.from_source(problem, "problem.py"), source, **given)  # type: ignore[arg-type]


def scaled(*edits: tuple[str, str], **options: object) -> Verdict:
    return judged(text("scale_problem.py"), text("scale.py", *edits), **options)


def test_a_correct_file_is_correct_and_says_what_that_rests_on() -> None:
    verdict = scaled(trials=3)
    assert verdict.outcome is Outcome.CORRECT
    assert verdict.evidence is Evidence.INTERPRETED
    assert (verdict.trials, len(set(verdict.seeds)), verdict.sizes) == (3, 3, "")
    assert verdict.regimes and not any("resemble" in regime for regime in verdict.regimes), "one input only"
    (error,) = verdict.errors
    assert error.norm_error <= error.norm_budget < 1e-6
    assert error.max_error <= error.max_budget < 1e-6


def test_a_wrong_formula_is_wrong_and_the_worst_element_is_named() -> None:
    verdict = scaled(("x * weight + bias,", "x * weight + bias * 1.001,"))
    assert verdict.outcome is Outcome.WRONG
    assert "output 0 [" in verdict.reason
    assert "should be" in verdict.reason
    assert "of 600 elements are off" in verdict.reason


def test_one_wrong_element_of_many_is_found() -> None:
    verdict = scaled(("x * weight + bias,", "tl.where(at == 577, 0.0, x * weight + bias),"))
    assert verdict.outcome is Outcome.WRONG
    assert "[5, 77]" in verdict.reason
    assert "1 of 600" in verdict.reason


def test_an_error_of_the_size_of_tf32_is_over_a_float32_budget() -> None:
    edit = ("x * weight + bias,", "x * weight * 1.00003 + bias,")
    assert scaled(edit, precision="float32").outcome is Outcome.WRONG


def test_nan_is_wrong() -> None:
    verdict = scaled(("x * weight + bias,", "tl.where(at == 3, float('nan'), x * weight + bias),"))
    assert verdict.outcome is Outcome.WRONG
    assert "nan" in verdict.reason


def test_an_output_of_zeros_is_wrong() -> None:
    assert scaled(("return out", "return out.zero_()")).outcome is Outcome.WRONG


def test_a_skipped_last_tile_shows_through_poisoned_memory() -> None:
    verdict = scaled(("triton.cdiv(x.numel(), 64)", "x.numel() // 64"))
    assert verdict.outcome is Outcome.WRONG
    assert "24 of 600" in verdict.reason


def test_a_changed_input_is_a_mismatch() -> None:
    verdict = scaled(("return scale(", "x.add_(0); x[0, 0] = 2; return scale("))
    assert verdict.outcome is Outcome.MISMATCH
    assert "input 0 was changed" in verdict.reason


def test_a_wrong_dtype_is_a_mismatch() -> None:
    verdict = scaled(("return out", "return out.half()"))
    assert verdict.outcome is Outcome.MISMATCH
    assert "dtype torch.float16" in verdict.reason


def test_a_wrong_shape_is_a_mismatch() -> None:
    verdict = scaled(("return out", "return out[:-1]"))
    assert verdict.outcome is Outcome.MISMATCH
    assert "[5, 100]" in verdict.reason


def test_an_extra_output_is_a_mismatch() -> None:
    verdict = scaled(("return out", "return out, out"))
    assert verdict.outcome is Outcome.MISMATCH
    assert "(·, ·)" in verdict.reason


def test_an_endless_forward_is_a_timeout() -> None:
    verdict = scaled(
        ("return scale(", "\n        while True: pass\n        return scale("), limits=Limits(seconds=6)
    )
    assert verdict.outcome is Outcome.TIMEOUT


def test_programs_that_wait_for_one_another_are_a_timeout() -> None:
    wait = "    while tl.load(out_ptr + 599) != 1.0:\n        pass\n    tl.store("
    verdict = scaled(("    tl.store(", wait), limits=Limits(seconds=6))
    assert verdict.outcome is Outcome.TIMEOUT


def test_an_abort_is_a_crash() -> None:
    verdict = scaled(("return scale(", "import os; os.abort(); return scale("))
    assert verdict.outcome is Outcome.CRASH
    assert "SIGABRT" in verdict.reason


def test_an_exit_at_import_is_a_crash() -> None:
    assert scaled(("import torch\n", "import sys, torch\nsys.exit(0)\n")).outcome is Outcome.CRASH


def test_too_much_memory_is_out_of_resources() -> None:
    verdict = scaled(
        ("return scale(", "hoard = [torch.ones(2**22) for _ in range(512)]; return scale("),
        limits=Limits(seconds=60, memory_bytes=2**30),
    )
    assert verdict.outcome is Outcome.OUT_OF_RESOURCES


def test_an_allocation_that_cannot_be_had_is_out_of_resources() -> None:
    verdict = scaled(("return scale(", "torch.zeros(2**52); return scale("))
    assert verdict.outcome is Outcome.OUT_OF_RESOURCES


def test_an_exception_is_an_error_with_its_line() -> None:
    verdict = scaled(("return scale(", "raise ValueError('no such mode'); return scale("))
    assert verdict.outcome is Outcome.ERROR
    assert "ValueError: no such mode (candidate.py:32)" in verdict.reason


def test_a_missing_model_is_an_error() -> None:
    verdict = scaled(("class ModelNew", "class Other"))
    assert verdict.outcome is Outcome.ERROR
    assert "no ModelNew" in verdict.reason


def test_a_function_triton_does_not_have_is_a_compile_error() -> None:
    verdict = scaled(("x * weight + bias,", "tl.tanh(x * weight + bias),"))
    assert verdict.outcome is Outcome.COMPILE_ERROR
    assert "'tanh'" in verdict.reason
    assert "candidate.py:14" in verdict.reason


def test_inline_assembly_is_not_checked_here() -> None:
    assembly = "tl.inline_asm_elementwise('mov.b32 $0, $1;', '=r,r', [x], tl.float32, True, 1),"
    verdict = scaled(("x * weight + bias,", assembly))
    assert verdict.outcome is Outcome.NOT_CHECKED
    assert "cannot be interpreted" in verdict.reason


def test_a_file_that_insists_on_cuda_is_not_checked_here() -> None:
    verdict = scaled(("    out = torch", "    assert x.is_cuda, 'needs CUDA'\n    out = torch"))
    assert verdict.outcome is Outcome.NOT_CHECKED
    assert "needs a GPU" in verdict.reason


def test_a_file_may_ask_for_the_driver_when_imported_and_is_not_checked_where_nobody_can_answer() -> None:
    place = "import triton.language as tl"
    asks = "DEVICE = triton.runtime.driver.active.get_current_target().backend"
    assert scaled((place, f"{place}\n\n{asks}")).correct
    verdict = scaled((place, f"{place}\n\n{asks.replace('get_current_target', 'get_benchmarker')}"))
    assert verdict.outcome is Outcome.NOT_CHECKED
    assert "needs a GPU" in verdict.reason


def test_choosing_the_device_of_a_tensor_needs_no_gpu() -> None:
    guarded = """    torch.cuda.synchronize()
    with torch.cuda.device(x.device), torch.cuda.device_of(x), torch.cuda._DeviceGuard(x.device.index):
        out = torch"""
    assert scaled(("    out = torch", guarded)).correct


def test_a_file_that_moves_to_cuda_is_not_checked_here() -> None:
    verdict = scaled(("return scale(x,", "return scale(x.cuda(),"))
    assert verdict.outcome is Outcome.NOT_CHECKED
    assert "needs a GPU" in verdict.reason


def test_parameters_of_one_shape_need_a_map() -> None:
    edits = (("self.weight", "self.gain"), ("self.bias", "self.shift"))
    with pytest.raises(AmbiguousParameters, match="gain"):
        scaled(*edits)
    assert scaled(*edits, mapping={"gain": "weight", "shift": "bias"}).correct
    assert scaled(*edits, mapping={"gain": "bias", "shift": "weight"}).outcome is Outcome.WRONG


def test_outputs_in_a_dictionary_integers_among_them_and_bfloat16() -> None:
    verdict = judged(text("pair_problem.py"), text("pair.py"), trials=3)
    assert verdict.correct, verdict.reason
    assert verdict.precision == "bfloat16"
    assert len(verdict.errors) == 2


def test_wrong_integers_are_wrong() -> None:
    source = text("pair.py", ("axis=0).to(tl.int64)", "axis=0).to(tl.int64) ^ (row == 4)"))
    verdict = judged(text("pair_problem.py"), source)
    assert verdict.outcome is Outcome.WRONG
    assert "output 1 [4]" in verdict.reason


def test_sizes_are_cut_first_where_only_launches_are_saved_and_said_so() -> None:
    problem = text("steps_problem.py", ("STEPS = 512", "STEPS = 4096"))  # too many for 3 s
    verdict = judged(
        problem, text("steps.py"), trials=2, interpreter_seconds=6.0, limits=Limits(seconds=240.0)
    )
    assert verdict.correct, verdict.reason
    assert verdict.sizes.startswith("STEPS 4096 → ")
    assert "HIDDEN" not in verdict.sizes


def test_random_numbers_drawn_inside_forward_keep_their_order() -> None:
    problem = text("steps_problem.py", ("STEPS = 512", "STEPS = 3"))
    assert judged(problem, text("steps.py")).correct
    early = text("steps.py", ("        h = torch", "        torch.rand(1)\n        h = torch"))
    assert judged(problem, early).outcome is Outcome.WRONG


def test_a_wrong_config_in_the_files_own_list_is_found() -> None:
    problem = text("steps_problem.py", ("STEPS = 512", "STEPS = 3"))
    hard_coded = text("steps.py", ('triton.cdiv(hidden, meta["BLOCK"])', "triton.cdiv(hidden, 32)"))
    verdict = judged(problem, hard_coded)
    assert verdict.outcome is Outcome.WRONG
    assert "BLOCK: 16" in verdict.reason


def test_sizes_written_out_where_nothing_can_be_cut_are_not_checked() -> None:
    sizes = (("randn(STEPS, BATCH, HIDDEN", "randn(5000, 8, 32"), ("return [HIDDEN]", "return [32]"))
    verdict = judged(text("steps_problem.py", *sizes), text("steps.py"), interpreter_seconds=0.5)
    assert verdict.outcome is Outcome.NOT_CHECKED
    assert "no size in the problem can be cut down" in verdict.reason


def test_a_reference_that_raises_is_the_problems_fault() -> None:
    problem = text("scale_problem.py", ("return x * self.weight", "return x @ self.bias @ self.weight"))
    with pytest.raises(ProblemError, match=r"problem\.py:17: Model raises RuntimeError"):
        judged(problem, text("scale.py"))


def test_a_reference_that_dies_is_the_problems_fault() -> None:
    problem = text("scale_problem.py", ("return x * self", "import os; os.abort(); return x * self"))
    with pytest.raises(ProblemError, match="the reference"):
        judged(problem, text("scale.py"))


def test_a_reference_that_is_zero_on_independent_inputs_is_also_tried_on_similar_ones() -> None:
    """The hinge of a cosine: zeros are right on every pair of rows drawn independently."""
    problem = text("hinge_problem.py")
    verdict = judged(problem, text("hinge.py"))
    assert verdict.correct, verdict.reason
    assert "with inputs that resemble one another" in verdict.regimes
    verdict = judged(problem, text("hinge.py", ("- 0.9", "- 0.8")))
    assert verdict.outcome is Outcome.WRONG
    assert verdict.reason.startswith("with inputs that resemble one another: output 0 [")


def test_an_output_that_is_rounding_noise_is_compared_with_the_inputs_size() -> None:
    """(x + 1) − x − 1 is zero: what is left is rounding, which passes; a term that is lost does not."""
    problem = text("scale_problem.py", ("return x * self.weight + self.bias", "return (x + 1) - x - 1"))
    noise = text("scale.py", ("x * weight + bias,", "(x + 1) - x - 1,"))
    assert judged(problem, noise).correct
    lost = text("scale.py", ("x * weight + bias,", "(x + 1) - x - 1.001,"))
    assert judged(problem, lost).outcome is Outcome.WRONG


def test_a_kernel_is_needed_where_fresh_memory_happens_to_be_right() -> None:
    """Zeros are right within rounding, and memory that was just let go holds zeros: no decoy for that."""
    problem = text("scale_problem.py", ("return x * self.weight + self.bias", "return (x + 1) - x - 1"))
    zeros_let_go = (
        "out = torch.empty_like(x)",
        "zeros = torch.zeros_like(x); del zeros; out = torch.empty_like(x)",
    )
    noise = text("scale.py", ("x * weight + bias,", "(x + 1) - x - 1,"), zeros_let_go)
    assert judged(problem, noise).correct


def test_a_reference_that_is_always_zero_is_said_to_prove_little() -> None:
    """The rows' largest element less the largest of that one is zero, whatever the inputs."""
    dull = "top = x.amax(1, keepdim=True); return (top - top.amax(1, keepdim=True)).expand_as(x) + 0"
    problem = text("scale_problem.py", ("return x * self.weight + self.bias", dull))
    zeros = text("scale.py", ("x * weight + bias,", "weight - weight,"))
    notes = judged(problem, zeros, allow=tuple(Kind)).notes
    assert any("output 0 of the reference is zero on all that was tried" in note for note in notes)
    assert not any("zero on all" in note for note in judged(text("scale_problem.py"), text("scale.py")).notes)


def test_a_verdicts_errors_are_those_of_inputs_as_drawn() -> None:
    """Off by more where inputs are 32 times larger, within what is allowed there."""
    large = "x * weight + bias + tl.where((tl.abs(x) > 20) & (tl.abs(x) < 50), 1.5e-8 * x * x, 0.0),"
    verdict = scaled(("x * weight + bias,", large))
    assert verdict.correct and "with inputs 32 times larger" in verdict.regimes
    assert verdict.errors[0].norm_error < 2e-7


def test_the_budget_follows_the_precision_of_todays_code() -> None:
    problem = text("steps_problem.py", ("STEPS = 512", "STEPS = 3"))
    budgets = {}
    for precision in ("float32", "tf32", "bfloat16"):
        verdict = judged(problem, text("steps.py"), precision=precision)
        assert verdict.precision == precision
        budgets[precision] = verdict.errors[0].norm_budget
    assert budgets["float32"] < 1e-5 < 1e-4 < budgets["tf32"] < 2e-3 < budgets["bfloat16"]


def test_a_file_that_insists_on_its_own_sizes_is_not_cut_and_not_checked() -> None:
    fixed = text(
        "steps.py", ("        h = torch", "        assert tuple(x.shape) == (512, 8, 32)\n        h = torch")
    )
    verdict = judged(text("steps_problem.py"), fixed, interpreter_seconds=0.3)
    assert verdict.outcome is Outcome.NOT_CHECKED
    assert "no size in the problem can be cut down" in verdict.reason


def test_a_difference_at_cut_sizes_of_a_file_that_names_the_full_size_is_not_a_verdict() -> None:
    only_at_512 = text("steps.py", ("        return h", "        return h * (x.shape[0] / 512)"))
    verdict = judged(text("steps_problem.py"), only_at_512, interpreter_seconds=4.0)
    assert verdict.outcome is Outcome.NOT_CHECKED
    assert "it may hold at full size only" in verdict.reason
    assert "STEPS" in verdict.reason
