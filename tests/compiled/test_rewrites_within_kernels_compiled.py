"""What source rewrites change in the code that Triton makes for an H100."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from rewriting import HEAD, rewritten, view

from tilewright.proposers.rewrite.activations import Activations
from tilewright.proposers.rewrite.even_masks import EvenMasks
from tilewright.proposers.rewrite.eviction import Eviction
from tilewright.proposers.rewrite.hoisted import Hoisted

triton = pytest.importorskip("triton")
pytestmark = pytest.mark.compiled

ACCESS = re.compile(r"^\s*(@%p\d+ )?(ld\.global\S*|st\.global\S*|cp\.async\.c[ag]\S*)", re.MULTILINE)


def ptx(folder: Path, source: str, **values: int | float | tuple[int, ...]) -> str:
    """The PTX of a file's first kernel, launched with these values, pointers aligned to 16 bytes."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    path = folder / "candidate.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location("candidate", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    launch = view(source, **values).recording.launches[0]
    signature = {a.name: a.type for a in launch.arguments}
    constants = {a.name: int(a.value or 0) for a in launch.arguments if a.kind == "constexpr"}
    even = {(i,): [["tt.divisibility", 16]] for i, a in enumerate(launch.arguments) if a.divisible_by_16}
    made = ASTSource(getattr(module, launch.kernel), signature, constants, even)
    text: str = triton.compile(made, target=GPUTarget("cuda", 90, 32)).asm["ptx"]
    return text


def accesses(text: str) -> dict[str, int]:
    """How often each kind of access to global memory stands in PTX; `@` marks those under a predicate."""
    found: dict[str, int] = {}
    for predicate, name in ACCESS.findall(text):
        kind = ("@" if predicate else "") + name
        found[kind] = found.get(kind, 0) + 1
    return found


ADD = f"""{HEAD}def add_kernel(x_ptr, y_ptr, out_ptr, rows, cols, TALL: tl.constexpr, WIDE: tl.constexpr):
    row = tl.program_id(0) * TALL + tl.arange(0, TALL)
    ok_row = row[:, None] < rows
    for start in range(0, cols, WIDE):
        col = start + tl.arange(0, WIDE)
        ok = ok_row & (col[None, :] < cols)
        at = row[:, None] * cols + col[None, :]
        total = tl.load(x_ptr + at, mask=ok) + tl.load(y_ptr + at, mask=ok)
        tl.store(out_ptr + at, total, mask=ok)


def run(x, y):
    (rows, cols), out = x.shape, torch.empty_like(x)
    add_kernel[(triton.cdiv(rows, 8),)](x, y, out, rows, cols, TALL=8, WIDE=64)
    return out
"""


def test_masks_vanish_where_sizes_divide(tmp_path: Path) -> None:
    after = rewritten(EvenMasks(), ADD, rows=64, cols=256)
    assert all(kind.startswith("@") for kind in accesses(ptx(tmp_path, ADD, rows=64, cols=256)))
    made = ptx(tmp_path, after, rows=64, cols=256)
    assert accesses(made) and not any(kind.startswith("@") for kind in accesses(made))
    assert all(kind.startswith("@") for kind in accesses(ptx(tmp_path, after, rows=63, cols=255)))


SCALE = f"""{HEAD}def scale_kernel(x_ptr, weight_ptr, bias_ptr, out_ptr, rows, n, BLOCK: tl.constexpr):
    for row in range(tl.program_id(0), rows, tl.num_programs(0)):
        cols = tl.arange(0, BLOCK)
        weight = tl.load(weight_ptr + cols, mask=cols < n, other=0.0)
        x = tl.load(x_ptr + row * n + cols, mask=cols < n)
        tl.store(out_ptr + row * n + cols, x * tl.exp(weight) + tl.load(bias_ptr), mask=cols < n)


def run(x, weight, bias):
    out = torch.empty_like(x)
    scale_kernel[(8,)](x, weight, bias, out, *x.shape, BLOCK=256)
    return out
"""


def test_loads_and_what_is_computed_from_them_leave_the_loop(tmp_path: Path) -> None:
    before, after = SCALE, rewritten(Hoisted(), SCALE, rows=100, n=256)
    loops = [ptx(tmp_path, text, rows=100, n=256).split("$L__BB0_2:")[1] for text in (before, after)]
    assert "ex2.approx" in loops[0] and "ex2.approx" not in loops[1]
    assert sum(n for kind, n in accesses(loops[1]).items() if "ld" in kind) == 1


@pytest.mark.parametrize("clamp", ["tl.minimum(at, n - 1)", "tl.where(at < n, at, 0)"])
def test_loads_are_wide_again_where_a_clamp_drops(tmp_path: Path, clamp: str) -> None:
    source = f"""{HEAD}def copy_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + {clamp}), mask=at < n)


def run(x):
    out = torch.empty_like(x)
    copy_kernel[(triton.cdiv(x.numel(), 512),)](x, out, x.numel(), BLOCK=512)
    return out
"""
    assert "ld.global.b32" in accesses(ptx(tmp_path, source, n=4096))
    assert set(accesses(ptx(tmp_path, rewritten(EvenMasks(), source, n=4096), n=4096))) == {
        "ld.global.v4.b32", "st.global.v4.b32",
    }  # fmt: skip


def test_loads_carry_their_policy(tmp_path: Path) -> None:
    after = rewritten(Eviction(), SCALE, grid=(8, 1, 1), rows=100, n=256)
    found = accesses(ptx(tmp_path, after, rows=100, n=256))
    assert {kind.split("::")[1].split(".")[0] for kind in found if "ld" in kind} == {
        "evict_first",
        "evict_last",
    }


def test_activations_need_fewer_instructions(tmp_path: Path) -> None:
    source = f"""{HEAD}def gelu_kernel(x_ptr, out_ptr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at)
    u = 0.7978845608 * (x + 0.044715 * x * x * x)
    t = (tl.exp(u) - tl.exp(-u)) / (tl.exp(u) + tl.exp(-u))
    tl.store(out_ptr + at, 0.5 * x * (1 + t))
    tl.store(out_ptr + 64 + at, (tl.exp(x) - tl.exp(-x)) / (tl.exp(x) + tl.exp(-x)))


def run(x):
    out = torch.empty(128)
    gelu_kernel[(1,)](x, out, BLOCK=64)
    return out
"""
    before, after = ptx(tmp_path, source), ptx(tmp_path, rewritten(Activations(), source))
    assert (before.count("ex2.approx"), after.count("ex2.approx.ftz")) == (4, 2)
    arithmetic = re.compile(r"^\s+(@%p\d+ )?[a-z0-9]+\S*\.f32\s", re.MULTILINE)
    assert len(arithmetic.findall(after)) < len(arithmetic.findall(before))
