"""Large tensors are filled by pieces: from torch's seed alone, with the numbers that were asked for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tilewright.judge import drawing
from tilewright.judge.drawing import SharedDraws


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "LARGE", 4096)
    monkeypatch.setattr(drawing, "PIECE", 1000)


def drawn(seed: int) -> list[torch.Tensor]:
    torch.default_generator.manual_seed(seed)
    with SharedDraws():
        return [
            torch.rand(100, 100),
            torch.randn(5000, dtype=torch.float64),
            torch.empty(64, 64).uniform_(2.0, 3.0),
            torch.empty(10000).normal_(5.0, 0.1),
            nn.Linear(64, 64).weight.detach(),
            torch.rand(10),
        ]


def test_numbers_depend_on_the_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    first = drawn(1)
    monkeypatch.setattr("os.cpu_count", lambda: 7)
    assert all(torch.equal(one, other) for one, other in zip(first, drawn(1), strict=True))
    assert not any(torch.equal(one, other) for one, other in zip(first, drawn(2), strict=True))


def test_they_are_spread_as_asked_and_no_piece_is_another() -> None:
    uniform, normal, shifted, narrow, weight, _ = drawn(3)
    assert 0.0 <= uniform.min() < 0.01
    assert 0.99 < uniform.max() < 1.0
    assert abs(float(normal.mean())) < 0.1
    assert 0.9 < float(normal.std()) < 1.1
    assert 2.0 <= shifted.min() < shifted.max() <= 3.0
    assert 4.9 < float(narrow.mean()) < 5.1
    assert 0.11 < float(weight.abs().max()) <= 0.125  # 1/√64
    assert len(uniform.unique()) > 9000


def test_small_ones_and_those_with_a_generator_are_torch_s_own() -> None:
    torch.default_generator.manual_seed(1)
    plain = torch.rand(100), torch.empty(5000).uniform_(generator=torch.Generator().manual_seed(2))
    torch.default_generator.manual_seed(1)
    with SharedDraws():
        shared = torch.rand(100), torch.empty(5000).uniform_(generator=torch.Generator().manual_seed(2))
    assert all(torch.equal(one, other) for one, other in zip(plain, shared, strict=True))


def test_without_memory_nothing_is_filled() -> None:
    with torch.device("meta"), SharedDraws():
        assert nn.Linear(100, 100).weight.is_meta
        assert torch.rand(100, 100).is_meta
