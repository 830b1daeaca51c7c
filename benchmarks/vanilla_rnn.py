"""The reference case, recorded: `python benchmarks/vanilla_rnn.py --file best=runs/demo/best.py`.

A vanilla RNN with an output at every step, T=256 B=8 I=1024 H=256 O=128 in float32
(examples/vanilla_rnn/problem.py), computed by the Triton code of the example, by PyTorch in several
ways, by cuDNN, and by any ModelNew files. All sides get the same weights and inputs, and each its error
against a float64 run of the reference. Writes benchmarks/results/vanilla_rnn-DEVICE-DATE.json.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import Any

import compiled_loop
from recording import (
    RESULTS,
    ROOT,
    Contender,
    Record,
    RecordError,
    Run,
    Samples,
    Side,
    command_line,
    now,
    sample,
    this_commit,
    this_machine,
    write,
)
from tables import table

sys.path.insert(0, str(ROOT / "src"))  # this checkout, also where tilewright is not installed

NAME = "vanilla_rnn"
EXAMPLE = ROOT / "examples" / "vanilla_rnn"


@dataclass(frozen=True)
class Case:
    """The problem on a device.

    Args:
        problem: the example's module.
        model: its Model, float32.
        inputs: x [T, B, I] and h0 [B, H], float32.
        expected: y [T, B, O], computed in float64.
    """

    problem: ModuleType
    model: Any
    inputs: tuple[Any, ...]
    expected: Any

    def sizes(self) -> dict[str, str | int]:
        p = self.problem
        return {
            "T": p.STEPS, "B": p.BATCH, "I": p.INPUT, "H": p.HIDDEN, "O": p.OUTPUT, "dtype": "float32"
        }  # fmt: skip

    def error(self, output: Any) -> float:
        """‖y − y64‖ / ‖y64‖.

        Raises:
            ValueError: the output's shape is not the reference's, or it holds NaN or infinity.
        """
        if output.shape != self.expected.shape:
            raise ValueError(f"output of shape {list(output.shape)}, not {list(self.expected.shape)}")
        error = float((output.double() - self.expected).norm() / self.expected.norm())
        if not math.isfinite(error):
            raise ValueError("its output is not finite")
        return error


@dataclass(frozen=True)
class Entry:
    """A side before it is built.

    Args:
        tf32: whether PyTorch may use TF32 in it.
        build: makes what runs it; may raise, and the record then says what.
    """

    label: str
    build: Callable[[], Run]
    tf32: bool = False
    note: str = ""


class CudaStopwatch:
    """Wall time from synchronization to synchronization, device time between two events."""

    def wall_us(self, run: Run) -> float:
        import torch

        torch.cuda.synchronize()
        started = perf_counter()
        run()
        torch.cuda.synchronize()
        return (perf_counter() - started) * 1e6

    def device_us(self, run: Run) -> float:
        import torch

        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        run()
        before.record()
        run()
        after.record()
        torch.cuda.synchronize()
        return float(before.elapsed_time(after)) * 1e3


def reference_case(device: Any, seed: int) -> Case:
    """Weights and inputs drawn on the CPU from `seed`, the expected output computed on `device`."""
    import torch

    problem = load(EXAMPLE / "problem.py")
    torch.manual_seed(seed)
    model = problem.Model(*problem.get_init_inputs()).to(device).eval()
    inputs = tuple(tensor.to(device) for tensor in problem.get_inputs())
    exact = problem.Model(*problem.get_init_inputs()).double().to(device)
    exact.load_state_dict(model.state_dict())
    with torch.no_grad():
        expected = exact(*(tensor.double() for tensor in inputs))
    return Case(problem, model, inputs, expected)


def allow_tf32(allowed: bool) -> None:
    import torch

    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def load(path: Path) -> ModuleType:
    """Execute a Python file as a module of its own."""
    name = fresh_name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def fresh_name(path: Path) -> str:
    """A module name that no module has yet."""
    return f"benchmarked_{len(sys.modules)}_{path.stem}"


def model_new(case: Case, path: Path) -> Run:
    """A ModelNew file with the reference's parameters."""
    from tilewright.judge.sides import build_candidate, import_candidate

    candidate = import_candidate(path.read_text(encoding="utf-8"), str(path), fresh_name(path))
    arguments, device = case.problem.get_init_inputs(), case.inputs[0].device
    model = build_candidate(candidate, arguments, case.model, seed=0, device=device, mapping=None)
    return partial(model.eval(), *case.inputs)


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


def in_graph(run: Run) -> Run:
    """The same work captured in a CUDA graph; every replay writes the same output tensor."""
    import torch

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):  # whatever allocates or compiles at a first run must not do so in the capture
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = run()

    def replay() -> Any:
        graph.replay()
        return output

    return replay


def entries(
    case: Case, files: list[tuple[str, Path]], probes: dict[tuple[str, bool], compiled_loop.Probe]
) -> Iterator[Entry]:
    """Every side, in the order in which the table shows them."""
    import torch

    def both(entry: Entry) -> Iterator[Entry]:
        built = cache(entry.build)
        yield replace(entry, build=built)
        yield replace(entry, label=f"{entry.label}, CUDA graph", build=lambda: in_graph(built()))

    loop = partial(case.model, *case.inputs)
    yield from both(Entry("current", partial(model_new, case, EXAMPLE / "current.py")))
    for label, path in files:
        yield from both(Entry(label, partial(model_new, case, path)))
    for tf32 in (False, True):
        yield from both(Entry(f"PyTorch loop, {precision(tf32)}", lambda: loop, tf32))
    for (mode, tf32), probe in probes.items():
        graphs = " with CUDA graphs" if mode == "reduce-overhead" else ""
        label = f"PyTorch loop, torch.compile{graphs}, {precision(tf32)}"
        yield Entry(label, partial(compiled_loop_of, case, mode, probe), tf32)
    for tf32 in (False, True):
        yield from both(Entry(f"cuDNN, {precision(tf32)}", partial(cudnn, case, torch.float32), tf32))
    note = "weights and inputs are float16 beforehand; their conversion is not timed"
    yield from both(Entry("cuDNN, fp16", partial(cudnn, case, torch.float16), note=note))


def compiled_loop_of(case: Case, mode: str, probe: compiled_loop.Probe) -> Run:
    """The loop under torch.compile, from a fresh copy of its code: variants share no guards."""
    probe.finish()
    model = load(EXAMPLE / "problem.py").Model(*case.problem.get_init_inputs())
    model.load_state_dict(case.model.state_dict())
    model = model.to(case.inputs[0].device).eval()
    return partial(compiled_loop.compiled(model, mode), *case.inputs)


def precision(tf32: bool) -> str:
    return "tf32" if tf32 else "fp32"


def build(entry: Entry, case: Case) -> tuple[Side, Contender | None]:
    """Build a side, run it once and take its error; a side that cannot be run says why in its note."""
    prepare = partial(allow_tf32, entry.tf32)
    prepare()
    try:
        run = entry.build()
        error = case.error(run())
    except Exception as problem:  # noqa: BLE001 - a side may fail in any way, and the record says how
        return Side(entry.label, note=one_line(problem)), None
    return Side(entry.label, error=error, note=entry.note), Contender(entry.label, run, prepare)


def one_line(problem: Exception) -> str:
    said = " ".join(str(problem).split())[:200].rstrip(".")
    return said if isinstance(problem, compiled_loop.DidNotFinish) else f"{type(problem).__name__}: {said}"


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
        with torch.no_grad():
            sides: list[Side] = []
            contenders: list[Contender] = []
            for entry in entries(case, options.file, probes):
                print(f"building {entry.label}", file=sys.stderr, flush=True)
                side, contender = build(entry, case)
                if not sides and contender is None:
                    raise RecordError(f"{side.label} cannot be run: {side.note}")
                sides.append(side)
                contenders += [contender] if contender else []
            print(f"timing {len(contenders)} sides", file=sys.stderr, flush=True)
            taken = sample(contenders, CudaStopwatch(), seconds_per_side=options.seconds, seed=options.seed)
    finally:
        for probe in probes.values():
            probe.kill()
    commit, dirty = (options.commit, None) if options.commit else this_commit()
    return Record(
        name=NAME,
        date=now(),
        commit=commit,
        dirty=dirty,
        command=command_line(),
        case=case.sizes(),
        machine=this_machine(
            torch.cuda.get_device_name(), cuda=torch.version.cuda, cudnn=str(torch.backends.cudnn.version())
        ),
        sides=tuple(with_samples(side, taken.get(side.label)) for side in sides),
    )


def with_samples(side: Side, samples: Samples | None) -> Side:
    if samples is None:
        return side
    return replace(side, wall_us=tuple(samples.wall_us), device_us=tuple(samples.device_us))


def labelled_file(text: str) -> tuple[str, Path]:
    """`label=path` of --file."""
    label, equals, path = text.partition("=")
    if not (label and equals and Path(path).is_file()):
        raise argparse.ArgumentTypeError(f"{text!r} is not LABEL=PATH of a file")
    return label, Path(path)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Record the reference case on this machine's GPU.")
    parser.add_argument(
        "--file",
        type=labelled_file,
        action="append",
        default=[],
        metavar="LABEL=PATH",
        help="a ModelNew file to time as well; repeatable",
    )
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
    parser.add_argument("--seconds", type=float, default=1.5, help="time for the samples of one side")
    parser.add_argument("--seed", type=int, default=0, help="of weights, inputs and the order of samples")
    parser.add_argument("--commit", help="what to record where the checkout carries no git history")
    parser.add_argument("--results", type=Path, default=RESULTS, help="default: benchmarks/results")
    options = parser.parse_args(arguments)
    if options.request_code:
        options.file.insert(0, options.request_code)
    labels = ["current", *(label for label, _ in options.file)]
    if len(set(labels)) < len(labels):
        parser.error(f"labels must differ: {', '.join(labels)}")
    return options


def has_gpu() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if not has_gpu():
        print("error: PyTorch sees no GPU here; run this on a machine with one", file=sys.stderr)
        return 2
    try:
        options.results.mkdir(parents=True, exist_ok=True)  # now, not after minutes of measuring
        taken = record(options)
        path = write(taken, options.results)
    except (OSError, RecordError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(taken, path))
    return 0


if __name__ == "__main__":
    sys.exit(main())
