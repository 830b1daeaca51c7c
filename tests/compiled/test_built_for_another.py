"""Kernels built as for an older GPU, for a device that is newer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tilewright.gpu import plugged
from tilewright.gpu.catalogue import find

PRODUCT = """
import sys
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

@triton.jit
def product_kernel(a, b, out):
    row, column = tl.arange(0, 64)[:, None], tl.arange(0, 64)[None, :]
    at = row * 64 + column
    tl.store(out + at, tl.dot(tl.load(a + at), tl.load(b + at)))

source = ASTSource(product_kernel, {"a": "*fp16", "b": "*fp16", "out": "*fp32"})
made = triton.compile(source, target=GPUTarget("cuda", 90, 32))
print("wgmma" in made.asm["ptx"], "mma.sync" in made.asm["ptx"], len(made.asm["cubin"]) > 0)
"""


def test_only_an_older_target_is_built_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugged, "plugged_in", lambda: find("h200"))
    assert plugged.built_for(find("rtx4090")) == {"TRITON_OVERRIDE_ARCH": "sm89"}
    assert plugged.built_for(find("h100")) == plugged.built_for(find("b200")) == plugged.built_for(None) == {}
    monkeypatch.setattr(plugged, "plugged_in", lambda: find("b200"))
    assert plugged.built_for(find("h100")) == {}
    assert plugged.built_for(find("a100")) == {"TRITON_OVERRIDE_ARCH": "sm80"}
    monkeypatch.setattr(plugged, "plugged_in", lambda: None)
    assert plugged.built_for(find("rtx4090")) == {}


@pytest.mark.compiled
def test_triton_then_lowers_for_the_target_and_assembles_for_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "product.py"
    script.write_text(PRODUCT)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    assert said(script) == "True False True"
    monkeypatch.setattr(plugged, "plugged_in", lambda: find("h200"))
    for name, value in plugged.built_for(find("rtx4090")).items():
        monkeypatch.setenv(name, value)
    assert said(script) == "False True True"


def said(script: Path) -> str:
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    return done.stdout.strip()
