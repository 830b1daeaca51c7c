"""The ModelNew contract: each breach with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilewright.contract import breaches
from tilewright.kernelfile import KernelFile

ROOT = Path(__file__).parents[2]
KERNELS = ROOT / "tests" / "data" / "kernels"
GOOD = (KERNELS / "repeated_literal.py").read_text()
REFERENCE = """import torch.nn as nn
class Model(nn.Module):
    def __init__(self, size: int, eps=1e-5):
        super().__init__()
    def forward(self, x):
        return x
"""


def found(source: str, reference: str | None = None) -> list[tuple[int | None, str]]:
    return [(b.line, b.rule) for b in breaches(KernelFile.parse(source), reference)]


def line_of(source: str, text: str) -> int:
    return source[: source.index(text)].count("\n") + 1


def test_a_good_file_has_no_breach() -> None:
    assert found(GOOD) == []
    problem = (ROOT / "examples" / "vanilla_rnn" / "problem.py").read_text()
    assert found((ROOT / "examples" / "vanilla_rnn" / "current.py").read_text(), problem) == []


@pytest.mark.parametrize(
    ("tail", "rule"),
    [
        ('if __name__ == "__main__":\n    print(ModelNew())\n', "top-level"),
        ("def get_inputs():\n    return []\n", "top-level"),
        ("def get_init_inputs():\n    return []\n", "top-level"),
        ("def test_scale():\n    pass\n", "order top-level"),
        ("model = ModelNew().cuda()\n", "top-level"),
        ("class Model(nn.Module):\n    pass\n", "order top-level"),
        ("def late_wrapper(x):\n    return x\n", "order"),
        ("@triton.jit\ndef late_kernel(x):\n    pass\n", "order"),
        ("import math\n", "order"),
    ],
)
def test_what_may_not_follow_the_model(tail: str, rule: str) -> None:
    line = GOOD.count("\n") + 1
    assert found(GOOD + tail) == [(line, one) for one in rule.split()]


@pytest.mark.parametrize(
    "harmless", ['"""About."""\n', "import math\n", "BLOCK = 4 * 32\n", "from typing import Any\n"]
)
def test_docstrings_constants_and_the_standard_library_are_fine(harmless: str) -> None:
    assert found(harmless + GOOD) == []


def test_imports() -> None:
    assert found(GOOD.replace("import torch.nn as nn\n", "from torch import nn\n")) == []
    assert found(GOOD.replace("import triton\n", "")) == [(None, "imports")]
    assert found(GOOD.replace("import triton\n", "import triton\nimport numpy as np\n")) == [(4, "imports")]
    assert (4, "imports") in found(GOOD.replace("language as tl", "language as lang"))


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "gelu", "silu", "softmax", "mish"])
def test_functions_that_the_contract_rules_out(name: str) -> None:
    source = GOOD.replace("tl.load(", f"tl.{name}(tl.load(").replace("mask=inside) * 2", "mask=inside)) * 2")
    (breach,) = breaches(KernelFile.parse(source))
    assert (breach.line, breach.rule) == (line_of(source, f"tl.{name}"), "forbidden")
    assert breach.what == f"uses tl.{name}, which the contract rules out"
    assert "tl.exp" in breach.mend or "tl.erf" in breach.mend


def test_configs() -> None:
    good = (KERNELS / "autotuned.py").read_text()
    misplaced = line_of(good, 'triton.Config({"BLOCK": 256')
    assert found(good) == [(misplaced, "configs")]
    mended = good.replace(', "num_warps": 2}, ', "}, num_warps=2, ")
    assert found(mended) == []
    decorator = line_of(good, "@triton.autotune")
    assert found(mended.replace('        triton.Config({"BLOCK": 1024}, num_warps=8),\n', "")) == [
        (decorator, "configs")
    ]
    same = mended.replace('{"BLOCK": 256}, num_warps=2, num_stages=2', '{"BLOCK": 1024}, num_warps=8')
    assert [b.what for b in breaches(KernelFile.parse(same))] == [
        "scale_kernel has no smaller config to fall back on"
    ]
    four = mended.replace(
        '        triton.Config({"BLOCK": 1024}, num_warps=8),\n',
        '        triton.Config({"BLOCK": 1024}),\n' * 3,
    )
    assert [b.what for b in breaches(KernelFile.parse(four))] == ["scale_kernel is autotuned over 4 configs"]
    assert found((KERNELS / "autotuned_by_comprehension.py").read_text()) == [(7, "configs")]


def test_signatures_follow_the_reference() -> None:
    init = "    def __init__(self, size, eps=1e-5):\n        super().__init__()\n\n"
    same = GOOD.replace("    def forward(self, x):", init + "    def forward(self, x: torch.Tensor):")
    assert found(same, REFERENCE) == []
    line = line_of(same, "def __init__")
    assert found(same.replace("eps=1e-5", "eps=1e-6"), REFERENCE) == [(line, "signature")]
    assert found(same.replace("size, eps=1e-5", "eps=1e-5, size=1"), REFERENCE) == [(line, "signature")]
    assert found(same.replace("self, x:", "self, y:"), REFERENCE) == [
        (line_of(same, "def forward"), "signature")
    ]


def test_the_model_must_launch_a_kernel() -> None:
    model = line_of(GOOD, "class ModelNew")
    assert found(GOOD.replace("return scale(x)", "return x * 2")) == [(model, "kernel")]
    assert found("import torch\n") == [(None, "imports")] * 3 + [(None, "kernel"), (None, "model")]
    assert (model, "model") in found(GOOD.replace("class ModelNew(nn.Module)", "class ModelNew"))
    assert (model, "model") in found(GOOD.replace("def forward", "def backward"))
