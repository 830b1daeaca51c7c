"""What every benchmark times: sides built alike, checked once, and run on the GPU's clock."""

from __future__ import annotations

import argparse
import importlib.util
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from time import perf_counter
from types import ModuleType
from typing import Any

import compiled_loop
from recording import (
    RESULTS,
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


@dataclass(frozen=True)
class Case:
    """The problem on a device.

    Args:
        problem: its module.
        model: its Model.
        inputs: of one forward, of the problem's own types.
        expected: the output, computed in float64.
    """

    problem: ModuleType
    model: Any
    inputs: tuple[Any, ...]
    expected: Any

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


def case_of(path: Path, device: Any, seed: int) -> Case:
    """A problem file's weights and inputs, drawn on the CPU from `seed`; its output computed on `device`."""
    import torch

    from tilewright.judge.answer.precision import is_real
    from tilewright.judge.trial import run_in_float64

    problem = load(path)
    torch.manual_seed(seed)
    model = problem.Model(*problem.get_init_inputs()).to(device).eval()
    inputs = tuple(tensor.to(device) for tensor in problem.get_inputs())
    native = next(value.dtype for value in (*inputs, *model.parameters()) if is_real(value))
    expected = run_in_float64(model, list(inputs), seed, (), native, None)[0]
    return Case(problem, model, inputs, expected)


def also_in_a_graph(entry: Entry) -> Iterator[Entry]:
    """A side, and the same captured in a CUDA graph."""
    built = cache(entry.build)
    yield replace(entry, build=built)
    yield replace(entry, label=f"{entry.label}, CUDA graph", build=lambda: in_graph(built()))


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
    from tilewright.judge.sides import build_candidate

    arguments, device = case.problem.get_init_inputs(), case.inputs[0].device
    model = build_candidate(load(path).ModelNew, arguments, case.model, 0, device)
    return partial(model.eval(), *case.inputs)


def compiled_reference(case: Case, path: Path, mode: str) -> Run:
    """The reference under torch.compile, from a fresh copy of its code: variants share no guards.

    Args:
        path: the problem file.
    """
    model = load(path).Model(*case.problem.get_init_inputs())
    model.load_state_dict(case.model.state_dict())
    model = model.to(case.inputs[0].device).eval()
    return partial(compiled_loop.compiled(model, mode), *case.inputs)


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


def measure(
    name: str,
    case: Case,
    sizes: Mapping[str, str | int],
    entries: Iterable[Entry],
    options: argparse.Namespace,
) -> Record:
    """Build, check and time every side on the GPU.

    Args:
        options: of the command line: seconds (for one side), seed, commit.

    Raises:
        RecordError: the first side, with which all others are compared, cannot be run.
    """
    import torch

    sides: list[Side] = []
    contenders: list[Contender] = []
    with torch.no_grad():
        for entry in entries:
            print(f"building {entry.label}", file=sys.stderr, flush=True)
            side, contender = build(entry, case)
            if not sides and contender is None:
                raise RecordError(f"{side.label} cannot be run: {side.note}")
            sides.append(side)
            contenders += [contender] if contender else []
        print(f"timing {len(contenders)} sides", file=sys.stderr, flush=True)
        taken = sample(contenders, CudaStopwatch(), seconds_per_side=options.seconds, seed=options.seed)
    commit, dirty = this_commit(options.commit)
    return Record(
        name=name,
        date=now(),
        commit=commit,
        dirty=dirty,
        command=command_line(),
        case=sizes,
        machine=this_machine(
            torch.cuda.get_device_name(), cuda=torch.version.cuda, cudnn=str(torch.backends.cudnn.version())
        ),
        sides=tuple(with_samples(side, taken.get(side.label)) for side in sides),
    )


def with_samples(side: Side, samples: Samples | None) -> Side:
    if samples is None:
        return side
    return replace(side, wall_us=tuple(samples.wall_us), device_us=tuple(samples.device_us))


def side_options(parser: argparse.ArgumentParser, seconds: float = 1.5) -> None:
    """Add the options of every benchmark that times sides beside one another.

    Args:
        seconds: the default of --seconds.
    """
    parser.add_argument(
        "--file", type=labelled_file, action="append", default=[], metavar="LABEL=PATH",
        help="a ModelNew file to time as well; repeatable",
    )  # fmt: skip
    parser.add_argument("--seconds", type=float, default=seconds, help="time for the samples of one side")
    parser.add_argument("--seed", type=int, default=0, help="of weights, inputs and the order of samples")
    parser.add_argument("--commit", help="what to record where the checkout carries no git history")
    parser.add_argument("--results", type=Path, default=RESULTS, help="default: benchmarks/results")


def recorded(options: argparse.Namespace, take: Callable[[], Record]) -> int:
    """Write the record that `take` gives, and print its table; the command's exit code."""
    if not has_gpu():
        print("error: PyTorch sees no GPU here; run this on a machine with one", file=sys.stderr)
        return 2
    try:
        options.results.mkdir(parents=True, exist_ok=True)  # now, not after minutes of measuring
        record = take()
        path = write(record, options.results)
    except (OSError, RecordError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(record, path))
    return 0


def labelled_file(text: str) -> tuple[str, Path]:
    """`label=path` of --file."""
    label, equals, path = text.partition("=")
    if not (label and equals and Path(path).is_file()):
        raise argparse.ArgumentTypeError(f"{text!r} is not LABEL=PATH of a file")
    return label, Path(path)


def has_gpu() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())
