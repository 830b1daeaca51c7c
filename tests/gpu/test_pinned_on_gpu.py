"""Memory between judge and cell on a GPU: pinned, and from the device without a detour."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tilewright.judge.cell.pinned import pin, unpin  # noqa: E402
from tilewright.judge.cell.protocol import Reader, Writer  # noqa: E402

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("shared")]


def test_memory_is_pinned_until_it_is_let_go() -> None:
    torch.zeros(1, device="cuda")
    memory = torch.zeros(2**20, dtype=torch.uint8)
    assert not memory.is_pinned()
    pin(memory)
    assert memory.is_pinned()
    unpin(memory)
    assert not memory.is_pinned()


def test_values_on_the_device_come_over_in_messages_that_grow(tmp_path: Path) -> None:
    torch.zeros(1, device="cuda")
    path = tmp_path / "values.bin"
    path.touch()
    writer, reader = Writer(path), Reader(path, trusted=True, pinned=True)
    for count in (3, 1000, 70, 2**20 + 1):
        sent = torch.rand(count, 2, device="cuda").t()
        received = reader.value(writer.value({"x": sent, "n": torch.arange(count)}, pickled=True))
        assert reader.mapped.is_pinned()
        assert torch.equal(received["x"].tensor.cuda(), sent) and received["x"].device == "cuda"
        assert torch.equal(received["n"].tensor, torch.arange(count))
        writer.at = 0
    reader.close()
    writer.close()
