"""One recurrent layer beside FlashRNN: `python benchmarks/beside_flashrnn.py lstm --file tilewright=FILE.py`.

Times an Elman, LSTM or GRU layer, the scaling benchmark's of 512 steps, as PyTorch runs it, which is cuDNN in
float32, TF32 and float16, beside FlashRNN's two CUDA backends in float16 (`pip install flashrnn`; it compiles
its kernels with nvcc at the first call) and any ModelNew files. FlashRNN takes what the inputs' weights give,
so a PyTorch product computes that, as its README has it. Its inputs lie in the order it asks for beforehand.
Writes benchmarks/results/layer_KIND-DEVICE-DATE.json; a side that does not build says why there.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from network import entries as as_pytorch_runs_it
from network import sizes
from recording import ROOT, Record, Run
from scaling_files import problem_text
from scaling_records import Point
from sides import Case, Entry, also_in_a_graph, case_of, measure, recorded, side_options

sys.path.insert(0, str(ROOT / "src"))  # this checkout, also where tilewright is not installed

LAYER = (512, 16, 256)  # steps, rows of batch, hidden units
KINDS = {"rnn": "elman", "lstm": "lstm", "gru": "gru"}
BACKENDS = {"fused": "cuda_fused", "alternating": "cuda"}


def entries(case: Case, kind: str, files: list[tuple[str, Path]]) -> Iterator[Entry]:
    """PyTorch's sides, the files', cuDNN in float16, FlashRNN's."""
    yield from as_pytorch_runs_it(case, files)
    yield from also_in_a_graph(Entry("PyTorch, fp16", partial(in_half, case)))
    for name, backend in BACKENDS.items():
        label = f"FlashRNN {name}, fp16"
        yield from also_in_a_graph(Entry(label, partial(flashrnn_of, case, KINDS[kind], backend)))


def in_half(case: Case) -> Run:
    """The reference with weights and inputs in float16."""
    return partial(copy.deepcopy(case.model).half(), *(tensor.half() for tensor in case.inputs))


def flashrnn_of(case: Case, function: str, backend: str) -> Run:
    """FlashRNN with the reference's weights; one head as wide as the state."""
    import torch
    from flashrnn import flashrnn

    _let_it_build(flashrnn.__module__)
    layer, half = case.model.rnn, torch.float16
    inward, recurrent, bias = (tensor.to(half).contiguous() for tensor in weights(layer, function))
    x = case.inputs[0].transpose(0, 1).to(half).contiguous()
    batch, steps, _ = x.shape
    gates = inward.shape[0] // layer.hidden_size

    def run() -> Any:
        given = torch.nn.functional.linear(x, inward).view(batch, steps, gates, 1, layer.hidden_size)
        states, _ = flashrnn(given, recurrent, bias, function=function, backend=backend, dtype="float16")
        return states[0].squeeze(2).transpose(0, 1)

    return run


def weights(layer: Any, function: str) -> tuple[Any, Any, Any]:
    """PyTorch's weights in FlashRNN's order: [gates * H, inputs], [gates, 1, H, H], [gates, 1, H].

    FlashRNN's GRU keeps the part of the candidate gate that r multiplies first, and its bias apart.
    """
    import torch

    hidden = layer.hidden_size
    recurrent = layer.weight_hh_l0.view(-1, 1, hidden, hidden)
    of_input, of_state = layer.bias_ih_l0.view(-1, 1, hidden), layer.bias_hh_l0.view(-1, 1, hidden)
    bias = of_input + of_state
    if function == "gru":
        recurrent = torch.cat([recurrent[2:], recurrent[:2]])
        bias = torch.cat([of_state[2:], bias[:2], of_input[2:]])
    return layer.weight_ih_l0, recurrent, bias


def _let_it_build(module: str) -> None:
    """Tell FlashRNN of the GPU ourselves: what asks for it (version 1.0.8) does not compile under CUDA 13."""
    import torch

    def gpu_info(device_id: int) -> dict[str, int]:
        found = torch.cuda.get_device_properties(device_id)
        return {
            "maxThreadsPerBlock": 1024,
            "regsPerMultiprocessor": found.regs_per_multiprocessor,
            "multiProcessorCount": found.multi_processor_count,
            "sharedMemPerBlockOptin": found.shared_memory_per_block_optin,
        }

    sys.modules[module].get_gpu_info = gpu_info  # type: ignore[attr-defined]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Record one recurrent layer beside FlashRNN.")
    parser.add_argument("kind", choices=KINDS, help="of the layer")
    side_options(parser, seconds=0.5)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)

    def take() -> Record:
        import torch

        with tempfile.TemporaryDirectory() as folder:
            problem = Path(folder) / "problem.py"
            problem.write_text(problem_text(Point(options.kind, *LAYER)), encoding="utf-8")
            case = case_of(problem, torch.device("cuda"), options.seed)
        sides = entries(case, options.kind, options.file)
        return measure(f"layer_{options.kind}", case, sizes(case), sides, options)

    return recorded(options, take)


if __name__ == "__main__":
    sys.exit(main())
