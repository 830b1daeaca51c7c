"""Rewritten kernels compute what those they were made from do, whether sizes fit a tile or not."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rewriting import HEAD, rewritten

from tilewright.proposers.rewrite.activations import Activations
from tilewright.proposers.rewrite.base import Rewrite
from tilewright.proposers.rewrite.even_masks import EvenMasks
from tilewright.proposers.rewrite.eviction import Eviction
from tilewright.proposers.rewrite.hoisted import Hoisted

pytest.importorskip("torch")
pytest.importorskip("triton")
pytestmark = pytest.mark.interpreted

# Runs `run` of both files of every case on the same inputs; prints the cases and sizes at which bits differ.
PROGRAM = """
import importlib.util, json, sys
import torch
from tilewright.judge.interpreted.interpreter import repair

repair()

def load(path):
    spec = importlib.util.spec_from_file_location(path.replace("/", "_"), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

found = {}
for name, calls in json.load(open(sys.argv[1] + "/calls.json")).items():
    before, after = (load(f"{sys.argv[1]}/{name}_{which}.py") for which in ("before", "after"))
    found[name] = []
    for shapes in calls:
        torch.manual_seed(1)
        inputs = [torch.randn(shape) for shape in shapes]
        expected, got = before.run(*inputs), after.run(*inputs)
        assert expected.isfinite().all()
        if not torch.equal(expected.view(torch.int32), got.view(torch.int32)):
            found[name].append(shapes)
json.dump(found, open(sys.argv[1] + "/found.json", "w"))
"""


@dataclass(frozen=True)
class Case:
    """A file with a function `run`, and the shapes of its inputs to call it with.

    Args:
        values, grid: what the recorded launch passes, where that is no literal, and its programs.
    """

    rewrite: Rewrite
    source: str
    calls: list[list[tuple[int, ...]]]
    choice: str | None = None
    values: dict[str, int | tuple[int, ...]] = field(default_factory=dict)
    grid: tuple[int, int, int] = (1, 1, 1)


MATMUL = f"""{HEAD}def matmul_kernel(a_ptr, b_ptr, out_ptr, m, n, k, BLOCK: tl.constexpr):
    across = tl.cdiv(n, BLOCK)
    pid = tl.program_id(0)
    width = 2 * across
    first = pid // width * 2
    height = min(tl.cdiv(m, BLOCK) - first, 2)
    rows = (first + pid % width % height) * BLOCK + tl.arange(0, BLOCK)
    cols = pid % width // height * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK, BLOCK), dtype=tl.float32)
    for i in range(tl.cdiv(k, BLOCK)):
        inner = tl.arange(0, BLOCK)
        left = k - i * BLOCK
        a = tl.load(
            a_ptr + rows[:, None] * k + i * BLOCK + inner[None, :],
            mask=(rows[:, None] < m) & (inner[None, :] < left),
            other=0.0,
        )
        b = tl.load(
            b_ptr + (i * BLOCK + inner[:, None]) * n + cols[None, :],
            mask=(inner[:, None] < left) & (cols[None, :] < n),
            other=0.0,
        )
        total += tl.dot(a, b)
    tl.store(
        out_ptr + rows[:, None] * n + cols[None, :], total, mask=(rows[:, None] < m) & (cols[None, :] < n)
    )


def run(a, b):
    (m, k), n = a.shape, b.shape[1]
    out = torch.empty(m, n)
    matmul_kernel[(triton.cdiv(m, 16) * triton.cdiv(n, 16),)](a, b, out, m, n, k, BLOCK=16)
    return out
"""
PRODUCTS = [[(m, k), (k, n)] for m, n, k in [(48, 32, 32), (33, 48, 17), (16, 15, 64)]]

SCALE = f"""{HEAD}def scale_kernel(x_ptr, weight_ptr, bias_ptr, out_ptr, rows, n, BLOCK: tl.constexpr):
    for row in range(tl.program_id(0), rows, tl.num_programs(0)):
        cols = tl.arange(0, BLOCK)
        weight = tl.load(weight_ptr + cols, mask=cols < n, other=0.0)
        x = tl.load(x_ptr + row * n + cols, mask=cols < n)
        tl.store(out_ptr + row * n + cols, x * weight + tl.load(bias_ptr), mask=cols < n)


def run(x, weight, bias):
    out = torch.empty_like(x)
    rows, n = x.shape
    scale_kernel[(3,)](x, weight, bias, out, rows, n, BLOCK=64)
    return out
"""

CLAMPED = f"""{HEAD}def clamped_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    for start in range(0, n, BLOCK):
        inner = start + tl.arange(0, BLOCK)
        total += tl.load(x_ptr + tl.minimum(inner, n - 1)) + tl.load(x_ptr + at % n)
    tl.store(out_ptr + at, total, mask=n > at)


def run(x):
    out = torch.empty_like(x)
    clamped_kernel[(triton.cdiv(x.numel(), 32),)](x, out, x.numel(), BLOCK=32)
    return out
"""

CASES = {
    "even_masks": Case(EvenMasks(), MATMUL, PRODUCTS, values={"m": 64, "n": 64, "k": 64}),
    "even_clamps": Case(EvenMasks(), CLAMPED, [[(96,)], [(90,)], [(5,)]], values={"n": 96}),
    "eviction": Case(Eviction(), SCALE, [[(7, 64), (64,), (1,)]], None, {"rows": 7, "n": 64}, (3, 1, 1)),
    "hoisted": Case(Hoisted(), SCALE, [[(7, 64), (64,), (1,)], [(2, 33), (33,), (1,)]]),
}


ACTIVATIONS = f"""{HEAD}def activations_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n, other=0.0)
    tl.store(out_ptr + at, 1 / (1 + tl.exp(-x)), mask=at < n)
    tl.store(out_ptr + n + at, x * (1 / (1 + tl.exp(-x))), mask=at < n)
    tl.store(out_ptr + 2 * n + at, (tl.exp(x) - tl.exp(-x)) / (tl.exp(x) + tl.exp(-x)), mask=at < n)
    u = 0.7978845608028654 * (x + 0.044715 * x * x * x)
    decay = tl.exp(-2 * tl.abs(u))
    size = (1 - decay) / (1 + decay)
    tl.store(out_ptr + 3 * n + at, 0.5 * x * (1 + tl.where(u < 0, -size, size)), mask=at < n)


def run(x):
    out = torch.empty(4, x.numel())
    activations_kernel[(1,)](x, out, x.numel(), BLOCK=1024)
    return out
"""


def test_activations_are_as_close_as_float32_allows(tmp_path: Path) -> None:
    """In units of 2**-24: 8 of rounding, and 2 for each unit of the exponent, whose rounding e**v magnifies.

    gelu's u rounds five times. Results below the smallest normal number may be 0.
    """
    after = rewritten(Activations(), ACTIVATIONS, n=1000)
    (tmp_path / "after.py").write_text(after)
    program = """
import json, math, sys
sys.path.insert(0, sys.argv[1])
import after, torch
x = torch.logspace(-38, 38, 400, dtype=torch.float32)
x = torch.cat([x, -x, torch.linspace(-120, 120, 123), torch.tensor([0.0, math.inf, 100.0, -100.0])])
y = after.run(x)
minus = after.run(torch.tensor([-math.inf]))
json.dump([x.tolist(), y.tolist(), minus.flatten().tolist()], open(sys.argv[1] + "/values.json", "w"))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(tmp_path)],
        env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    values, found, minus = json.loads((tmp_path / "values.json").read_text())
    for x, *got in zip(values, *found, strict=True):
        u = 0.7978845608028654 * (x + 0.044715 * x**3)
        sigmoid = 1 / (1 + math.exp(min(-x, 700.0)))
        gate = 1 / (1 + math.exp(min(-2 * u, 700.0)))
        expected = [sigmoid, sigmoid * x, math.tanh(x), gate * x]
        relative = [8 + 2 * abs(x), 8 + 2 * abs(x), 0, 8 + 14 * abs(2 * u)]
        for place, reference in enumerate(expected):
            allowed = min(relative[place] * 2.0**-24, 1.0) * abs(reference) + 2.0**-126 * max(1.0, abs(x))
            if place == 2:  # every spelling of tanh subtracts numbers near 1
                allowed += 8 * 2.0**-24
            one = got[place]
            assert one == reference or abs(one - reference) <= allowed, (place, x, one, reference)
    assert minus[0] == 0 and minus[2] == -1


@pytest.fixture(scope="module")
def differences(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[object]]:
    """By case, the shapes at which the rewritten file returns other bits."""
    folder: Path = tmp_path_factory.mktemp("rewritten")
    for name, case in CASES.items():
        (folder / f"{name}_before.py").write_text(case.source)
        after = rewritten(case.rewrite, case.source, case.choice, case.grid, **case.values)
        assert after != case.source
        (folder / f"{name}_after.py").write_text(after)
    (folder / "calls.json").write_text(json.dumps({name: case.calls for name, case in CASES.items()}))
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, list[object]] = json.loads((folder / "found.json").read_text())
    return found


@pytest.mark.parametrize("name", CASES)
def test_every_bit_is_the_same_at_every_size(name: str, differences: dict[str, list[object]]) -> None:
    assert differences[name] == []
