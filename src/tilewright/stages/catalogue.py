"""The stage catalogue, read from `catalogue.toml`, and the stage that a request's focus means."""

from __future__ import annotations

import functools
import re
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any

from tilewright.errors import InputError
from tilewright.serial import structure
from tilewright.stages.model import Stage

KINDS = ("single", "fusion", "network")


@dataclass(frozen=True)
class Match:
    """The stage that a focus means.

    Args:
        stage, kind: its name and kind in the catalogue.
        score: words of the keywords found, summed; 1 is a single weak hint.
        keywords: those found, in the catalogue's order.
    """

    stage: str
    kind: str
    score: int
    keywords: tuple[str, ...]


@functools.cache
def stages(kind: str) -> tuple[Stage, ...]:
    """The stages for one kind of model, in the order in which they run.

    Raises:
        InputError: no such kind.
    """
    if kind not in KINDS:
        raise InputError(f"no kind of model is called {kind!r}", mend=f"choose among {', '.join(KINDS)}")
    found = []
    for name, entry in _data()["stages"].items():
        shared = {key: value for key, value in entry.items() if key not in KINDS}
        fields = {**shared, **entry[kind]}
        found.append(structure({"name": name, "kind": kind, **fields}, Stage))
    return tuple(found)


def match_focus(focus: str, body: str = "") -> Match | None:
    """The stage that a focus line means, by the keywords it holds; None when it holds none.

    The stage whose keywords hold the most words wins, and between equals the one that the focus
    mentions first.

    Args:
        focus: the line itself, in any wording.
        body: the text below it, which only helps to tell the kind of model.
    """
    best: tuple[int, int, Match] | None = None
    for stage in stages(KINDS[0]):
        places = {word: place for word in stage.keywords if (place := _place(word, focus)) is not None}
        if not places:
            continue
        score = sum(len(re.findall(r"[a-z]+", word)) for word in places)
        match = Match(stage.name, _kind(f"{focus}\n{body}"), score, tuple(places))
        ranked = (score, -min(places.values()), match)
        if best is None or ranked[:2] > best[:2]:
            best = ranked
    return best[2] if best else None


def _kind(text: str) -> str:
    for kind, stems in _data()["kinds"].items():
        if any(_place(stem, text) is not None for stem in stems):
            return str(kind)
    return KINDS[0]


def _place(stem: str, text: str) -> int | None:
    """Where a word that begins with the stem stands in the text; `_` and `-` count as blanks."""
    plain = re.sub(r"[_-]", " ", text.lower())
    found = re.search(rf"(?<![a-z]){re.escape(stem)}", plain)
    return found.start() if found else None


@functools.cache
def _data() -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("catalogue.toml").read_text("utf-8"))
