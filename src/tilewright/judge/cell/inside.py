"""The inside of a cell: `python -m tilewright.judge.cell.inside FOLDER IN OUT DEVICE isolated|bare`.

Serves one command after another: import the candidate, build it, load parameters, call it. A call that
is checked and a call that is timed are the same command, so the candidate cannot tell them apart. The
clock here is only a reading: the one that counts is the judge's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tilewright.judge.cell.isolation import isolate
from tilewright.processes.child import die_with_parent


def main(arguments: Sequence[str]) -> None:
    """Serve until the judge closes the pipe."""
    where, incoming, outgoing, device, how = arguments
    die_with_parent()
    folder = Path(where)
    isolation = isolate([folder, Path(os.environ["TRITON_CACHE_DIR"])]) if how == "isolated" else ""
    from tilewright.judge.cell.protocol import Channel, ProtocolError, Reader, Writer
    from tilewright.judge.cell.subject import Subject

    channel = Channel(int(incoming), int(outgoing))
    try:
        subject = Subject(device)
    except RuntimeError as error:  # the device's driver wants something that was taken from it
        channel.send({"unusable": str(error)})
        os._exit(1)
    channel.send({"isolation": isolation})
    reader = Reader(folder / "to_cell.bin", trusted=True, pinned=device == "cuda")
    writer = Writer(folder / "from_cell.bin")
    while True:
        try:
            message = channel.receive()
        except ProtocolError:
            os._exit(0)
        answer = _served(subject, message, reader, writer)
        channel.send({**answer, "nonce": message["nonce"]})


def _served(subject: Any, message: dict[str, Any], reader: Any, writer: Any) -> dict[str, Any]:
    from tilewright.judge.cell.protocol import Unsendable
    from tilewright.judge.failures import CandidateFailure

    command: Callable[..., dict[str, Any]] = getattr(subject, message["command"])
    arguments = {name: reader.value(value) for name, value in message["arguments"].items()}
    try:
        return {"answer": writer.message(command(**arguments), pickled=False)}
    except CandidateFailure as failure:
        return {"failure": {"outcome": failure.outcome.value, "reason": failure.reason}}
    except Unsendable as error:
        return {"failure": {"outcome": "mismatch", "reason": f"an output: {error}"}}


if __name__ == "__main__":
    main(sys.argv[1:])
