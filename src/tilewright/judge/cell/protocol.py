"""What travels between the judge and a cell: one JSON message at a time, and tensors as raw bytes.

Messages go through pipes, each with its length in front. The bytes of tensors lie in a file of the
direction's own. What comes back is read and never mapped, so that a writer who cuts it short is an error
and no crash; a cell maps what the judge sends, as it copies all of it once more anyway. Arguments for a
candidate may hold any Python object and are pickled; nothing that comes back is ever unpickled, since
unpickling runs code.
"""

from __future__ import annotations

import base64
import json
import mmap
import os
import pickle
import struct
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tilewright.judge.answer.compare import rebuilt
from tilewright.judge.cell.pinned import pin, unpin

LENGTH = struct.Struct(">Q")
LONGEST_MESSAGE = 2**28
DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in vars(torch).values()
    if isinstance(dtype, torch.dtype) and not str(dtype).startswith("torch.q")
}


PLAIN = {torch.Tensor: "Tensor", torch.nn.Parameter: "Parameter"}  # whatever a class calls itself


class ProtocolError(Exception):
    """The other side ended, or sent what no message looks like."""


class Unsendable(Exception):
    """A value that cannot be handed to another process."""


@dataclass(frozen=True)
class Received:
    """A tensor that came from the other process, on the CPU, and what it was there.

    Args:
        tensor: in a cell it holds its values only until the next message comes.
        device: "cpu" or "cuda" in the cell.
        kind: "Tensor" or "Parameter", else the full name of its class, which may compute behind the scenes.
    """

    tensor: torch.Tensor
    device: str
    kind: str


@dataclass(frozen=True)
class Opaque:
    """An output that is neither a tensor nor a plain value; only its text came over."""

    text: str


def extent(shape: Sequence[int], strides: Sequence[int]) -> int:
    """Elements from the first to the last of a tensor that has some, gaps included."""
    return 1 + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))


def opened(function: Callable[[Received], Any], value: Any) -> Any:
    """The same nested containers, every `Received` replaced by what the function makes of it."""
    if isinstance(value, Received):
        return function(value)
    if isinstance(value, dict):
        return {key: opened(function, item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return rebuilt(value, (opened(function, item) for item in value))
    return value


class Channel:
    """One end of the pipes.

    Args:
        incoming, outgoing: file descriptors.
    """

    def __init__(self, incoming: int, outgoing: int) -> None:
        self.incoming = incoming
        self.outgoing = outgoing

    def send(self, message: dict[str, Any]) -> None:
        """Raises ProtocolError when nobody listens."""
        text = json.dumps(message).encode()
        try:
            pending = memoryview(LENGTH.pack(len(text)) + text)
            while pending:
                pending = pending[os.write(self.outgoing, pending) :]
        except OSError as error:
            raise ProtocolError(f"nobody listens: {error.strerror}") from error

    def receive(self) -> dict[str, Any]:
        """The next message; waits for it. Raises ProtocolError at the end, or on anything else."""
        (length,) = LENGTH.unpack(self._exactly(LENGTH.size))
        if length > LONGEST_MESSAGE:
            raise ProtocolError(f"a message of {length} bytes")
        try:
            message = json.loads(self._exactly(length))
        except (ValueError, RecursionError) as error:
            raise ProtocolError("a message that is not JSON") from error
        if not isinstance(message, dict):
            raise ProtocolError("a message that is no object")
        return message

    def _exactly(self, count: int) -> bytes:
        parts: list[bytes] = []
        while count:
            part = os.read(self.incoming, min(count, 2**20))
            if not part:
                raise ProtocolError("the pipe was closed")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


class Writer:
    """Writes the tensors of message after message into the file of this direction, each from its start.

    The file must exist. It is never cut short: to give its memory back and to take it anew costs several
    times what writing into it does.
    """

    def __init__(self, path: Path) -> None:
        self.file = path.open("r+b", buffering=0)
        self.at = 0

    def message(self, values: Mapping[str, Any], *, pickled: bool) -> dict[str, Any]:
        """The values of one message, by name, in the place of those of the last; see `value`."""
        self.at = 0
        return {name: self.value(value, pickled=pickled) for name, value in values.items()}

    def value(self, value: Any, *, pickled: bool) -> Any:
        """A value as JSON, its tensors as places in the file.

        Args:
            pickled: what is neither tensor, container nor plain value is pickled; else its text is sent.

        Raises:
            Unsendable: it cannot be pickled.
        """
        match value:
            case torch.Tensor():
                return {"tensor": self._tensor(value)}
            case None | bool() | int() | str():
                return {"plain": value}
            case float():
                return {"float": value.hex()}
            case tuple() if fields := getattr(value, "_fields", None):
                items = [self.value(item, pickled=pickled) for item in value]
                return {"named": type(value).__name__, "fields": list(fields), "items": items}
            case list() | tuple():
                name = "tuple" if isinstance(value, tuple) else "list"
                return {name: [self.value(item, pickled=pickled) for item in value]}
            case dict() if all(isinstance(key, str) for key in value):
                return {"dict": {key: self.value(item, pickled=pickled) for key, item in value.items()}}
        if not pickled:
            return {"opaque": f"{type(value).__name__} {value!r:.60}"}
        try:
            return {"pickle": base64.b64encode(pickle.dumps(value)).decode()}
        except Exception as error:  # whatever a class raises when asked to be pickled
            raise Unsendable(
                f"{type(value).__name__} cannot be handed to another process: {error}"
            ) from error

    def _tensor(self, tensor: torch.Tensor) -> dict[str, Any]:
        """Its bytes from the first element to the last, gaps included, so that strides survive."""
        plain = tensor.detach()
        if plain.is_sparse or plain.layout != torch.strided:
            raise Unsendable("a tensor that is not strided cannot be handed to another process")
        device = plain.device.type
        count = extent(plain.shape, plain.stride())
        plain = plain.resolve_conj().resolve_neg()
        if count > 4 * max(plain.numel(), 1) or not plain.numel():  # slices of something far larger
            plain = plain.contiguous()
            count = plain.numel()
        if count:
            self._store(torch.as_strided(plain, (count,), (1,)))
        described = {
            "dtype": str(tensor.dtype).removeprefix("torch."),
            "shape": list(plain.shape),
            "strides": list(plain.stride()),
            "extent": count,
            "at": self.at,
            "device": device,
            "kind": PLAIN.get(type(tensor), f"{type(tensor).__module__}.{type(tensor).__qualname__}"),
            "grad": bool(tensor.requires_grad),
        }
        size = count * tensor.element_size()
        self.at += -(-size // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY  # a map begins there
        return described

    def _store(self, flat: torch.Tensor) -> None:
        """From a device straight into the file's memory: host memory taken anew would take as long to get.

        A cell that cuts the file short at that moment ends this process, which is then laid at its door.
        """
        at, size = self.at, flat.numel() * flat.element_size()
        if flat.device.type != "cpu":
            if os.fstat(self.file.fileno()).st_size < at + size:
                os.ftruncate(self.file.fileno(), at + size)
            memory = mmap.mmap(self.file.fileno(), size, offset=at)
            torch.frombuffer(memory, dtype=torch.uint8).copy_(flat.view(torch.uint8))
            return
        data = memoryview(flat.view(torch.uint8).numpy())
        while data:
            count = os.pwrite(self.file.fileno(), data, at)
            data, at = data[count:], at + count

    def close(self) -> None:
        self.file.close()


class Reader:
    """Reads what a Writer of the other process wrote.

    Args:
        path: the file of that direction.
        trusted: whether pickles are opened, and bytes mapped.
        pinned: whether what is mapped is pinned, for a GPU to read.
    """

    def __init__(self, path: Path, *, trusted: bool, pinned: bool = False) -> None:
        self.file = path.open("r+b" if trusted else "rb", buffering=0)
        self.trusted = trusted
        self.pinned = pinned
        self.mapped = torch.empty(0, dtype=torch.uint8)  # the file as long as it was when last looked at

    def value(self, described: Any) -> Any:
        """The value that JSON describes; tensors as `Received`.

        Raises:
            ProtocolError: it describes nothing, or bytes are missing.
        """
        match described:
            case {"tensor": dict(fields)}:
                return self._tensor(fields)
            case {"plain": None | bool() | int() | str() as plain}:
                return plain
            case {"float": str(text)}:
                try:
                    return float.fromhex(text)
                except (ValueError, OverflowError) as error:
                    raise ProtocolError("not a number") from error
            case {"list": list(items)}:
                return [self.value(item) for item in items]
            case {"tuple": list(items)}:
                return tuple(self.value(item) for item in items)
            case {"named": str(name), "fields": list(fields), "items": list(items)}:
                values = [self.value(item) for item in items]
                return namedtuple(name, fields)(*values) if self.trusted else tuple(values)
            case {"dict": dict(items)}:
                return {str(key): self.value(item) for key, item in items.items()}
            case {"opaque": str(text)}:
                return Opaque(text)
            case {"pickle": str(text)} if self.trusted:
                return pickle.loads(base64.b64decode(text))
        raise ProtocolError("a value of no known kind")

    def _tensor(self, fields: dict[str, Any]) -> Received:
        try:
            dtype = DTYPES[fields["dtype"]]
            shape = [int(size) for size in fields["shape"]]
            strides = [int(step) for step in fields["strides"]]
            count, at = int(fields["extent"]), int(fields["at"])
            device, kind, grad = str(fields["device"]), str(fields["kind"]), bool(fields["grad"])
        except (KeyError, TypeError, ValueError) as error:
            raise ProtocolError("a tensor of no known form") from error
        if len(shape) != len(strides) or min([0, *shape, *strides, count, at]) < 0:
            raise ProtocolError("a tensor of impossible shape")
        if 0 not in shape and extent(shape, strides) > count:
            raise ProtocolError("a tensor larger than its bytes")
        flat = self._mapped(count, dtype, at) if self.trusted and count else self._read(count, dtype, at)
        tensor = torch.as_strided(flat, shape, strides)
        return Received(tensor.requires_grad_(grad) if grad else tensor, device, kind)

    def _mapped(self, count: int, dtype: torch.dtype, at: int) -> torch.Tensor:
        """The bytes where they lie. The map is kept, since each page of a new one takes a while to come."""
        end = at + count * dtype.itemsize
        if end > len(self.mapped):
            self._map_all()
        if end > len(self.mapped):
            raise ProtocolError("bytes of a tensor are missing")
        return self.mapped[at:end].view(dtype)

    def _map_all(self) -> None:
        if not os.fstat(self.file.fileno()).st_size:
            return
        if self.pinned and len(self.mapped):
            unpin(self.mapped)
        self.mapped = torch.frombuffer(mmap.mmap(self.file.fileno(), 0), dtype=torch.uint8)
        if self.pinned:
            pin(self.mapped)

    def _read(self, count: int, dtype: torch.dtype, at: int) -> torch.Tensor:
        flat = torch.empty(count, dtype=dtype)
        if count:
            self._fill(memoryview(flat.view(torch.uint8).numpy()), at)
        return flat

    def _fill(self, buffer: memoryview, at: int) -> None:
        while buffer:
            count = os.preadv(self.file.fileno(), [buffer], at)
            if not count:
                raise ProtocolError("bytes of a tensor are missing")
            buffer, at = buffer[count:], at + count

    def close(self) -> None:
        self.file.close()
