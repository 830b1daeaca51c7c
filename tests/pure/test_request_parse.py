"""Requests in many wordings are understood, and every line of them is accounted for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilewright.errors import RequestError
from tilewright.request import Guidance, Request, Threshold, parse, read_request

DATA = Path(__file__).parents[1] / "data" / "requests"
SAMPLES = Path(__file__).parents[3] / "shared" / "requests"
FILES = [*sorted(DATA.glob("*.*")), *sorted(SAMPLES.glob("*.txt"))]


def ignored(request: Request) -> dict[str, str]:
    return {item.text: item.why for item in request.ignored}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_line_is_used_or_reported(path: Path) -> None:
    request = read_request(path)
    lines = path.read_text().split("\n")
    assert {*request.used, *(item.line for item in request.ignored)} == {
        number for number, line in enumerate(lines, start=1) if line.strip()
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_line_endings_do_not_matter(path: Path) -> None:
    text = path.read_text()
    assert parse(text.replace("\n", "\r\n")) == parse(text) == parse("\ufeff" + text)


def test_plain_headings_and_code_without_a_fence() -> None:
    request = read_request(DATA / "plain_headings.txt")
    assert request.gpu is not None
    assert (request.gpu.name, request.gpu.memory_bandwidth_gbs) == ("H100 SXM", 3350.0)
    assert request.gpu.tflops["bf16"] == pytest.approx(989.5)
    assert request.stage == "advanced_memory"
    assert request.focus == "choose num_warps and num_stages"
    assert request.rules == (
        "1. keep four warps unless launch__registers_per_thread < 64",
        "2. at most three settings",
    )
    assert request.thresholds == (Threshold("launch__registers_per_thread", "<", 64.0),)
    assert request.code is not None
    assert request.code.startswith("import torch\n")
    assert "# Rows are independent." in request.code
    assert request.code.rstrip().endswith("pass")
    assert request.code_line == 18
    assert request.profile == {}
    assert request.profile_note == "Not collected on this machine."
    assert request.task == ("shorten the forward",)
    assert ignored(request) == {"Favourite colour: green": "says nothing we know of a GPU"}


def test_bold_headings_with_bullets_and_a_docstring_that_holds_a_fence() -> None:
    request = read_request(DATA / "bold_bullets.md")
    assert request.gpu is not None
    assert request.gpu.name == "L40S"
    assert request.match is not None
    assert (request.match.stage, request.match.kind) == ("memory_access", "fusion")
    assert request.principles == ("read once",)
    assert [limit.value for limit in request.thresholds] == [70.0, 96.0]
    assert request.code is not None
    assert request.code.splitlines()[0] == "import triton"
    assert request.code.splitlines()[-1] == "    pass"
    assert request.code_line == 18
    assert (request.profile, request.profile_note) == ({}, "")
    assert request.missing_functions == ("tl.gelu", "tl.mish", "tl.sigmoid")
    assert len(request.api_constraints) == 2
    assert "- this is prose" in ignored(request)
    assert "Nobody reads this." in ignored(request)
    assert len([note for note in request.notes if "placeholder" in note]) == 2


def test_markdown_levels_several_blocks_and_a_sloppy_profile() -> None:
    request = read_request(DATA / "markdown_levels.md")
    assert request.gpu is not None
    assert request.gpu.name == "RTX 5090"
    assert request.code == "import triton\n\nclass ModelNew:\n    pass\n"
    assert request.profile == {
        "softmax_kernel": {
            "launch__grid_size": 4096.0,
            "dram__throughput.avg.pct_of_peak_sustained_elapsed": 81.5,
        },
        "softmax_kernel (2)": {"launch__grid_size": 1.0},
    }
    assert request.focus == "tile sizes"
    assert request.guidance == (
        Guidance("Metrics", ("read the occupancy first",)),
        Guidance("Example", ("a\nb",)),
    )
    assert request.output_rules == ("1. imports", "2. kernels")
    reasons = ignored(request)
    assert reasons["def reference(): ..."] == "a block that is not today's code"
    assert reasons["# <answer>"] == "a placeholder for the answer"
    assert reasons["[4096, 1024]"] == "in a section that means nothing here"
    assert any("is not a number" in why for why in reasons.values())


STRAY = "[OPTIMIZATION STAGE]q\nFocus: grid\n[CURRENT CODE]\n```python\nx = 1\n```\n"


def test_a_stray_letter_behind_a_tag_is_reported_and_harmless() -> None:
    request = parse(STRAY)
    assert (request.stage, request.code) == ("grid_and_parallel", "x = 1\n")
    assert [(item.line, item.text) for item in request.ignored] == [(1, "q")]


@pytest.mark.parametrize(
    "heading",
    [
        "[CURRENT CODE]",
        "# Current Code",
        "**Current code**:",
        "Current code:",
        "CURRENT CODE",
        "[Code]",
        "### [Code]",
    ],
)
def test_headings_of_every_form_open_their_section(heading: str) -> None:
    assert parse(f"Focus: tiles\n\n{heading}\n```\nx = 1\n```\n").code == "x = 1\n"


def test_an_example_in_the_stage_and_the_answer_s_placeholder_are_not_the_code() -> None:
    request = parse(
        "[STAGE]\nFocus: loads\nPattern:\n```\nclass ModelNew: pass\nx = 2\n```\n"
        "OUTPUT RULES:\n- one file\n```python\n# <answer>\n```\n"
    )
    assert request.code is None
    assert "the request has no current code" in request.notes
    assert request.guidance == (Guidance("Pattern", ("class ModelNew: pass\nx = 2",)),)


def test_code_outside_its_section_is_found_by_what_it_is() -> None:
    request = parse("Make this faster.\n\n```python\nclass ModelNew:\n    pass\n```\n")
    assert request.code == "class ModelNew:\n    pass\n"
    assert "the code is taken from line 4, outside a section for it" in request.notes
    assert request.task == ("Make this faster.",)


def test_a_sentence_in_place_of_code_is_no_code() -> None:
    request = parse("[TARGET GPU]\nGPU: A100\n\n[CURRENT CODE]\n(see attachment)\n")
    assert request.code is None
    assert "the request has no current code" in request.notes


def test_numbered_headings_open_their_section() -> None:
    request = parse(
        "1. TARGET GPU\nGPU: A100\n\n2. STAGE\nFocus: grid\n\n3. CODE\n```python\nimport triton\n```\n"
    )
    assert (request.gpu and request.gpu.name, request.stage) == ("A100 80GB", "grid_and_parallel")
    assert request.code == "import triton\n"


def test_a_fence_that_never_closes_ends_at_the_next_tag() -> None:
    request = parse(
        "[CURRENT CODE]\n```python\nx = 1\n\n[NCU PROFILING METRICS]\n{}\n\n"
        "OUTPUT RULES:\n```python\n# <a>\n```\n"
    )
    assert request.code == "x = 1\n\n"
    assert any("never closes" in note for note in request.notes)


def test_a_metric_list_in_the_stage_is_not_the_profile() -> None:
    request = parse(
        "[STAGE]\n**Focus**: tiles\n**NCU Metrics**:\n- `launch__grid_size` (target > 100)\n"
        '[NCU PROFILING METRICS]\n{"k": {"launch__grid_size": 4}}\n'
    )
    assert request.thresholds == (Threshold("launch__grid_size", ">", 100.0),)
    assert request.profile == {"k": {"launch__grid_size": 4.0}}


def test_metrics_without_a_kernel_and_python_spelling_are_read() -> None:
    request = parse("[PROFILE]\n{'launch__grid_size': 4, 'waves': 0.5,}\n[CODE]\n```\nx=1\n```\n")
    assert request.profile == {"": {"launch__grid_size": 4.0, "waves": 0.5}}


FIGURES = {"mul_kernel": {"dram__throughput.avg.pct": 88.1, "launch__registers_per_thread": 24.0}}


@pytest.mark.parametrize(
    "profile",
    [
        """| Kernel | `dram__throughput.avg.pct` | launch__registers_per_thread |
|:---|---:|---|
| mul_kernel | 88.1 % | 24 |""",
        """| Metric | Unit | mul_kernel |
|---|---|---|
| dram__throughput.avg.pct | % | 88.1 |
| launch__registers_per_thread | register/thread | 24 |""",
        """mul_kernel:
  - dram__throughput.avg.pct: 88.1 % (high)
  - launch__registers_per_thread = 24""",
        """**mul_kernel**
| Metric | Value | Target |
|---|---|---|
| dram__throughput.avg.pct | 88.1% | 60 |
| launch__registers_per_thread | 24 | 128 |""",
        """```
  mul_kernel (98304, 1, 1)x(128, 1, 1), Context 1, Stream 7, Device 0, CC 8.9
    Section: Command line profiler metrics
    ---------------------------- --------------- ------------
    Metric Name                      Metric Unit Metric Value
    dram__throughput.avg.pct                   %        88.10
    launch__registers_per_thread register/thread           24
    ---------------------------- --------------- ------------
```""",
    ],
)
def test_metrics_in_tables_and_lists_are_read(profile: str) -> None:
    request = parse(f"[TARGET GPU]\nGPU: A100\n\n[NCU METRICS]\n{profile}\n")
    assert request.profile == FIGURES


def test_a_limit_in_the_profile_is_no_figure() -> None:
    request = parse("[TARGET GPU]\nGPU: A100\n\n[NCU METRICS]\nlaunch__registers_per_thread > 128\n")
    assert request.profile == {}


def test_a_gpu_may_stand_in_a_table() -> None:
    table = "| Property | Value |\n|---|---|\n| **GPU Name** | A100-SXM4-80GB |\n| Number of SMs | 108 |"
    request = parse(f"## Target GPU\n\n{table}\n")
    assert request.gpu is not None
    assert (request.gpu.name, request.gpu.sms) == ("A100 80GB", 108)


def test_a_gpu_that_cannot_be_built_is_a_note_not_a_failure() -> None:
    request = parse("# Target GPU\nGPU Name: Prototype X\n\n[CURRENT CODE]\n```\nx = 1\n```\n")
    assert request.gpu is None
    assert request.gpu_fields == (("GPU Name", "Prototype X"),)
    assert any("leaves out compute_capability" in note for note in request.notes)


def test_sections_may_come_in_any_order_and_be_absent() -> None:
    whole = parse((DATA / "markdown_levels.md").read_text())
    blocks = (DATA / "markdown_levels.md").read_text().split("\n## ")
    shuffled = parse("\n## ".join([blocks[0], *reversed(blocks[1:])]))
    assert shuffled == whole


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[PROFILE]\n{\n  "k": {"m": 1.0 "n": 2}\n}\n', 3),
        ('[PROFILE]\n\n{"k": {"m": 1.0}\n\n[CODE]\n```\nx=1\n```\n', 3),
    ],
)
def test_a_broken_profile_names_the_line(text: str, line: int) -> None:
    with pytest.raises(RequestError, match=rf"^r\.txt:{line}: the profile cannot be read"):
        parse(text, "r.txt")


@pytest.mark.parametrize("text", ["", "\n\n", "Hello there.\n", "[TASK]\nrun\n"])
def test_nothing_usable_is_an_error_that_says_what_to_add(text: str) -> None:
    with pytest.raises(
        RequestError, match=r"no current code, no GPU and no stage; give at least a \[CURRENT CODE\]"
    ):
        parse(text)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no such file; give the path of a request"):
        read_request(tmp_path / "absent.txt")
