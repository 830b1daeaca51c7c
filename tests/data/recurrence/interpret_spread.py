"""Emits groups, runs them under Triton's interpreter and prints the error of each as JSON."""

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
from tilewright.judge.interpreted import assembly, cooperative
from tilewright.judge.interpreted.interpreter import repair
from tilewright.proposers.recurrence import ops
from tilewright.proposers.recurrence.emit import assembly as forms
from tilewright.proposers.recurrence.spread import plan as spread_plan
from tilewright.proposers.recurrence.spread import streamed as spread_streamed
from tilewright.proposers.recurrence.spread.emit import emit
from tilewright.proposers.recurrence.spread.members import network

LAYOUTS = {
    "registers": spread_plan.layouts,
    "streamed": spread_streamed.streamed_layouts,
}
IMPORTS = "import torch\nimport torch.nn as nn\nimport triton\nimport triton.language as tl\n\n"


def error(
    kind: str,
    layers: int,
    directions: int,
    steps: int,
    batch: int,
    hidden: int,
    precision: str,
    units: int,
    split: int,
    home: str = "registers",
):
    group, types, values = cells.group(kind, layers, steps, batch, hidden, directions=directions)
    gpu = find("h100")
    layouts = LAYOUTS[home]
    sizes = network(group, types, precision, None).operand_bytes
    layout = next(item for item in layouts(group, gpu, sizes) if (item.units, item.split) == (units, split))
    made = emit(group, types, gpu, precision, "spread", layout=layout)
    texts = ops.HELPERS | forms.HELPERS
    text = IMPORTS + "\n".join([*(texts[name] for name in made.helpers), made.kernels, made.wrapper])
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
    return max(
        ((result.double() - want[name]).norm() / want[name].norm()).item()
        for name, result in zip(made.results, results, strict=True)
    )


if __name__ == "__main__":
    repair()
    cooperative.install()
    assembly.enable()
    sys.stdout.write(json.dumps([error(*case) for case in json.loads(sys.argv[1])]) + "\n")
