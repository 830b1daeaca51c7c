"""The candidate inside its cell: imported, built, given parameters, called. One method a command.

Values arrive as `protocol.Received`; what a method returns is sent back. Whatever the candidate raises
leaves as a CandidateFailure.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import nn

from tilewright.judge.answer.compare import flatten
from tilewright.judge.cell.prints import print_of
from tilewright.judge.cell.protocol import Received, extent, opened
from tilewright.judge.drawing import SharedDraws
from tilewright.judge.failures import CandidateFailure, candidate_code
from tilewright.judge.interpreted import assembly, beforehand, cooperative, guards, language, memory
from tilewright.judge.interpreted.interpreter import ConfigChoice, Tally, order_of_programs, repair
from tilewright.judge.means.findings import Finding
from tilewright.judge.means.observer import Observer
from tilewright.judge.means.origins import Origins
from tilewright.judge.means.poison import Filled, Poisoned, poison, poison_cache, poison_free_memory
from tilewright.judge.means.spirit import failing, on_device, recorded, skipped
from tilewright.judge.sides import apply, import_candidate, seed_everything, state_of
from tilewright.judge.speed.stopwatch import Stopwatch, Times, hold_up
from tilewright.judge.verdict import Outcome

GUARD_BYTES = 4096  # on each side of a tensor; an index that is off by one row of 1024 floats shows
LONG_SECONDS = 5.0  # of a sample of a forward's programs
PAUSE_US = 8000.0  # the first launches of a forward come well within
SMALL_BYTES = 2**20  # PyTorch's CUDA allocator keeps what is no larger apart from the rest


class Subject:
    """One candidate.

    Args:
        device: "cuda", or "cpu", which means Triton's interpreter.
    """

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self.interpreted = device == "cpu"
        if self.interpreted:
            repair()
            cooperative.install()
            assembly.enable()
            memory.install()
            guards.install()
            language.install()
            beforehand.install()
        else:
            _one[(1,)](torch.zeros(1, device=self.device))  # here, where cells do it side by side
        self.source = self.path = ""
        self.model_new: Any = None
        self.model: nn.Module | None = None
        self.inputs: list[Any] = []  # whose memory the next call's may take
        self.given: list[Any] = []  # the last call's
        self.outputs: Any = None
        self.earlier: Any = None
        self.calls = 0
        self.prepared = False
        self.choice = ConfigChoice()
        self.findings: Callable[[], Sequence[Finding]] = tuple
        self.stopwatch = Stopwatch(self.device)
        self.padding: list[torch.Tensor] = []

    def open(self, source: str, path: str, name: str = "ModelNew") -> dict[str, Any]:
        """Import the file and find the class of that name in it; from here on the candidate is watched."""
        self.source, self.path = source, path
        observer = Observer(path)
        observer.start()
        self.findings = observer.findings  # bound now, whatever becomes of the class
        with self._candidate():
            self.model_new = import_candidate(source, path, name)
        return {}

    def shapes(self, init_inputs: list[Any]) -> dict[str, Any]:
        """The shapes of parameters and buffers, without memory for them where that works."""
        try:
            with torch.device("meta"), self._candidate():
                return _shapes(self.model_new(*_plain(init_inputs)))
        except CandidateFailure:  # not every constructor runs without memory
            with self._candidate():
                return _shapes(self.model_new(*_plain(init_inputs)))

    def build(self, init_inputs: list[Any], seed: int, padding_bytes: int) -> dict[str, Any]:
        """A new instance; the shapes of its parameters and buffers.

        Args:
            padding_bytes: taken before the instance is made and held while it lives, so that the memory
                that the last one left does not decide where this one lies.
        """
        self.model = self.outputs = self.earlier = None
        self.padding = [
            torch.empty(size, dtype=torch.int8, device=self.device)
            for size in (padding_bytes, padding_bytes % SMALL_BYTES)
        ]
        seed_everything(seed)
        with self._candidate(), self._poisoned(), SharedDraws():
            self.model = self.model_new(*_plain(init_inputs))
        return _shapes(self.model)

    def load(self, values: dict[str, Received]) -> dict[str, Any]:
        """Copy parameters and buffers in, in place, and have the model on the device."""
        assert self.model is not None
        own = state_of(self.model)
        with self._candidate():
            with torch.no_grad():
                for name, value in values.items():
                    own[name].copy_(value.tensor)
            self.model = self.model.to(self.device)
        return {}

    def prepare(self, *, keep: bool = False) -> dict[str, Any]:
        """Before a call, and outside of its time: let the last outputs go, and poison a GPU's free memory.

        Args:
            keep: the last outputs are held until the next `prepare`, as a caller may hold them.
        """
        self.earlier = self.outputs if keep else None
        self.outputs = None
        self.given = []
        if not self.interpreted:
            poison_cache()
            poison_free_memory(finite=self.finite)
        return {}

    def call(
        self,
        inputs: list[Any],
        seed: int,
        *,
        fresh: bool,
        cold: bool = True,
        config: int | None = None,
        misaligned: bool = False,
        without: str | None = None,
        memory_of: float | None = None,
        guarded: bool = False,
        queued: bool = False,
        ahead: bool = False,
        backwards: bool = False,
    ) -> dict[str, Any]:
        """One forward, after `prepare`.

        Args:
            seed: of every generator, set just before.
            fresh: inputs at new addresses; else in the memory of the last call, if they fit.
            cold: overwrite the L2 cache first.
            config: the number of the autotune config to use; None leaves the choice to Triton.
            misaligned: inputs begin one element into their memory.
            without: launches of the kernel of this name do nothing; "" for launches of all kernels that
                fail.
            memory_of: fresh memory is not poisoned but filled with this number, with multiples of it where
                nothing is left out.
            guarded: inputs, and what is allocated, lie between zones of known bytes.
            queued: the caller's stream has yet to make the inputs when the forward is called, and reads the
                outputs at once; nothing is timed.
            ahead: the caller's stream is held up for a while, and makes the inputs only then; see
                `stopwatch.Stopwatch.time`.
            backwards: the interpreter runs the programs of a grid from the last to the first.

        Returns:
            outputs; wall_us, device_us and drained_us, as `stopwatch.Times` has them, read in here; most,
            the longest list of autotune configs, and used, the configs of this call; broken, what was
            written into guard zones.
        """
        self.given = given = self._placed(inputs, fresh=fresh or misaligned, offset=int(misaligned))
        guards = Poisoned(finite=self.finite, guard_bytes=GUARD_BYTES) if guarded else None
        if guards is not None and guards.guards is not None:
            room = guards.guards.room_like
            self.given = given = apply(lambda tensor: room(tensor, "an input").copy_(tensor), given)
        self.choice.index = config
        tampered = guards or self._tampered(without, memory_of)
        order = order_of_programs(backwards=backwards) if self.interpreted else contextlib.nullcontext()
        with self._candidate(), tampered, self.choice.applied(), order:
            if queued:
                times = self._queued(given, seed)
            else:
                times = self._forward(given, seed, cold=cold, ahead=ahead)
        self.calls += 1
        if memory.WATCH.strays:  # also where the file caught the error
            first = memory.WATCH.strays[0]
            memory.WATCH.strays.clear()
            raise CandidateFailure(Outcome.STRAY_ACCESS, first)
        return {
            "outputs": self.outputs,
            "wall_us": times.wall,
            "device_us": times.device,
            "drained_us": times.drained,
            "most": self.choice.most,
            "used": str(self.choice),
            "broken": guards.broken_guards() if guards else [],
        }

    def ran(self, inputs: list[Any], seed: int) -> dict[str, Any]:
        """What one forward of the model as it is runs: the fields of `spirit.Ran`."""
        given = self._placed(inputs, fresh=True, offset=0)
        self.choice.index = 0 if self.interpreted else None
        origins = Origins(memory.WATCH)
        with self._candidate(), self.choice.applied():
            with recorded() as ran, origins.watched() if self.interpreted else contextlib.nullcontext():
                self._forward(given, seed, cold=False)
            if not self.interpreted:
                ran.kernels = on_device(lambda: self._once(given, seed))
        if self.interpreted:
            ran.unseen_bytes = origins.unseen(flatten(self.outputs))
        ran.output_bytes = sum(t.nbytes for t in flatten(self.outputs) if isinstance(t, torch.Tensor))
        self.outputs = None
        return dataclasses.asdict(ran)

    def observed(self) -> dict[str, Any]:
        """What the candidate was seen to do so far: the fields of each Finding."""
        found = self.findings()
        return {"findings": [{"kind": finding.kind.value, "what": finding.what} for finding in found]}

    def outputs_again(self, *, earlier: bool = False) -> dict[str, Any]:
        """What the outputs of the last call hold now, or those that were kept of the call before."""
        self._wait()
        return {"outputs": self.earlier if earlier else self.outputs}

    def inputs_again(self, key: int, whole: list[int]) -> dict[str, Any]:
        """What the inputs of the last call hold now.

        Args:
            whole: which of them, flattened, are sent; of all other tensors, what `prints.print_of` has.
        """
        self._wait()
        leaves = flatten(self.given)
        return {
            "prints": [
                print_of(leaf, key) if isinstance(leaf, torch.Tensor) and index not in whole else None
                for index, leaf in enumerate(leaves)
            ],
            "values": [leaves[index] for index in whole],
        }

    def state(self, key: int) -> dict[str, Any]:
        """What parameters hold now, as `prints.print_of` has it."""
        assert self.model is not None
        return {"parameters": {name: print_of(held, key) for name, held in self.model.named_parameters()}}

    def cost(self, inputs: list[Any], seed: int) -> dict[str, Any]:
        """What one forward would cost under the interpreter, from a sample of its programs."""
        given = self._placed(inputs, fresh=True, offset=0)
        self.choice.index = 0
        began = time.perf_counter()
        tally = self._tallied(given, seed)
        # A first run may prepare much that later ones find ready. One that takes long has its sizes cut
        # anyway, and is measured again.
        if not self.prepared and time.perf_counter() - began < LONG_SECONDS:
            tally = self._tallied(given, seed)
            self.prepared = True
        self.outputs = None
        return {
            "launches": tally.launches,
            "programs": tally.programs,
            "seconds": tally.seconds,
            "most_by_kernel": dict(tally.most_by_kernel),
        }

    def _once(self, given: list[Any], seed: int) -> None:
        """The forward and nothing else."""
        assert self.model is not None
        seed_everything(seed)
        with torch.no_grad():
            self.outputs = self.model(*given)

    def _tallied(self, given: list[Any], seed: int) -> Tally:
        tally = Tally()
        with self._candidate(), tally.applied(), self.choice.applied():
            self._forward(given, seed, cold=False)
        return tally

    def _forward(self, given: list[Any], seed: int, *, cold: bool, ahead: bool = False) -> Times:
        assert self.model is not None
        model = self.model

        def run() -> None:
            self.outputs = model(*given)

        with torch.no_grad():
            put_back = self._withheld(given) if ahead and not self.interpreted else None
            return self.stopwatch.time(lambda: seed_everything(seed), run, cold=cold, ahead=put_back)

    def _queued(self, given: list[Any], seed: int) -> Times:
        """A forward in the middle of a stream's work: what does not wait for that stream is early."""
        with torch.no_grad():
            put_back = self._withheld(given)
            torch.cuda.synchronize()
            hold_up(PAUSE_US)
            put_back()
        self._once(given, seed)
        self.outputs = apply(torch.clone, self.outputs)
        self._wait()
        return Times(0.0, 0.0, 0.0)

    def _withheld(self, given: list[Any]) -> Callable[[], None]:
        """Take the values of inputs away; the function that has the current stream put them back."""
        tensors = [_whole(leaf) for leaf in flatten(given) if isinstance(leaf, torch.Tensor)]
        values = [tensor.clone() for tensor in tensors]
        for tensor in tensors:
            poison(tensor, finite=self.finite)

        def put_back() -> None:
            for tensor, value in zip(tensors, values, strict=True):
                tensor.copy_(value)

        return put_back

    def _placed(self, inputs: list[Any], *, fresh: bool, offset: int) -> list[Any]:
        """Inputs on the device: in new memory, or in that of the last call where everything fits."""
        last = [value for value in flatten(self.inputs) if isinstance(value, torch.Tensor)]
        sent = [value.tensor for value in flatten(inputs) if isinstance(value, Received)]
        if not fresh and [_form(t) for t in last] == [_form(t) for t in sent]:
            for old, new in zip(last, sent, strict=True):
                _whole(old).copy_(_whole(new))
            places = iter(last)
            self.inputs = opened(lambda _: next(places), inputs)
        else:
            self.inputs = opened(lambda received: _copied(received.tensor, self.device, offset), inputs)
        return self.inputs

    def _candidate(self) -> Any:
        return candidate_code(self.source, self.path, interpreted=self.interpreted)

    @property
    def finite(self) -> bool:
        """Whether fresh memory holds a number this time, rather than NaN; see `poison.poison_value`."""
        return self.calls % 2 == 1

    def _poisoned(self) -> Any:
        """Under the interpreter every allocation is filled; a GPU's free memory is, before the call."""
        return Poisoned(finite=self.finite) if self.interpreted else contextlib.nullcontext()

    @contextlib.contextmanager
    def _tampered(self, without: str | None, memory_of: float | None) -> Iterator[None]:
        fill = self._poisoned() if memory_of is None else Filled(memory_of, uneven=without is None)
        left_out = contextlib.nullcontext() if without is None else skipped(without) if without else failing()
        with fill, left_out:
            yield

    def _wait(self) -> None:
        if not self.interpreted:
            torch.cuda.synchronize()


@triton.jit
def _one(out_ptr):  # type: ignore[no-untyped-def]  # Triton reads annotations
    """Starts the device, and what Triton reads before its first kernel."""
    tl.store(out_ptr, 1.0)


def _shapes(model: nn.Module) -> dict[str, Any]:
    return {
        "parameters": {name: list(value.shape) for name, value in model.named_parameters()},
        "buffers": {name: list(value.shape) for name, value in model.named_buffers()},
    }


def _plain(value: Any) -> Any:
    """Received tensors as they came, on the CPU."""
    return opened(lambda received: _copied(received.tensor, torch.device("cpu"), 0), value)


def _form(tensor: torch.Tensor) -> tuple[Any, ...]:
    return tuple(tensor.shape), tensor.stride(), tensor.dtype


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    """All elements between a tensor's first and last in memory, gaps included."""
    if not tensor.numel():
        return tensor.reshape(-1)
    return torch.as_strided(tensor, (extent(tensor.shape, tensor.stride()),), (1,))


def _copied(tensor: torch.Tensor, device: torch.device, offset: int) -> torch.Tensor:
    """A copy with the same strides, `offset` elements into memory of its own."""
    whole = _whole(tensor.detach())
    memory = torch.empty(len(whole) + offset, dtype=tensor.dtype, device=device)
    memory[offset:].copy_(whole)
    placed = torch.as_strided(memory, tensor.shape, tensor.stride(), offset)
    return placed.requires_grad_(tensor.requires_grad)
