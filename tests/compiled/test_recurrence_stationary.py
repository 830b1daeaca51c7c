"""Kernels with stationary weights, built for several targets: no spill, no weight read, one exchange."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tilewright.gpu.catalogue import find
from tilewright.inspect import sass
from tilewright.proposers.recurrence import ir, ops
from tilewright.proposers.recurrence.emit.assembly import HELPERS
from tilewright.proposers.recurrence.emit.emitted import Emitted
from tilewright.proposers.recurrence.stationary import emit as emit_stationary
from tilewright.proposers.recurrence.stationary import gluon as emit_gluon

sys.path.append(str(Path(__file__).parents[1] / "data" / "recurrence"))
import cells

pytestmark = pytest.mark.compiled
STEPS, BATCH = 256, 8


def elman(width: int) -> ir.Group:
    loop = ir.Recurrence(
        "loop",
        STEPS,
        BATCH,
        False,
        (ir.State("h", width, "start"),),
        (ir.Stream("x", width, "projected"),),
        (),
        (
            ir.Product("p", "h", "weight", width, width),
            ir.Node("s", "add", (ir.Name("p"), ir.Name("x")), width),
            ir.Node("n", "tanh", (ir.Name("s"),), width),
        ),
        (("h", "n"),),
        (ir.Result("all_h", "n", True), ir.Result("last_h", "h", False)),
    )
    return ir.Group((loop,))


def loop_of(emitted: Emitted, strides: dict[str, int], cc: int, warps: int, path: Path) -> list[str]:
    """The instructions of the time loop."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from triton.experimental.gluon._runtime import GluonASTSource

    helpers = "\n\n".join((ops.HELPERS | HELPERS)[name] for name in emitted.helpers)
    imports = "\n".join(("import triton", "import triton.language as tl", *emitted.imports))
    path.write_text(f"{imports}\n\n\n{helpers}\n\n{emitted.kernels}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    kernel = module.loop_kernel
    strides = strides | {"steps": STEPS} if "steps" in kernel.arg_names else strides
    signature = {
        name: "constexpr" if name in strides else "*fp16" if name.endswith("_packed") else "*fp32"
        for name in kernel.arg_names
    }
    aligned: Any = {
        (index,): [["tt.divisibility", 16]]
        for index, name in enumerate(kernel.arg_names)
        if name not in strides
    }
    kind = GluonASTSource if emitted.imports else ASTSource
    built = triton.compile(
        kind(kernel, signature, strides, aligned),
        target=GPUTarget("cuda", cc, 32),
        options={"num_warps": warps, "num_stages": 1},
    )
    binary = path.with_suffix(".cubin")
    binary.write_bytes(built.asm["cubin"])
    assert sass.read(built.asm["cubin"], cc).spills.in_loop == 0
    command = [sass.tool("cuobjdump"), "-sass", str(binary)]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    code = sass.instructions(listing)
    ranges = sass.loops(code)
    first, last = max(ranges, key=lambda pair: pair[1] - pair[0])
    return [text for address, text in code if first <= address <= last]


def count(instructions: list[str], name: str) -> int:
    return sum(bool(re.search(rf"\b{name}\b", text)) for text in instructions)


STRIDES = {
    "h_start_b": 256,
    "h_start_w": 1,
    "x_all_t": BATCH * 256,
    "x_all_b": 256,
    "x_all_w": 1,
}


@pytest.mark.parametrize("cc", [80, 89, 90, 120])
def test_the_weight_stays_in_registers(cc: int, tmp_path: Path) -> None:
    emitted = emit_stationary.emit(elman(256), {}, find("H100"), "tf32", "loop")
    loop = loop_of(emitted, STRIDES, cc, 8, tmp_path / "kernel.py")
    assert count(loop, "HMMA") == 32  # 16 row tiles × 16 steps of K over 8 warps
    assert count(loop, "BAR") == 2
    # The exchanged value alone: 4 KB, read by every warp. The weight would be 32 LDSM more.
    assert count(loop, "LDSM") + count(loop, "LDS") <= 16


@pytest.mark.parametrize("cc", [80, 90, 120])
def test_gluon_needs_one_barrier_a_step(cc: int, tmp_path: Path) -> None:
    emitted = emit_gluon.emit(elman(256), {}, find("H100"), "tf32", "loop")
    loop = loop_of(emitted, STRIDES, cc, 8, tmp_path / "kernel.py")
    assert count(loop, "HMMA") == 2 * 32
    assert count(loop, "BAR") == 2
    assert count(loop, "LDSM") == 2 * 8


def test_a_weight_too_large_is_declined_with_its_figures() -> None:
    with pytest.raises(ir.Declined, match=r"512 of them a thread at 8 warps.*more than 255"):
        emit_stationary.emit(elman(512), {}, find("H100"), "tf32", "loop")


def test_each_step_of_a_gluon_round_picks_its_own_column() -> None:
    """Two steps are written out one after the other, and the last of an odd number after the loop."""
    group, types, _ = cells.group("gated", 1, 3, 2, 20)
    kernel = emit_gluon.emit(group, types, find("H100"), "tf32", "loop").kernels
    assert kernel.count("third = gl.sum(") == 3
