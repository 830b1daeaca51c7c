"""What a request says, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tilewright.gpu.model import Gpu
from tilewright.stages.catalogue import Match


@dataclass(frozen=True)
class Ignored:
    """A line of the request, or a part of one, that nothing was made of."""

    line: int
    text: str
    why: str


@dataclass(frozen=True)
class Guidance:
    """A titled list in the stage's text.

    Args:
        title: its heading; empty for what stands before the first one.
        items: without their bullets; a fenced example is one item of several lines.
    """

    title: str
    items: tuple[str, ...]


@dataclass(frozen=True)
class Threshold:
    """A limit that the stage's text sets on a metric: `launch__registers_per_thread > 128`.

    Args:
        metric: Nsight Compute's name, or the part of it that the request gives.
        relation: ">", ">=", "<" or "<=".
        value: in the metric's own unit.
    """

    metric: str
    relation: str
    value: float


@dataclass(frozen=True)
class Request:
    """A specialist request.

    Two requests are equal when they say the same, wherever its lines stand.

    Args:
        gpu_fields: label and value of each line of the GPU block, as given.
        gpu: the GPU they describe; None without a block, or when it describes none (see `notes`).
        focus: what the stage is about, one line; empty when the request does not say.
        match: the stage of our catalogue that the focus means; None when it means none.
        guidance: the lists of the stage's text, in order.
        thresholds: limits on metrics found in them.
        code: today's ModelNew file, without a placeholder at its head; None without one.
        profile: Nsight Compute metrics by kernel, each in the metric's own unit; empty without.
        profile_note: what stands in place of, or beside, the figures.
        task, api_constraints, output_rules: their lines without bullets.
        missing_functions: functions that the constraints say Triton lacks: "tl.tanh".
        path: where the request was read from.
        code_line: the request's line on which `code` begins; None without code.
        used: numbers of the lines that something was made of.
        ignored: every other line that is not blank.
        notes: what a reader should know about how the text was understood.
    """

    gpu_fields: tuple[tuple[str, str], ...] = ()
    gpu: Gpu | None = None
    focus: str = ""
    match: Match | None = None
    guidance: tuple[Guidance, ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    code: str | None = None
    profile: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    profile_note: str = ""
    task: tuple[str, ...] = ()
    api_constraints: tuple[str, ...] = ()
    missing_functions: tuple[str, ...] = ()
    output_rules: tuple[str, ...] = ()
    path: str = field(default="", compare=False)
    code_line: int | None = field(default=None, compare=False)
    used: tuple[int, ...] = field(default=(), compare=False)
    ignored: tuple[Ignored, ...] = field(default=(), compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def stage(self) -> str | None:
        """The name of the stage asked for, None when the focus means none of ours."""
        return self.match.stage if self.match else None

    @property
    def principles(self) -> tuple[str, ...]:
        """Items of the lists whose title speaks of principles."""
        return self._titled("principle")

    @property
    def rules(self) -> tuple[str, ...]:
        """Items of the lists whose title speaks of rules or guidelines."""
        return self._titled("rule", "guideline")

    def _titled(self, *words: str) -> tuple[str, ...]:
        return tuple(
            item
            for part in self.guidance
            if any(word in part.title.lower() for word in words)
            for item in part.items
        )
