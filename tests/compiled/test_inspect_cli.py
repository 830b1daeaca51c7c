"""The inspect command."""

import json
from pathlib import Path

import pytest

from tilewright.cli import main

pytest.importorskip("triton")
pytestmark = pytest.mark.compiled

KERNELS = Path(__file__).parents[1] / "data" / "kernels_inspect"
PROBLEM = str(KERNELS / "vector_problem.py")


def run(name: str, *options: str) -> int:
    return main(["inspect", str(KERNELS / f"{name}.py"), "--problem", PROBLEM, "--gpu", "rtx4090", *options])


def test_json_is_one_document_with_its_evidence(capsys):
    assert run("elementwise", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["gpu"] == "RTX 4090"
    assert document["resources"][0]["kernel"] == "relu_kernel"
    assert document["floor"]["floor_us"]["evidence"] == "estimated"


def test_the_table_speaks_nsight_compute(capsys):
    assert run("two_kernels") == 0
    shown = capsys.readouterr().out
    for word in (
        "launch__registers_per_thread",
        "scale_kernel (4 ×",
        "longest chain",
        "compiled",
        "estimated",
    ):
        assert word in shown


def test_a_kernel_that_cannot_run_is_a_no(capsys):
    assert run("broken") == 1
    assert "tanh" in capsys.readouterr().out


def test_a_value_read_on_the_host_is_bad_input(capsys):
    assert run("reads_item") == 2
    assert "reads_item.py:16: ModelNew reads a tensor's value on the host" in capsys.readouterr().err
