"""The names that users may rely on."""

from __future__ import annotations

import tilewright


def test_exported_names_are_pinned() -> None:
    assert tilewright.__all__ == [
        "Candidate",
        "Evidence",
        "Figure",
        "Gpu",
        "Inspection",
        "KernelFile",
        "Outcome",
        "Problem",
        "Request",
        "Summary",
        "TilewrightError",
        "Timing",
        "Verdict",
        "check",
        "find_gpu",
        "inspect_launches",
        "model_new",
        "optimize",
        "parse_request",
        "time_sides",
        "verify_run",
    ]


def test_every_exported_name_resolves_and_is_documented() -> None:
    for name in tilewright.__all__:
        assert getattr(tilewright, name).__doc__
