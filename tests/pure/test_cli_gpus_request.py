"""`tilewright gpus` and `tilewright request`, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tilewright.cli import main
from tilewright.gpu.catalogue import catalogue
from tilewright.request import parse, read_request

DATA = Path(__file__).parents[1] / "data" / "requests"


def test_gpus_lists_the_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpus"]) == 0
    shown = capsys.readouterr().out
    assert all(gpu.name in shown for gpu in catalogue())


def test_one_gpu_is_shown_with_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpus", "a100-80gb"]) == 0
    shown = capsys.readouterr().out
    assert "2039 GB/s" in shown
    assert "data sheet" in shown


def test_gpus_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpus", "h100", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [gpu["name"] for gpu in document["gpus"]] == ["H100 SXM"]
    assert "plugged" not in document


def test_an_unknown_gpu_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpus", "rtx4091"]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert "did you mean RTX 4090" in output.err


def test_request_show_says_what_was_understood_and_what_was_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["request", "show", str(DATA / "plain_headings.txt")]) == 0
    shown = capsys.readouterr().out
    assert "advanced_memory" in shown
    assert "line 8: Favourite colour: green" in shown


def test_request_show_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["request", "show", str(DATA / "markdown_levels.md"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["gpu"]["name"] == "RTX 5090"
    assert document["match"]["stage"] == "block_tiling"
    assert document["ignored"][0]["line"] == 1


def test_request_render_writes_what_reads_back_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = DATA / "bold_bullets.md", tmp_path / "again.txt"
    assert main(["request", "render", str(source), "-o", str(target)]) == 0
    assert capsys.readouterr().out == ""
    assert read_request(target) == read_request(source)
    assert main(["request", "render", str(source)]) == 0
    assert parse(capsys.readouterr().out) == read_request(source)


@pytest.mark.parametrize("command", ["show", "render"])
def test_no_such_request(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["request", command, str(tmp_path / "absent.txt")]) == 2
    assert "absent.txt: no such file; give the path of a request" in capsys.readouterr().err


def test_a_target_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["request", "render", str(DATA / "bold_bullets.md"), "-o", str(tmp_path)]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["gpus"], ["request"], ["request", "show"], ["request", "render"]])
def test_help_ends_in_an_example(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "--help"]) == 0
    assert "Example: tilewright" in capsys.readouterr().out
