"""Runs two texts of a file under Triton's interpreter and says where their results differ.

Reads a JSON list of {"before", "after", "calls"} from standard input; a call is an expression over the
file's functions and `ints(*shape)`, tensors of small whole numbers, whose sums are exact in any order. Writes
the calls whose results are not finite or not equal in every bit.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ["TRITON_INTERPRET"] = "1"

import torch

from tilewright.judge.interpreted.interpreter import repair


def ints(*shape: int) -> torch.Tensor:
    return torch.randint(-4, 5, shape).float()


def module(folder: str, name: str, text: str) -> dict[str, Any]:
    """A file's names; Triton wants a file to read a kernel's text from."""
    path = Path(folder) / f"{name}.py"
    path.write_text(text)
    names: dict[str, Any] = {"__name__": name, "__file__": str(path)}
    exec(compile(text, str(path), "exec"), names)
    return names


def value(names: dict[str, Any], call: str) -> torch.Tensor:
    torch.manual_seed(0)
    result = eval(call, {**names, "ints": ints, "torch": torch})
    assert isinstance(result, torch.Tensor)
    return result


def main() -> None:
    repair()
    differ = []
    with tempfile.TemporaryDirectory() as folder:
        for number, case in enumerate(json.load(sys.stdin)):
            before, after = (module(folder, f"{side}{number}", case[side]) for side in ("before", "after"))
            for call in case["calls"]:
                one, other = value(before, call), value(after, call)
                if one.shape != other.shape or not torch.equal(one, other) or not one.isfinite().all():
                    differ.append([number, call])
    json.dump(differ, sys.stdout)


main()
