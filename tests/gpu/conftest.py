"""What every test here needs: a GPU, and, where it launches kernels itself, that nobody times meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tilewright.gpu.turn import sharing


@pytest.fixture(autouse=True)
def gpu() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here")


@pytest.fixture
def shared(gpu: None) -> Iterator[None]:
    """The GPU beside others that share it; for tests that launch kernels in their own process."""
    with sharing():
        yield
