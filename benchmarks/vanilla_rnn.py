"""The reference case, recorded: `python benchmarks/vanilla_rnn.py --file best=runs/demo/best.py`.

A vanilla RNN with an output at every step, T=256 B=8 I=1024 H=256 O=128 in float32
(examples/vanilla_rnn/problem.py), computed by the Triton code of the example, by PyTorch in several
ways, by cuDNN, and by any ModelNew files. All sides get the same weights and inputs, and each its error
against a float64 run of the reference. Writes benchmarks/results/vanilla_rnn-DEVICE-DATE.json.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import compiled_loop
from recording import ROOT, Record, Run
from sides import (
    Case,
    Entry,
    also_in_a_graph,
    case_of,
    compiled_reference,
    labelled_file,
    measure,
    model_new,
    recorded,
    side_options,
)

sys.path.insert(0, str(ROOT / "src"))  # this checkout, also where tilewright is not installed

NAME = "vanilla_rnn"
EXAMPLE = ROOT / "examples" / "vanilla_rnn"


def reference_case(device: Any, seed: int) -> Case:
    """The example, its weights and inputs drawn from `seed`."""
    return case_of(EXAMPLE / "problem.py", device, seed)


def sizes(case: Case) -> dict[str, str | int]:
    p = case.problem
    return {"T": p.STEPS, "B": p.BATCH, "I": p.INPUT, "H": p.HIDDEN, "O": p.OUTPUT, "dtype": "float32"}


def cudnn(case: Case, dtype: Any) -> Run:
    """nn.RNN and nn.Linear with the loop's weights: i2h's columns split into input and hidden part."""
    import torch

    device = case.inputs[0].device
    p, i2h = case.problem, case.model.i2h
    rnn = torch.nn.RNN(p.INPUT, p.HIDDEN, nonlinearity="tanh").to(device)
    head = torch.nn.Linear(p.HIDDEN, p.OUTPUT).to(device)
    with torch.no_grad():
        rnn.weight_ih_l0.copy_(i2h.weight[:, : p.INPUT])
        rnn.weight_hh_l0.copy_(i2h.weight[:, p.INPUT :])
        rnn.bias_ih_l0.copy_(i2h.bias)
        rnn.bias_hh_l0.zero_()
        head.load_state_dict(case.model.h2o.state_dict())
    rnn, head = rnn.to(dtype).eval(), head.to(dtype).eval()
    x, h0 = (tensor.to(dtype) for tensor in case.inputs)

    def run() -> Any:
        hidden, _ = rnn(x, h0[None])
        return head(hidden)

    return run


def entries(
    case: Case, files: list[tuple[str, Path]], probes: dict[tuple[str, bool], compiled_loop.Probe]
) -> Iterator[Entry]:
    """Every side, in the order in which the table shows them."""
    import torch

    loop = partial(case.model, *case.inputs)
    yield from also_in_a_graph(Entry("current", partial(model_new, case, EXAMPLE / "current.py")))
    for label, path in files:
        yield from also_in_a_graph(Entry(label, partial(model_new, case, path)))
    for tf32 in (False, True):
        yield from also_in_a_graph(Entry(f"PyTorch loop, {precision(tf32)}", lambda: loop, tf32))
    for (mode, tf32), probe in probes.items():
        graphs = " with CUDA graphs" if mode == "reduce-overhead" else ""
        label = f"PyTorch loop, torch.compile{graphs}, {precision(tf32)}"
        yield Entry(label, partial(compiled_loop_of, case, mode, probe), tf32)
    for tf32 in (False, True):
        yield from also_in_a_graph(
            Entry(f"cuDNN, {precision(tf32)}", partial(cudnn, case, torch.float32), tf32)
        )
    note = "weights and inputs are float16 beforehand; their conversion is not timed"
    yield from also_in_a_graph(Entry("cuDNN, fp16", partial(cudnn, case, torch.float16), note=note))


def compiled_loop_of(case: Case, mode: str, probe: compiled_loop.Probe) -> Run:
    """The loop under torch.compile, once the probe has compiled it."""
    probe.finish()
    return compiled_reference(case, EXAMPLE / "problem.py", mode)


def precision(tf32: bool) -> str:
    return "tf32" if tf32 else "fp32"


def record(options: argparse.Namespace) -> Record:
    """Build, check and time every side on the GPU.

    Raises:
        RecordError: the first side, with which all others are compared, cannot be run.
    """
    import torch

    probes = {
        (mode, tf32): compiled_loop.start(mode, tf32, options.compile_seconds)
        for mode in (compiled_loop.MODES if options.compile_seconds > 0 else ())
        for tf32 in (False, True)
    }
    try:
        case = reference_case(torch.device("cuda"), options.seed)
        return measure(NAME, case, sizes(case), entries(case, options.file, probes), options)
    finally:
        for probe in probes.values():
            probe.kill()


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Record the reference case on this machine's GPU.")
    side_options(parser)
    parser.add_argument(
        "--request-code",
        type=lambda path: labelled_file(f"request's code={path}"),
        metavar="PATH",
        help='the ModelNew file of a request, timed under the label "request\'s code"',
    )
    parser.add_argument(
        "--compile-seconds",
        type=float,
        default=240.0,
        help="time limit of each torch.compile side, all of them compiled at once; 0 leaves them out",
    )
    options = parser.parse_args(arguments)
    if options.request_code:
        options.file.insert(0, options.request_code)
    labels = ["current", *(label for label, _ in options.file)]
    if len(set(labels)) < len(labels):
        parser.error(f"labels must differ: {', '.join(labels)}")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    return recorded(options, lambda: record(options))


if __name__ == "__main__":
    sys.exit(main())
