"""The launch configuration of one kernel, as a value that can be stored and replayed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

OPTIONS = ("num_warps", "num_stages")
DEFAULT_WARPS, DEFAULT_STAGES = 4, 3  # what Triton takes when a launch names neither (3.6 and 3.9)


@dataclass(frozen=True)
class Setting:
    """Tile extents in elements by parameter name, warps a program, and pipeline stages of its loops."""

    tiles: tuple[tuple[str, int], ...]
    num_warps: int = DEFAULT_WARPS
    num_stages: int = DEFAULT_STAGES

    def __getitem__(self, tile: str) -> int:
        return dict(self.tiles)[tile]

    @property
    def size(self) -> tuple[int, int, int]:
        """What orders settings by what they ask of an SM: tile elements, warps, stages."""
        return math.prod(extent for _, extent in self.tiles), self.num_warps, self.num_stages

    def changes(self, other: Setting) -> list[str]:
        """How `other` differs, each as "BLOCK_M 64 → 32"."""
        mine, theirs = self._flat(), other._flat()
        return [
            f"{name} {mine.get(name, '?')} → {value}"
            for name, value in theirs.items()
            if mine.get(name) != value
        ]

    def _flat(self) -> dict[str, int]:
        return {**dict(self.tiles), "num_warps": self.num_warps, "num_stages": self.num_stages}

    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in self._flat().items())

    @classmethod
    def read(cls, text: str) -> Setting:
        """The setting that `str` wrote."""
        pairs = [part.split("=") for part in text.split()]
        values = {name: int(value) for name, value in pairs}
        warps, stages = values.pop("num_warps"), values.pop("num_stages")
        return cls(tuple(values.items()), warps, stages)


Settings = Mapping[str, Setting]  # by kernel name


def written(settings: Settings) -> dict[str, str]:
    """Settings as a candidate carries them."""
    return {kernel: str(setting) for kernel, setting in settings.items()}


def read(texts: Mapping[str, str]) -> dict[str, Setting]:
    """The settings that a candidate carries."""
    return {kernel: Setting.read(text) for kernel, text in texts.items()}
