"""Kernels that are unusual and right: each must pass, and nothing may be said against it."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from tilewright.judge.api import check
from tilewright.judge.means.findings import Kind
from tilewright.judge.verdict import Outcome
from tilewright.problem import Problem

pytestmark = pytest.mark.interpreted

TESTS = Path(__file__).parents[1]
# Each file of tests/honest: its problem, and what it computes products in.
HONEST = {
    "assembly": ("squash", None),
    "atomic_rounding": ("row_sum", None),
    "autotuned": ("matmul", "float32"),
    "backend_flags": ("scale", None),
    "bfloat16_arithmetic": ("halves", None),
    "cached_scratch": ("norm", None),
    "changes_its_input": ("bump", None),
    "compiled_beforehand": ("softmax", None),
    "contiguous_glue": ("leaning", "float32"),
    "counting": ("counts", None),
    "custom_operator": ("scale", None),
    "dictionary": ("moments", None),
    "draws": ("noise", None),
    "gather": ("embedding", None),
    "glue": ("glued", None),
    "half_dot": ("matmul", "tf32"),
    "helpers": ("norm", None),
    "heuristics": ("scale", None),
    "in_place_on_its_own": ("softmax", None),
    "inner_module": ("linear", "float32"),
    "lazy_start": ("linear", "float32"),
    "named_fields": ("pairs", None),
    "no_dimensions": ("total", None),
    "no_elements": ("nothing", None),
    "odd_masks": ("scale", None),
    "online_softmax": ("softmax", None),
    "ordinary_python": ("scale", None),
    "packed_weights": ("linear", "float32"),
    "persistent": ("matmul", "float32"),
    "plain": ("matmul", "float32"),
    "pointer_table": ("several", None),
    "refuses_other_sizes": ("matmul", "float32"),
    "row_after_row": ("columns", None),
    "running_sum": ("running", None),
    "several_kernels": ("mlp", "float32"),
    "split_k_atomics": ("matmul", "float32"),
    "split_k_reduced": ("matmul", "float32"),
    "strided": ("leaning", "float32"),
    "tf32_dot": ("matmul", "tf32"),
    "tensor_descriptors": ("matmul", "float32"),
    "ties": ("places", None),
    "tiny_outputs": ("tiny", None),
    "two_outputs": ("extremes", None),
    "waiting_programs": ("running", None),
    "wide_sums": ("row_sum", None),
}


def test_every_file_is_listed() -> None:
    assert sorted(HONEST) == sorted(path.stem for path in (TESTS / "honest").glob("*.py"))


@pytest.mark.parametrize("name", HONEST)
def test_passes(name: str) -> None:
    if name == "custom_operator" and version("torch").startswith("2.11"):
        pytest.skip("torch.library.wrap_triton of torch 2.11 takes no interpreted kernel")
    problem, precision = HONEST[name]
    path = TESTS / "honest" / f"{name}.py"
    verdict = check(
        Problem.from_file(TESTS / "problems" / f"{problem}.py"),
        path.read_text(),
        path=str(path),
        precision=precision,
    )
    assert verdict.outcome is Outcome.CORRECT, verdict.reason
    assert [f for f in verdict.findings if f.kind is not Kind.ALGORITHMIC] == []
