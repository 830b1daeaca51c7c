"""The helpers that emitted files are given, run under Triton's interpreter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from proposing import run_interpreted

from tilewright.proposers.recurrence.ops import HELPERS

pytestmark = pytest.mark.interpreted

SOURCE = """import json

import torch
import triton
import triton.language as tl


{helpers}

@triton.jit
def apply(x, out, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + at, {name}(tl.load(x + at)))


def worst() -> None:
    sizes = torch.logspace(-30, 1.9, 8192)
    x = torch.cat((sizes, -sizes, torch.linspace(-2, 2, 16384)))
    out = torch.empty_like(x)
    apply[(x.numel() // 1024,)](x, out, BLOCK=1024)
    expected = torch.{name}(x.double())
    error = (out.double() - expected).abs() / expected.abs().clamp(min=1e-30)
    ends = torch.tensor([100.0, -100.0, float("inf"), float("-inf"), 0.0, float("nan")]).repeat(171)[:1024]
    found = torch.empty_like(ends)
    apply[(1,)](ends, found, BLOCK=1024)
    same = torch.allclose(found, torch.{name}(ends), rtol=0.0, atol=1e-40, equal_nan=True)
    print(json.dumps([error.max().item(), same]))


worst()
"""


@pytest.mark.parametrize(("name", "units"), [("tanh", 3), ("sigmoid", 64)])
def test_an_activation_keeps_float32s_digits(name: str, units: int, tmp_path: Path) -> None:
    """The exponential of a rounded number has an error of its own: of -80 it is 40 units."""
    (tmp_path / "made.py").write_text(SOURCE.format(helpers=HELPERS[name], name=name))
    run = run_interpreted("import made", tmp_path)
    assert run.returncode == 0, run.stderr
    error, exact_ends = json.loads(run.stdout)
    assert error <= units * 2.0**-23
    assert exact_ends
