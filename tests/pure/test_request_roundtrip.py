"""What is rendered parses to the same values, whatever the request holds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilewright.errors import RequestError
from tilewright.gpu.catalogue import catalogue
from tilewright.gpu.model import Gpu
from tilewright.request import compose, parse, render
from tilewright.stages.catalogue import KINDS, stages
from tilewright.stages.model import Stage

STAGES = [stage for kind in KINDS for stage in stages(kind)]
LINES = st.sampled_from(
    [
        "", "  ", "```", "```python", "````", "~~~", "`x`", "[CURRENT CODE]", "[1, 2]", "# Task",
        "# <code>", "x = 1", "class ModelNew:", '    """', "    pass", "OUTPUT RULES:", "**Task**: none",
        "{", "}", "Focus: grid", "é ∈ 日本",
    ]
)  # fmt: skip
CODE = st.one_of(st.lists(LINES, max_size=12).map("\n".join), st.text(max_size=80)).filter(
    lambda code: any(line.strip() and not line.strip().startswith("#") for line in code.splitlines())
)
NAMES = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=20)
PROFILES = st.dictionaries(
    NAMES, st.dictionaries(NAMES, st.floats(allow_nan=False, allow_infinity=False), max_size=3), max_size=3
)


@settings(deadline=None)
@given(gpu=st.sampled_from(catalogue()), stage=st.sampled_from(STAGES), code=CODE, profile=PROFILES)
def test_a_request_of_our_own_reads_back_the_same(
    gpu: Gpu, stage: Stage, code: str, profile: dict[str, dict[str, float]]
) -> None:
    request = compose(gpu, stage, code, profile)
    again = parse(render(request))
    assert again == request
    assert again.stage == stage.name
    assert again.gpu == request.gpu
    assert not again.ignored


@pytest.mark.parametrize(
    "note", ["not profiled: no permission to read counters", "No metrics.\nNone at all."]
)
def test_a_note_stands_in_for_the_profile(note: str) -> None:
    request = compose(catalogue()[0], STAGES[0], "x = 1", {}, note)
    assert parse(render(request)) == request
    assert request.profile_note == " ".join(note.split())


def test_a_request_without_a_gpu_or_a_profile_reads_back_the_same() -> None:
    request = parse("Focus: tiles\n\n[CURRENT CODE]\n```\nx = 1\n```\n")
    assert request.gpu is None
    assert parse(render(request)) == request


PIECES = [
    "[TARGET GPU]", "# Target GPU", "GPU: L4", "GPU Name: 4090", "- Number of SMs: 12", "* **SMs**: 3",
    "Colour: red", "[OPTIMIZATION STAGE]", "[OPTIMIZATION STAGE]f", "## Current Optimization Stage",
    "### Stage", "Focus: grid", "**Focus**: tile sizes", "- Focus: loads", "### Focus", "Rules:",
    "**Rules**:", "- **Rules**:", "### Rules", "- a", "* b: c", "1. one", "• launch__grid_size > 4",
    "- **M**: 64", "**Hint**: try it", "NCU Metrics:", "**Metrics**", "- Code:", "Code:", "Output:",
    "**Output rules**: x", "- **Output rules**:", "### Task", "Task: go", "# Notes", "[NOTES]",
    "**Notes**", "Note: x", "```", "```python", "~~~", "````", "x = 1", "# comment", "class ModelNew:",
    "    pass", "# <placeholder>", "[CURRENT CODE]", "**Current code**:", "[PROFILE]",
    "[NCU PROFILING METRICS]", "{}", '{"k": {"m": 1}}', '{"k": {"m": "n/a", "n": 2}}', "none available",
    "API CONSTRAINTS:", "- no tl.tanh, use tl.exp", "OUTPUT RULES (STRICT):", "- - nested", "-", "—",
    "  indented", "\tTab:", "[M, N]", "**bold** text", "A: B: C", "IF x > 3:", "#", "###", "****", "**",
    "** **:", "Metrics: b", "**Metrics: b**", "Focus:", "[STAGE] tiles", "[x]",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=20)), max_size=25).map("\n".join))
def test_any_heap_of_lines_is_accounted_for_and_settles_after_one_rendering(text: str) -> None:
    try:
        request = parse(text)
    except RequestError:
        return
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    told = {*request.used, *(item.line for item in request.ignored)}
    assert told == {number for number, line in enumerate(lines, start=1) if line.strip()}
    assert parse(render(request)) == request
