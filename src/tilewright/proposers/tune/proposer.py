"""Launch tuning: the same kernels with other tiles, warps and stages."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tilewright.candidate import Apart, Candidate
from tilewright.inspect.model import Inspection
from tilewright.kernelfile import KernelFile
from tilewright.proposers.base import Proposals, Situation
from tilewright.proposers.rewrite.base import Declined, View
from tilewright.proposers.rewrite.constant_sizes import ALL, ConstantSizes
from tilewright.proposers.tune.rewrite import RewriteDeclined, apply_settings, install_autotune
from tilewright.proposers.tune.setting import Setting, Settings, read, written
from tilewright.proposers.tune.space import Pressure, combinations, neighbours, pressure, shares_of
from tilewright.proposers.tune.tunables import Tunable, find_tunables

CONSTANT = "sizes as constants"
FEW = 24  # with no more candidates than that, tiles are at most halved or doubled


class LaunchTuning:
    """Varies the launch constants of a file's kernels around their present values.

    Sizes made constants are part of the space: on public files they gave 1.09x alone, up to 1.8x, and moved
    the best tiles, so that tuning first and specialising afterwards lost up to 15 %.
    """

    name = "launch tuning"
    stages = frozenset({"block_tiling", "advanced_memory"})
    winners = 3
    portable = True

    def propose(self, situation: Situation) -> Proposals:
        """Candidates near the best file so far, one kernel at a time and all at once.

        Raises:
            KernelFileError: the best candidate is not Python or holds no kernel.
        """
        if situation.best is None:
            return Proposals((), ("there is no code yet whose launches could be tuned",))
        around = Around.of(situation)
        notes, candidates = list(around.notes), dict[str, Candidate]()
        for configuration in around.configurations:
            try:
                made = around.written(configuration)
            except RewriteDeclined as reason:
                notes.append(str(reason))
                continue
            if made.source != situation.best.source:
                candidates.setdefault(made.id, made)
        taken = tuple(candidates.values())[: situation.most]
        if not taken:
            notes.append("no launch constant of this file can be varied")
        elif len(taken) < around.size:
            notes.append(f"{len(taken)} of {around.size} configurations around the present one were proposed")
        return Proposals(taken, tuple(dict.fromkeys(notes)))

    def finish(self, situation: Situation, winners: Sequence[Candidate]) -> Proposals:
        """One file whose kernels choose, by @triton.autotune, among the settings that won.

        Each kernel that any winner changed gets the setting of the best one that did, which joins what was
        tuned kernel by kernel; the next best that another winner gave it; and a smaller fallback. A kernel
        that cannot be autotuned safely keeps its setting, and a note says why. What other GPUs and sizes of
        the run prefer has the first claim to the places behind the best.
        """
        if not winners:
            return Proposals(())
        source, settings = _joined(winners)
        tunables = {t.name: t for t in find_tunables(KernelFile.parse(source), None)[0]}
        before = KernelFile.parse(situation.best.source if situation.best else source)
        sizes_of = {kernel.name: kernel.sizes for kernel in before.kernels}
        preferred = [_settings_of(candidate, situation) for candidate in situation.elsewhere]
        for name in dict.fromkeys(name for one in preferred for name in one if name in tunables):
            settings.setdefault(name, tunables[name].current)
        notes, written_down = list[str](), written(settings)
        for name, setting in settings.items():
            if name not in tunables:
                continue
            there = [one[name] for one in preferred if name in one]
            rivals = [s for w in winners if (s := read(w.settings).get(name)) is not None]
            configs = _configs(tunables[name], setting, [*there, *rivals], situation)
            notes += [f"{name}: no room for {s}, preferred elsewhere" for s in there if s not in configs]
            try:
                source = install_autotune(source, name, configs, sizes_of[name])
            except RewriteDeclined as reason:
                notes.append(f"{name} is not autotuned, it keeps {setting}: {reason}")
            else:
                written_down[name] = "; ".join(map(str, configs))
        if source == winners[0].source:
            return Proposals((), tuple(notes))
        chosen = [name for name in settings if written_down[name] != str(settings[name])]
        parts = [f"{' and '.join(settings)}: what was tuned apart, together"] if len(settings) > 1 else []
        if chosen:
            parts.append(f"{' and '.join(chosen)}: two or three settings to choose from at run time")
        made = Candidate(
            source, situation.stage.name, self.name, "; ".join(parts), winners[0].id, written_down
        )
        return Proposals((made,), tuple(notes))


Configuration = tuple[Settings, str]  # of kernels by name, and the form of the file they are written into


@dataclass(frozen=True)
class Around:
    """What there is around the best file so far, each configuration written when it is asked for.

    Args:
        configurations: the most promising first, no more than about as many as are wanted.
        size: of all there are.
        texts: of the file by form, as it is under "".
        felt: by kernel, what it is short of.
        idle: kernels that the forward does not launch.
    """

    situation: Situation
    configurations: tuple[Configuration, ...]
    size: int
    texts: Mapping[str, str]
    tunables: Sequence[Tunable]
    felt: Mapping[str, Pressure]
    idle: frozenset[str]
    notes: tuple[str, ...]

    @staticmethod
    def of(situation: Situation) -> Around:
        """Raises KernelFileError where the best candidate is not Python or holds no kernel."""
        assert situation.best is not None
        source, stage, gpu = situation.best.source, situation.stage, situation.gpu
        tunables, found = find_tunables(KernelFile.parse(source, Path("current.py")), situation.inspection)
        idle = frozenset(t.name for t in tunables if not _is_launched(t, situation.inspection))
        felt = {t.name: pressure(t, situation.inspection, gpu, stage) for t in tunables}
        steps = 1 if situation.most <= FEW else 2
        ranked = [[] if t.name in idle else neighbours(t, stage, felt[t.name], gpu, steps) for t in tunables]
        texts = {"": source}
        if constant := _with_constant_sizes(situation):
            texts = {CONSTANT: constant, **texts}
        each = max(1, (situation.most - len(texts) + 1) // len(texts))
        settings_of = [{}, *combinations(tunables, ranked, each, shares_of(situation.inspection))]
        return Around(
            situation,
            tuple(itertools.product(settings_of, texts)),
            len(texts) * math.prod(1 + len(settings) for settings in ranked) - 1,
            texts,
            tunables,
            felt,
            idle,
            (*found, *(f"{name} is left alone: the forward does not launch it" for name in sorted(idle))),
        )

    def written(self, configuration: Configuration) -> Candidate:
        """The file with these settings.

        Raises:
            RewriteDeclined: they cannot be written into it.
        """
        settings, form = configuration
        text = self.texts[form]
        changed = apply_settings(text, settings)
        why = _why(settings, self.tunables, {name: self.felt[name].why for name in settings})
        known = settings or {t.name: t.current for t in self.tunables if t.name not in self.idle}
        apart = Apart(Candidate(text).id, tuple(sorted(settings))) if settings else None
        parent = self.situation.best
        return Candidate(
            changed,
            self.situation.stage.name,
            LaunchTuning.name,
            "; ".join(part for part in (form, why) if part),
            parent.id if parent else None,
            written(known),
            apart,
        )


def _is_launched(tunable: Tunable, inspection: Inspection | None) -> bool:
    """Whether the recorded forward launches a kernel; so it is taken to where nothing was recorded."""
    launched = {launch.kernel for launch in inspection.recording.launches} if inspection else set()
    return not launched or tunable.name in launched


def _settings_of(candidate: Candidate, situation: Situation) -> dict[str, Setting]:
    """What a candidate chose; of the best so far, which chose nothing, what it has."""
    if candidate != situation.best:
        return read(candidate.settings)
    return {t.name: t.current for t in find_tunables(KernelFile.parse(candidate.source), None)[0]}


def _joined(winners: Sequence[Candidate]) -> tuple[str, dict[str, Setting]]:
    """The best winner's file, every kernel it leaves alone with the setting of the next best that does not.

    A setting that cannot be written there, because it would change a literal that another needs, is left out.
    """
    source, settings = winners[0].source, dict(read(winners[0].settings))
    for winner in winners[1:]:
        theirs = read(winner.settings)
        if settings.keys() & theirs.keys():
            continue
        try:
            source = apply_settings(source, {**settings, **theirs})
        except RewriteDeclined:
            continue
        settings |= theirs
    return source, settings


def _with_constant_sizes(situation: Situation) -> str:
    """The best file so far with every kernel's sizes as constants; empty where no kernel allows it."""
    if situation.best is None or situation.inspection is None:
        return ""
    source, changed = situation.best.source, False
    for kernel in KernelFile.parse(source).kernels:
        view = View(KernelFile.parse(source), situation.inspection.recording, situation.gpu)
        try:
            source = ConstantSizes().apply(view, view.file.kernel(kernel.name), ALL)
        except Declined:
            continue
        changed = True
    return source if changed else ""


def _configs(
    tunable: Tunable, best: Setting, rivals: Sequence[Setting], situation: Situation
) -> list[Setting]:
    """The best, the next best where there is room, and one that asks less of an SM than the best."""
    most = max(2, situation.stage.max_configs)
    others = [s for s in dict.fromkeys(rivals) if s != best]
    smaller = [s for s in others if s.size < best.size]
    fallback = smaller[:1] or [s for s in [_halved(tunable, best)] if s != best]
    configs = [best, *[s for s in others if s not in fallback][: most - 1 - len(fallback)], *fallback]
    return configs[:most]


def _halved(tunable: Tunable, best: Setting) -> Setting:
    """A smaller setting: the largest tile halved, else fewer warps, else one stage less."""
    least = 16 if tunable.dots else 32
    name, extent = max(best.tiles, key=lambda pair: pair[1], default=("", 0))
    if extent // 2 >= least:
        tiles = tuple((n, e // 2 if n == name else e) for n, e in best.tiles)
        return Setting(tiles, best.num_warps, best.num_stages)
    if best.num_warps > 1:
        return Setting(best.tiles, best.num_warps // 2, best.num_stages)
    return Setting(best.tiles, best.num_warps, max(1, best.num_stages - 1))


def _why(settings: Settings, tunables: Sequence[Tunable], because: Mapping[str, str]) -> str:
    """What changes, and what points there: "step_kernel: BLOCK_H 64 → 32 (now 4 programs for 132 SMs)"."""
    parts = []
    for tunable in tunables:
        if tunable.name in settings:
            changes = tunable.current.changes(settings[tunable.name])
            reason = f" (now {because[tunable.name]})" if because.get(tunable.name) else ""
            if changes:
                parts.append(f"{tunable.name}: {', '.join(changes)}{reason}")
    return "; ".join(parts)
