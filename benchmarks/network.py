"""Any problem, recorded: `python benchmarks/network.py PROBLEM.py --file best=runs/lstm/best.py`.

Times the problem's Model as PyTorch runs it (eager and in a CUDA graph, float32 and TF32; nn.LSTM, nn.GRU
and nn.RNN are cuDNN's) beside any ModelNew files, all with the same weights and inputs. Writes
benchmarks/results/PROBLEM-DEVICE-DATE.json.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from recording import ROOT, Record
from sides import Case, Entry, also_in_a_graph, case_of, measure, model_new, recorded, side_options

sys.path.insert(0, str(ROOT / "src"))  # this checkout, also where tilewright is not installed


def entries(case: Case, files: list[tuple[str, Path]]) -> Iterator[Entry]:
    """The reference in every way PyTorch offers, then the files, in the table's order."""
    forward = partial(case.model, *case.inputs)
    for tf32 in (False, True):
        label = f"PyTorch, {'tf32' if tf32 else 'fp32'}"
        yield from also_in_a_graph(Entry(label, lambda: forward, tf32))
    for label, path in files:
        yield from also_in_a_graph(Entry(label, partial(model_new, case, path)))


def sizes(case: Case) -> dict[str, str | int]:
    """The problem's own size constants."""
    named = {name: value for name, value in vars(case.problem).items() if name.isupper()}
    return {name: value for name, value in named.items() if isinstance(value, int | str)}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Record a problem on this machine's GPU.")
    parser.add_argument("problem", type=Path, help="a problem file")
    side_options(parser)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if not options.problem.is_file():
        print(f"error: {options.problem}: no such file; give a problem file", file=sys.stderr)
        return 2

    def take() -> Record:
        import torch

        case = case_of(options.problem, torch.device("cuda"), options.seed)
        return measure(options.problem.stem, case, sizes(case), entries(case, options.file), options)

    return recorded(options, take)


if __name__ == "__main__":
    sys.exit(main())
