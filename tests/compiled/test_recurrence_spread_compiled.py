"""Spread recurrences at full size, compiled for GPUs that are not there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tilewright.gpu.catalogue import find
from tilewright.inspect.api import inspect
from tilewright.problem import Problem

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parents[1] / "data" / "recurrence"))
import cells  # noqa: E402

from tilewright.proposers.recurrence import ops  # noqa: E402
from tilewright.proposers.recurrence.emit import assembly  # noqa: E402
from tilewright.proposers.recurrence.ir import Declined  # noqa: E402
from tilewright.proposers.recurrence.spread.emit import emit  # noqa: E402

pytestmark = pytest.mark.compiled
STEPS = 8


def file_and_problem(
    gpu: str, kind: str, layers: int, directions: int, batch: int, hidden: int, precision: str = "tf32"
):
    group, types, values = cells.group(kind, layers, STEPS, batch, hidden, directions=directions)
    made = emit(group, types, find(gpu), precision, "spread")
    for packed in made.packed:
        values[packed.name] = eval(packed.expression, {"torch": torch, **values})
    draws = ", ".join(
        f"torch.randn{tuple(values[name].shape)}.to({values[name].dtype})" for name in made.arguments
    )
    head = "import torch\nimport torch.nn as nn\n"
    problem = (
        f"{head}\n\nclass Model(nn.Module):\n    def forward(self, *values):\n        return values[0]\n\n\n"
        f"def get_inputs():\n    return [{draws}]\n\n\ndef get_init_inputs():\n    return []\n"
    )
    texts = ops.HELPERS | assembly.HELPERS
    helpers = "\n\n".join(texts[name] for name in made.helpers)
    file = (
        f"{head}import triton\nimport triton.language as tl\n\n\n{helpers}\n\n{made.kernels}\n\n"
        f"{made.wrapper}\n\n"
        "class ModelNew(nn.Module):\n    def forward(self, *values):\n        return spread(*values)[0]\n"
    )
    return file, Problem.from_source(problem)


@pytest.mark.parametrize("gpu", ["H100", "RTX 4090", "A100", "RTX 5090"])
@pytest.mark.parametrize(
    ("kind", "layers", "directions", "batch", "hidden"),
    [("lstm", 6, 1, 10, 256), ("gru", 1, 2, 10, 256), ("elman", 1, 1, 8, 512)],
)
def test_fits_without_spills_in_the_loop(
    gpu: str, kind: str, layers: int, directions: int, batch: int, hidden: int
) -> None:
    file, problem = file_and_problem(gpu, kind, layers, directions, batch, hidden)
    found = inspect(problem, file, find(gpu))
    kernels = [kernel for kernel in found.resources if kernel.kernel == "spread_kernel"]
    assert len(kernels) == 1
    assert not kernels[0].problem
    assert kernels[0].spills.in_loop == 0
    # Six layers on an H100 hold 128 registers of weights, the fastest layout on an H200: some of what is read
    # once, before the loop, spills there.
    assert kernels[0].spills.outside == 0 or (gpu, layers) == ("H100", 6)
    assert kernels[0].shared_dynamic_bytes <= find(gpu).shared_memory_per_block_bytes


@pytest.mark.parametrize("gpu", ["H100", "RTX 4090"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_other_operands_fit_as_well(gpu: str, precision: str) -> None:
    file, problem = file_and_problem(gpu, "lstm", 2, 1, 5, 96, precision)
    kernels = [k for k in inspect(problem, file, find(gpu)).resources if k.kernel == "spread_kernel"]
    assert len(kernels) == 1
    assert not kernels[0].problem
    assert kernels[0].spills.in_loop == 0


def test_a_batch_that_needs_more_sms_than_there_are_is_declined() -> None:
    group, types, _ = cells.group("lstm", 6, STEPS, 64, 256)
    with pytest.raises(Declined, match="SMs"):
        emit(group, types, find("H100"), "tf32", "spread")
