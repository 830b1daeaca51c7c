"""Spread recurrences, run program by program under Triton's interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.interpreted
SCRIPT = Path(__file__).parents[1] / "data" / "recurrence" / "interpret_spread.py"
CASES = [
    # kind, layers, directions, steps, batch, hidden, precision, units of a CTA, warps that share the columns,
    # home of the weights
    ("elman", 1, 1, 3, 3, 16, "tf32", 8, 1),
    ("lstm", 3, 1, 4, 5, 32, "tf32", 16, 1),
    ("lstm", 1, 2, 4, 5, 32, "float16", 8, 1),
    ("gru", 2, 1, 4, 18, 24, "tf32", 8, 1),
    ("gru", 2, 1, 1, 3, 48, "bfloat16", 16, 1),
    ("leaky", 2, 1, 4, 5, 20, "float32", 8, 1),
    ("relu", 2, 1, 3, 1, 1, "tf32", 8, 1),
    ("lstm", 2, 1, 3, 1, 17, "float32", 8, 1),
    ("lstm", 2, 1, 3, 5, 48, "tf32", 8, 2),
    ("gru", 1, 1, 3, 3, 130, "tf32", 32, 4),
    ("lstm", 2, 1, 3, 5, 72, "tf32", 16, 1, "streamed"),
    ("gru", 1, 2, 3, 19, 40, "float32", 8, 1, "streamed"),
    ("elman", 1, 1, 3, 3, 128, "bfloat16", 32, 1, "streamed"),
    ("lstm", 1, 1, 3, 70, 32, "tf32", 8, 1, "streamed"),
    ("gru", 2, 1, 3, 129, 48, "float16", 8, 1, "streamed"),
]
# operands rounded to 11, 8 or 24 bits of mantissa; sums of K ≤ 130 terms, over at most 4 steps and 3 layers
BUDGET = {"float32": 1e-5, "tf32": 4 * 2**-11, "float16": 4 * 2**-11, "bfloat16": 4 * 2**-8}


def test_results_match_the_step_by_step_loop() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), json.dumps(CASES)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    errors = json.loads(done.stdout.splitlines()[-1])
    over = [(case, e) for case, e in zip(CASES, errors, strict=True) if not e < BUDGET[case[6]]]
    assert not over
