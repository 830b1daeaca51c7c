"""Takes quick times of many candidates, one after another in one process. Worker side.

In each round every candidate that is still in gets one turn, in random order: built anew, called once on
poisoned memory and compared with the reference, then timed a few times with a cold L2 cache. A fixed order
would favour some: the same binary was seen to move by up to 20 % with its place in one.

A candidate that differs from another, its base, in some kernels only is timed by their launches alone
(`replay`): what the rest of the base's forward takes is measured before each round and added.

A candidate that raises costs its turn. One that hangs, or breaks the device for this process, costs the
process: it leaves a note first, and the next process goes on behind it.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tilewright.candidate import Apart
from tilewright.errors import NotTimed
from tilewright.judge.answer.budget import Undecidable
from tilewright.judge.answer.compare import flatten
from tilewright.judge.failures import CandidateFailure, candidate_code
from tilewright.judge.means.poison import Poisoned, poison_free_memory
from tilewright.judge.sides import (
    build_candidate,
    build_reference,
    cloned,
    draw,
    forward,
    import_candidate,
    seed_everything,
)
from tilewright.judge.speed.statistics import median
from tilewright.judge.speed.stopwatch import Stopwatch
from tilewright.judge.trial import find_truth, same, settle
from tilewright.judge.verdict import Outcome
from tilewright.problem import import_problem
from tilewright.screening.halving import Round, ranking, survivors
from tilewright.screening.model import Notes, Visit, gathered
from tilewright.screening.replay import Replay, recorded
from tilewright.serial import structure

BROKEN = 3  # exit code of a process that a candidate took down; its note says how


def run(payload: Mapping[str, Any]) -> dict[str, Any] | None:
    """Go through the rounds, from where the notes end; see `screening.api.screen`.

    Returns:
        device; rounds, gone through. None where there is no GPU.

    Raises:
        ProblemError: the problem itself does not run.
        AmbiguousParameters: parameters cannot be matched.
        NotTimed: the reference gives nothing to compare with.
    """
    if payload["device"] == "cuda" and not torch.cuda.is_available():
        return None
    try:
        screen = Screen(payload)
    except Undecidable as reason:
        raise NotTimed(str(reason), mend="only what can be checked is timed") from reason
    return screen.run()


class Screen:
    """The candidates of one payload, the reference, and what its outputs are on one set of inputs."""

    def __init__(self, payload: Mapping[str, Any]) -> None:
        self.payload = payload
        self.device = torch.device(payload["device"])
        self.interpreted = self.device.type != "cuda"
        self.sources: dict[str, str] = dict(payload["sources"])
        self.notes = Notes(Path(payload["notes"]))
        self.stopwatch = Stopwatch(self.device)
        self.order = random.Random()
        self.classes: dict[str, Callable[..., nn.Module]] = {}
        self.apart = structure(payload["apart"], dict[str, Apart])
        self.rests: dict[Apart, float] = {}  # what a base does beside these kernels, microseconds
        path = payload["problem_path"]
        problem = import_problem(payload["problem"], path)
        self.seed = self.order.getrandbits(31)
        self.init_inputs, self.inputs = draw(problem, path, self.seed, self.device)
        self.reference = build_reference(problem, path, self.init_inputs, self.seed, self.device)
        self.truth = find_truth(
            self.reference, self.inputs, self.seed, path=path, precision=payload["precision"]
        )

    def run(self) -> dict[str, Any]:
        inside = list(self.sources)
        done = 0
        for number, rule in enumerate(structure(self.payload["rounds"], list[Round])):
            self._measure_rests(number, inside, rule.samples)
            self._round(number, rule, inside)
            timed = gathered(self.sources, self.notes.read())
            inside = survivors({label: timed[label] for label in inside}, rule, self.payload["keep"])
            done = number + 1
            if len(inside) <= self.payload["keep"] or self._late():
                break
        named = "cpu" if self.interpreted else torch.cuda.get_device_name()
        return {"device": named, "rounds": done, "inside": ranking({x: timed[x] for x in inside})}

    def _measure_rests(self, number: int, inside: list[str], samples: int) -> None:
        """What the bases' forwards take beside the kernels that candidates differ in.

        Where kernels cannot be launched by themselves, as when they wait for what another leaves behind,
        whole forwards are timed from then on.
        """
        self.rests = {}
        wanted = {self.apart[label] for label in inside if label in self.apart}
        for base in sorted({one.base for one in wanted}):
            if any(visit.problem for visit in self.notes.read() if visit.label in ("", base)):
                continue
            source = self.sources[base]
            with self._turn("", number), candidate_code(source, base, interpreted=self.interpreted):
                self._measure_rest(base, [one for one in wanted if one.base == base], samples)

    def _measure_rest(self, base: str, wanted: Sequence[Apart], samples: int) -> None:
        model, given = self._right(base)
        whole = median(self._sampled(lambda: model(*given), samples))
        for one in wanted:
            replay = recorded(lambda: model(*given), one.kernels)
            if replay is not None:
                self.rests[one] = max(0.0, whole - median(self._replayed(replay, samples)))

    def _round(self, number: int, rule: Round, inside: list[str]) -> None:
        """A turn for each; after the first round only until time is up."""
        visits = [visit for visit in self.notes.read() if not visit.began]
        over = {visit.label for visit in visits if visit.round == number or visit.problem}
        for label in self.order.sample(inside, len(inside)):
            if label in over:
                continue
            if number and self._late():
                return
            self._visit(label, number, rule.samples)

    def _visit(self, label: str, number: int, samples: int) -> None:
        with self._turn(label, number):
            with candidate_code(self.sources[label], label, interpreted=self.interpreted):
                times = self._times(label, samples)
            self.notes.add(Visit(label, number, times))

    @contextlib.contextmanager
    def _turn(self, label: str, number: int) -> Iterator[None]:
        """A failure inside is noted, and so is a turn that does not end, with the process."""
        self.notes.add(Visit(label, number))
        watchdog = threading.Timer(self.payload["visit_seconds"], self._hung, (label, number))
        watchdog.daemon = True
        watchdog.start()
        try:
            yield
        except CandidateFailure as failure:
            self.notes.add(Visit(label, number, problem=str(failure)))
            if failure.outcome is Outcome.CRASH:  # the device is lost to this process
                os._exit(BROKEN)
        finally:
            watchdog.cancel()

    def _times(self, label: str, samples: int) -> tuple[float, ...]:
        """Device times of a fresh instance, once its outputs were found right.

        Raises:
            CandidateFailure: they are not.
        """
        model, given = self._right(label)
        apart = self.apart.get(label)
        if apart in self.rests:
            replay = recorded(lambda: model(*given), apart.kernels)
            if replay is not None:
                return tuple(self.rests[apart] + us for us in self._replayed(replay, samples))
        return self._sampled(lambda: model(*given), samples)

    def _replayed(self, replay: Replay, samples: int) -> tuple[float, ...]:
        """Device times of launches by themselves, of all that they stand for."""
        return tuple(replay.weight * time_us for time_us in self._sampled(replay, samples))

    def _right(self, label: str) -> tuple[nn.Module, list[Any]]:
        """A fresh instance whose outputs are right, and inputs on which they are.

        Raises:
            CandidateFailure: they are not right.
        """
        model = self._built(label)
        given = cloned(self.inputs)
        if not self.interpreted:
            poison_free_memory()
        with Poisoned() if self.interpreted else contextlib.nullcontext():
            outputs = forward(model, given, self.seed)
        before, after = flatten(self.inputs), flatten(given)
        rewritten = [after[index] for index in self.truth.changed]
        comparison = settle(self.truth, lambda i: same(before[i], after[i]), outputs, rewritten)
        if comparison.reason:
            raise CandidateFailure(comparison.outcome, comparison.reason)
        return model, given

    def _sampled(self, run: Callable[[], object], samples: int) -> tuple[float, ...]:
        """Device times on a cold L2 cache, microseconds."""
        with torch.no_grad():
            return tuple(
                self.stopwatch.time(
                    lambda: seed_everything(self.seed), run, cold=True, ahead=lambda: None
                ).device
                for _ in range(samples)
            )

    def _built(self, label: str) -> nn.Module:
        """A new instance with the reference's parameters."""
        if label not in self.classes:
            self.classes[label] = import_candidate(self.sources[label], label)
        mapping = self.payload["mapping"]
        return build_candidate(
            self.classes[label], self.init_inputs, self.reference, self.seed, self.device, mapping
        )

    def _late(self) -> bool:
        return time.time() > float(self.payload["until"])

    def _hung(self, label: str, number: int) -> None:
        """Called from the watchdog's thread while the candidate holds the process."""
        waited = f"did not finish its turn within {self.payload['visit_seconds']:g} s"
        self.notes.add(Visit(label, number, problem=f"{Outcome.TIMEOUT}: {waited}"))
        os._exit(BROKEN)
