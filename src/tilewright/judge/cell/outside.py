"""The judge's handle on a cell: starts it, sends commands, reads what comes back, ends it."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import tilewright
from tilewright.judge.cell.protocol import Channel, ProtocolError, Reader, Writer
from tilewright.judge.failures import CandidateFailure, one_line
from tilewright.judge.verdict import Outcome
from tilewright.processes.start import start

SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Answer:
    """What a command gave.

    Args:
        values: by name, as the command says; tensors as `protocol.Received`.
        seconds: from sending the command until its answer was here, on this process's clock.
    """

    values: dict[str, Any]
    seconds: float


class Cell:
    """A running cell; use `started`."""

    def __init__(self, folder: Path, device: str, source: str, under: Sequence[str] = ()) -> None:
        self.folder = folder
        self.output = folder / "output.txt"
        # Made here, so that what the cell puts in their place is never read.
        for name in ("to_cell.bin", "from_cell.bin"):
            (folder / name).touch()
        self.reader = Reader(folder / "from_cell.bin", trusted=False)
        self.writer = Writer(folder / "to_cell.bin")
        self._device = device
        self._under = under
        self._environment = _environment(folder, device, source)
        self._isolation: str | None = None
        self._start("bare" if under else "isolated")  # a tool talks to what it has put into the process

    def _start(self, how: str) -> None:
        to_cell, from_cell = os.pipe(), os.pipe()
        with self.output.open("wb") as output:
            self.process = start(
                "tilewright.judge.cell.inside",
                [str(self.folder), str(to_cell[0]), str(from_cell[1]), self._device, how],
                output=output.fileno(),
                environment=self._environment,
                folder=self.folder,
                passed=(to_cell[0], from_cell[1]),
                under=self._under,
            )
        os.close(to_cell[0])
        os.close(from_cell[1])
        self.channel = Channel(from_cell[0], to_cell[1])

    @property
    def isolation(self) -> str:
        """What holds the process; waits until it has started. Nothing does where a tool runs it.

        Where the device does not start under isolation the cell is started once more without, before it
        has seen anything of the candidate. A cell that no server started dies with the thread that did: ask
        first in one that lives as long as the cell.

        Raises:
            CandidateFailure: it does not start.
        """
        if self._isolation is None:
            started = self._receive()
            bare = ""
            if "unusable" in started:
                bare = f"none: under it the device does not start: {one_line(str(started['unusable']))}"
                self._end()
                self._start("bare")
                started = self._receive()
            if "unusable" in started:
                raise CandidateFailure(
                    Outcome.NOT_CHECKED, f"the device does not start: {started['unusable']}"
                )
            if self._under:
                bare = f"none: {Path(self._under[0]).name} must reach into it"
            self._isolation = bare or str(started.get("isolation", ""))
        return self._isolation

    def command(self, name: str, /, **arguments: Any) -> Answer:
        """Have one command served.

        Raises:
            CandidateFailure: the candidate raised, or its process ended or broke the protocol.
            Unsendable: an argument cannot be handed over.
        """
        return self.ask(name, **arguments)()

    def ask(self, name: str, /, **arguments: Any) -> Callable[[], Answer]:
        """Send a command; returns what waits for its answer, to be called once, before the next command.

        Raises:
            CandidateFailure, Unsendable: see `command`; what is returned raises the former too.
        """
        _ = self.isolation
        nonce = secrets.token_hex(8)
        values = self.writer.message(arguments, pickled=True)
        began = time.perf_counter()
        try:
            self.channel.send({"command": name, "nonce": nonce, "arguments": values})
        except ProtocolError as error:
            raise self._ended() from error
        return lambda: self._answer(nonce, began)

    def _answer(self, nonce: str, began: float) -> Answer:
        reply = self._receive()
        seconds = time.perf_counter() - began
        if reply.get("nonce") != nonce:
            raise CandidateFailure(Outcome.CRASH, "its process sent an answer that nothing had asked for")
        match reply:
            case {"failure": {"outcome": str(outcome), "reason": str(reason)}} if outcome in set(Outcome):
                raise CandidateFailure(Outcome(outcome), reason)
            case {"answer": dict(fields)}:
                try:
                    return Answer({key: self.reader.value(field) for key, field in fields.items()}, seconds)
                except ProtocolError as error:
                    raise self._broken(error) from error
        raise self._broken(ProtocolError("an answer of no known form"))

    def _receive(self) -> dict[str, Any]:
        try:
            return self.channel.receive()
        except ProtocolError as error:
            if self.process.poll() is None:  # the pipe's end can come a moment before the process's
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(5.0)
            raise (self._ended() if self.process.poll() is not None else self._broken(error)) from error

    def _ended(self) -> CandidateFailure:
        """What is known of a process that ended before it answered."""
        code = self.process.wait()
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        said = self.output.read_text(errors="replace").strip().splitlines()
        last = f"; it last printed: {one_line(said[-1])}" if said else ""
        return CandidateFailure(Outcome.CRASH, f"its process ended before it answered ({how}){last}")

    def _broken(self, error: ProtocolError) -> CandidateFailure:
        return CandidateFailure(Outcome.CRASH, f"its process broke the protocol: {error}")

    def said(self) -> str:
        """Have the process end of its own accord, and return all it printed. It serves nothing afterwards."""
        os.close(self.channel.outgoing)
        self.channel.outgoing = -1
        self.process.wait()
        return self.output.read_text(errors="replace")

    def close(self) -> None:
        """End the process, and what it left running in its group is left to the judge's own end."""
        self._end()
        self.reader.close()
        self.writer.close()

    def _end(self) -> None:
        self.process.kill()
        self.process.wait()
        for descriptor in (self.channel.incoming, self.channel.outgoing):
            if descriptor >= 0:
                os.close(descriptor)


@contextlib.contextmanager
def started(device: str, source: str, under: Sequence[str] = ()) -> Iterator[Cell]:
    """A cell for a candidate, ended with the block.

    Args:
        device: "cuda", or "cpu" for Triton's interpreter.
        source: the candidate's text; decides only where what Triton compiles of it is kept.
        under: a program and its options that run the cell, such as a memory checker.
    """
    shared = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="tilewright-cell-", dir=shared))
    try:
        cell = Cell(folder, device, source, under)
        try:
            yield cell
        finally:
            cell.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _environment(folder: Path, device: str, source: str) -> dict[str, str]:
    """This process's own, with every place to write inside the cell's reach.

    Kernels compiled for one candidate are kept apart from those of another, since a file that can write
    into a cache could put something else in the place of a rival's kernel. Without a GPU glibc fills memory
    with 0xFE bytes as it hands it out, a large negative number in float32: not all that a file allocates is
    torch's (`means.poison`). With one that would only slow the host.
    """
    paths = [str(Path(tilewright.__file__).parents[1]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {
        **os.environ,
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "TRITON_CACHE_DIR": str(_kernels_of(source)),
        "TRITON_INTERPRET": "1" if device == "cpu" else "0",
        "PYTHONPATH": os.pathsep.join(str(Path(path).absolute()) for path in paths if path),
        "PYTHONDONTWRITEBYTECODE": "1",
        **({"MALLOC_PERTURB_": "1"} if device == "cpu" else {}),
    }


def _kernels_of(source: str) -> Path:
    """The folder, private to this user, for what Triton compiles of one candidate."""
    owner = Path(tempfile.gettempdir()) / f"tilewright-kernels-{os.getuid()}"
    owner.mkdir(mode=0o700, exist_ok=True)
    if owner.stat().st_uid != os.getuid():  # somebody else's, under a name that anyone can guess
        owner = Path(tempfile.mkdtemp(prefix="tilewright-kernels-"))
    folder = owner / sha256(source.encode()).hexdigest()[:24]
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
