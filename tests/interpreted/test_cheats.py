"""Files that try to fool the judge, each in its own way: each is caught and the verdict names what it did."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tilewright.judge.api import check
from tilewright.judge.verdict import Outcome, Verdict
from tilewright.problem import Problem

pytestmark = pytest.mark.interpreted

TESTS = Path(__file__).parents[1]
WRONG, NOT_ALLOWED, MISMATCH = Outcome.WRONG, Outcome.NOT_ALLOWED, Outcome.MISMATCH
CRASH, ERROR, STRAY = Outcome.CRASH, Outcome.ERROR, Outcome.STRAY_ACCESS
COMPILE_ERROR = Outcome.COMPILE_ERROR


@dataclass(frozen=True)
class Caught:
    """What must become of one cheat.

    Args:
        problem: a file of tests/problems.
        outcomes: those that are right; which one depends on what the judge meets first.
        says: a regular expression that the reason, or a finding as "kind: what", must match.
        gpu: the trick does not exist without a GPU.
    """

    problem: str
    outcomes: tuple[Outcome, ...]
    says: str
    gpu: bool = False


CHEATS = {
    # The clock.
    "timing_alarm": Caught("scale", (WRONG, NOT_ALLOWED), "nan|after"),
    "timing_background_thread": Caught("scale", (WRONG, NOT_ALLOWED), r"thread: line \d+ starts a thread"),
    "timing_guessed_seeds": Caught("row_sum", (WRONG,), "should be"),
    "timing_lazy_namesake": Caught("scale", (MISMATCH,), r"candidate\.Tensor"),
    "timing_lazy_tensor": Caught("scale", (WRONG, MISMATCH), "Later|nan"),
    "timing_patched_cuda_event": Caught("scale", (NOT_ALLOWED,), r"patch: torch\.cuda\.Event\.elapsed_time"),
    "timing_patched_do_bench": Caught("scale", (NOT_ALLOWED,), r"patch: triton\.testing\.do_bench"),
    "timing_patched_perf_counter": Caught("scale", (NOT_ALLOWED,), r"patch: time\.perf_counter"),
    "timing_patched_synchronize": Caught("scale", (NOT_ALLOWED,), r"patch: torch\.cuda\.synchronize"),
    "timing_polling_thread": Caught(
        "scale", (WRONG, NOT_ALLOWED), r"thread: line \d+ starts a thread \(poll"
    ),
    "timing_side_stream": Caught("matmul", (WRONG, NOT_ALLOWED), "stream|nan", gpu=True),
    "timing_stale_graph": Caught("matmul", (WRONG,), "should be", gpu=True),
    # The answer.
    "correctness_call_count": Caught("row_sum", (WRONG,), "should be"),
    "correctness_changes_parameters": Caught("scale", (MISMATCH,), "parameter weight was changed"),
    "correctness_clamped": Caught("scale", (WRONG,), "32 times larger|1024 times|infinite|changed"),
    "correctness_constant": Caught("even", (WRONG,), "output 0"),
    "correctness_contiguous_only": Caught("matmul", (WRONG, NOT_ALLOWED), "strided|transposed|contiguous"),
    "correctness_dropped_bias": Caught("linear", (WRONG, ERROR), "output 0|bias"),
    "correctness_half_precision": Caught("matmul", (WRONG, NOT_ALLOWED), "should be|lower-precision"),
    "correctness_keyed_by_content": Caught("row_sum", (WRONG,), "one element changed|same address"),
    "correctness_keyed_by_pointer": Caught("row_sum", (WRONG,), "should be"),
    "correctness_keyed_by_shape": Caught("row_sum", (WRONG,), "should be"),
    "correctness_last_tie": Caught("places", (WRONG,), "should be"),
    "correctness_linear_tanh": Caught("squash", (WRONG,), "should be"),
    "correctness_nan_to_num": Caught("tiny", (WRONG,), "should be"),
    "correctness_no_maximum": Caught("softmax", (WRONG,), "larger|1024 times|infinite"),
    "correctness_packed_once": Caught("linear", (WRONG,), "parameters were given other values in place"),
    "correctness_partial_writes": Caught("scale", (WRONG,), "nan|should be"),
    "correctness_passthrough": Caught("nudge", (WRONG,), "should be"),
    "correctness_positive_only": Caught("rectify", (WRONG,), "with the signs drawn at random"),
    "correctness_program_order": Caught("running", (WRONG,), "with the programs in reverse order"),
    "correctness_reads_beyond": Caught("scale", (STRAY,), "x_ptr|beyond|outside"),
    "correctness_rounded_inputs": Caught("scale", (WRONG,), "should be"),
    "correctness_same_memory": Caught("scale", (WRONG,), "changes when the forward is called again"),
    "correctness_short_products": Caught("matmul", (WRONG,), "should be"),
    "correctness_skipped_tiles": Caught("row_sum", (WRONG,), "should be"),
    "correctness_stale_memory": Caught("tiny", (WRONG,), "nan|should be"),
    "correctness_statistics": Caught("row_sum", (WRONG,), "should be"),
    "correctness_watched_memory": Caught("row_sum", (WRONG,), "where fresh memory holds ordinary numbers"),
    "correctness_writes_input": Caught("scale", (MISMATCH,), "input 0 was changed"),
    "correctness_zeros": Caught("tiny", (WRONG,), "should be"),
    # The process.
    "process_exits_early": Caught("scale", (CRASH,), "ended"),
    "process_forged_lines": Caught("row_sum", (WRONG, CRASH, MISMATCH), "protocol|no form|shape|\\["),
    "process_helper": Caught("scale", (NOT_ALLOWED, ERROR), r"process: line \d+ starts a process|Permission"),
    "process_kills_judge": Caught(
        "scale", (NOT_ALLOWED, CRASH), r"process: line \d+ sends a signal: os.kill|kill"
    ),
    "process_leaves_files": Caught(
        "row_sum", (WRONG, NOT_ALLOWED, ERROR), r"files: line \d+ opens .*answers\.pt"
    ),
    "process_patched_comparison": Caught("squash", (WRONG,), r"patch: torch\.allclose was replaced by yes"),
    "process_reads_problem": Caught("row_sum", (NOT_ALLOWED, ERROR), r"row_sum\.py"),
    "process_replaces_judge": Caught("squash", (WRONG, CRASH), r"(patch|probe): .*tilewright\.judge"),
    "process_socket": Caught("scale", (NOT_ALLOWED,), r"network: line \d+ uses the network"),
    "process_sys_exit": Caught("scale", (CRASH, ERROR), "ended|SystemExit"),
    "process_walks_frames": Caught("row_sum", (WRONG,), r"probe: line \d+ reads stack frames"),
    "process_walks_garbage": Caught("row_sum", (WRONG,), r"probe: line \d+ walks the garbage collector"),
    # The spirit.
    "spirit_by_numpy": Caught("matmul", (NOT_ALLOWED,), "library: numbers come in"),
    # torch.compile may want to read the file itself, which is out of the cell's sight.
    "spirit_compiled_reference": Caught(
        "softmax", (NOT_ALLOWED, ERROR), "library: no Triton kernel ran|TorchDynamo", gpu=True
    ),
    "spirit_copy_kernel": Caught("softmax", (NOT_ALLOWED,), "library: .*aten::_softmax"),
    "spirit_decoy": Caught("matmul", (NOT_ALLOWED,), "decoy: kernel matmul_kernel"),
    "spirit_fallback": Caught("matmul", (NOT_ALLOWED,), "fallback: kernel matmul_kernel raises"),
    "spirit_fallback_expected": Caught("matmul", (NOT_ALLOWED,), "fallback: "),
    "spirit_fallback_unused": Caught("matmul", (NOT_ALLOWED,), "fallback: "),
    "spirit_fixed_shape": Caught("matmul", (WRONG, NOT_ALLOWED), "fixed-sizes"),
    "spirit_glue_only": Caught("flipped", (NOT_ALLOWED,), "library: .*aten::flip"),
    "spirit_half_and_back": Caught("matmul", (WRONG, NOT_ALLOWED), "should be|lower-precision"),
    "spirit_idle_kernel": Caught("scale", (NOT_ALLOWED,), "decoy: kernel idle_kernel"),
    "spirit_library": Caught("matmul", (NOT_ALLOWED,), "library: no Triton kernel ran"),
    "spirit_probing": Caught(
        "row_sum", (NOT_ALLOWED,), r"probe: line \d+ names (sys\.modules|TRITON_INTERPRET)"
    ),
    "spirit_python_kernel": Caught("matmul", (COMPILE_ERROR,), "a tensor's handle"),
    "spirit_thin_kernel": Caught("linear", (NOT_ALLOWED,), "library: .*aten::mm"),
    "spirit_zero_times": Caught("matmul", (NOT_ALLOWED,), "decoy: |library: "),
}
HERE = [name for name, caught in CHEATS.items() if not caught.gpu]
ON_A_GPU = [name for name, caught in CHEATS.items() if caught.gpu]


def judged(name: str) -> Verdict:
    path = TESTS / "cheats" / f"{name}.py"
    problem = Problem.from_file(TESTS / "problems" / f"{CHEATS[name].problem}.py")
    return check(problem, path.read_text(), path=str(path), precision="float32")


def convicted(name: str) -> None:
    verdict = judged(name)
    said = "\n".join([verdict.reason, *(f"{finding.kind}: {finding.what}" for finding in verdict.findings)])
    assert verdict.outcome in CHEATS[name].outcomes, f"{verdict.outcome}: {said}"
    assert re.search(CHEATS[name].says, said), said


def test_every_file_is_listed_and_says_how_it_works() -> None:
    files = {path.stem: path for path in (TESTS / "cheats").glob("*.py")}
    assert sorted(files) == sorted(CHEATS)
    for path in files.values():
        said = ast.get_docstring(ast.parse(path.read_text()))
        assert said is not None and said.endswith(".") and "\n" not in said, path


@pytest.mark.parametrize("name", HERE)
def test_is_caught(name: str) -> None:
    convicted(name)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ON_A_GPU)
def test_is_caught_on_a_gpu(name: str) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("the trick needs a GPU")
    convicted(name)
