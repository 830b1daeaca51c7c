"""Emits one loop each, runs it under Triton's interpreter and prints figures of each as JSON.

A case is (cell, steps, batch, hidden, precision, reverse, factor of the streams), and perhaps what the first
element of each state begins as. The figures: the error of all results together against float64, the largest
magnitude, and whether all values are finite.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ["TRITON_INTERPRET"] = "1"
sys.path.insert(0, str(Path(__file__).parent))

import cells
import torch

from tilewright.gpu.catalogue import find
from tilewright.judge.interpreted import assembly as meanings
from tilewright.judge.interpreted.interpreter import repair
from tilewright.proposers.recurrence import ir, ops
from tilewright.proposers.recurrence.emit import assembly
from tilewright.proposers.recurrence.stationary.emit import emit

IMPORTS = "import torch\nimport triton\nimport triton.language as tl\n\n"


def figures(
    kind: str,
    steps: int,
    batch: int,
    hidden: int,
    precision: str,
    reverse: bool,
    factor: float,
    first: float | None = None,
) -> tuple[float, float, bool]:
    group, types, values = cells.group(kind, 1, steps, batch, hidden, directions=2 if reverse else 1)
    group = ir.Group((group.members[-1],))
    for stream in group.members[0].streams:
        values[stream.value] *= factor
    for state in group.members[0].states:
        if first is not None:
            values[state.initial][0, 0] = first
    made = emit(group, types, find("h100"), precision, "loop")
    helpers = ops.HELPERS | assembly.HELPERS
    text = IMPORTS + "\n".join([*(helpers[name] for name in made.helpers), made.kernels, made.wrapper])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location("made", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        known = {**values}
        for packed in made.packed:
            known[packed.name] = eval(packed.expression, {"torch": torch, **values})
        results = getattr(module, made.function)(*(known[name] for name in made.arguments))
    want = cells.run(group, values)
    error = max(
        ((result.double() - want[name]).norm() / want[name].norm()).item()
        for name, result in zip(made.results, results, strict=True)
    )
    every = torch.cat([result.flatten() for result in results])
    return error, every.abs().max().item(), bool(every.isfinite().all())


if __name__ == "__main__":
    repair()
    meanings.enable()
    sys.stdout.write(json.dumps([figures(*case) for case in json.loads(sys.argv[1])]) + "\n")
