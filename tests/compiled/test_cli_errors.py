"""Bad input: one line naming the file, the line and the mend, exit code 2, nothing lost or overwritten."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tilewright.cli import main

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "vanilla_rnn"
PROBLEM = EXAMPLE / "problem.py"
CURRENT = EXAMPLE / "current.py"

SMALL_PROBLEM = """
import torch

class Model(torch.nn.Module):
    def forward(self, x):
        return x + 1

def get_inputs():
    return [torch.randn(1024)]

def get_init_inputs():
    return []
"""
KERNEL = """
import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def add_kernel(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n)
    BODY
    tl.store(y_ptr + at, x + 1, mask=at < n)


def add(x):
    y = torch.empty_like(x)
    add_kernel[(triton.cdiv(x.numel(), 256),)](x, y, x.numel(), BLOCK=256)
    return y


class ModelNew(nn.Module):
    def forward(self, x):
        return add(x)
"""


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def one_line(err: str) -> str:
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    return lines[0]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "problem.py"
    path.write_text(SMALL_PROBLEM)
    return path


def written(tmp_path: Path, text: str, name: str = "code.py") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_no_such_problem_file(capsys) -> None:
    code, _, err = run(capsys, "optimize", "absent.py", "--current", CURRENT, "--gpu", "h100")
    assert (code, one_line(err)) == (2, "error: absent.py: no such file; give the path of a problem file")


def test_no_such_code_file(capsys) -> None:
    code, _, err = run(capsys, "check", "absent.py", "--problem", PROBLEM)
    assert code == 2 and one_line(err).startswith("error: absent.py: no such file")


def test_code_that_is_not_python_names_its_line(capsys, tmp_path: Path) -> None:
    code, _, err = run(capsys, "check", written(tmp_path, "x = 1\ny = (\n"), "--problem", PROBLEM)
    assert code == 2 and "code.py:2: is not Python" in one_line(err)


def test_a_problem_without_a_model(capsys, tmp_path: Path) -> None:
    path = written(tmp_path, SMALL_PROBLEM.replace("class Model(", "class Other("), "problem.py")
    code, _, err = run(capsys, "inspect", CURRENT, "--problem", path, "--gpu", "h100")
    assert code == 2 and "problem.py: no Model in the problem file; add `class Model" in one_line(err)


def test_a_problem_whose_import_fails_names_the_line(capsys, tmp_path: Path) -> None:
    path = written(tmp_path, SMALL_PROBLEM + "\nN = 1 / 0\n", "problem.py")
    code, _, err = run(capsys, "inspect", written(tmp_path, KERNEL), "--problem", path, "--gpu", "h100")
    assert code == 2 and "problem.py:14: import fails with ZeroDivisionError" in one_line(err)


@pytest.mark.parametrize("command", ["inspect", "check"])
def test_get_inputs_that_raises_names_the_line(capsys, tmp_path: Path, command: str) -> None:
    path = written(tmp_path, SMALL_PROBLEM.replace("torch.randn(1024)", "torch.nothing()"), "problem.py")
    target = ["--gpu", "h100"] if command == "inspect" else []
    code, _, err = run(
        capsys, command, written(tmp_path, KERNEL.replace("BODY", "pass")), "--problem", path, *target
    )
    assert code == 2 and "problem.py:9: get_inputs raises AttributeError" in one_line(err)


def test_an_unknown_gpu_offers_the_nearest_names(capsys) -> None:
    code, _, err = run(capsys, "inspect", CURRENT, "--problem", PROBLEM, "--gpu", "rtx4900")
    assert code == 2 and "4090" in one_line(err)


def test_a_kernel_that_does_not_compile_shows_the_compilers_words_and_line(
    capsys, tmp_path: Path, small: Path
) -> None:
    path = written(tmp_path, KERNEL.replace("BODY", "x = tl.dot(x, x)"))
    code, out, _ = run(capsys, "inspect", path, "--problem", small, "--gpu", "h100", "--json")
    assert code == 1
    said = json.loads(out)["resources"][0]["problem"]
    assert "code.py:12: add_kernel does not compile" in said and "equal ranks" in said


def test_a_kernel_that_wants_too_much_shared_memory_is_told_so(capsys, tmp_path: Path) -> None:
    source = CURRENT.read_text().replace("BLOCK_K=64", "BLOCK_K=256")
    code, out, _ = run(
        capsys, "inspect", written(tmp_path, source), "--problem", PROBLEM, "--gpu", "rtx4090", "--json"
    )
    assert code == 1 and "bytes of shared memory" in out and "RTX 4090" in out


def test_without_code_and_without_a_loop_to_compile_the_mend_is_to_give_code(
    capsys, tmp_path: Path, small: Path
) -> None:
    code, _, err = run(capsys, "optimize", small, "--gpu", "h100", "-o", tmp_path / "run")
    assert code == 2 and "--current" in one_line(err)
    assert "neither a loop that carries a state" in err, "what was tried and why it came to nothing"
    assert not (tmp_path / "run" / "best.py").exists()
    assert not (tmp_path / "run" / "summary.json").exists(), "the run may be started again"


def test_current_and_request_together_are_refused(capsys, tmp_path: Path, small: Path) -> None:
    code, _, err = run(capsys, "optimize", small, "--current", CURRENT, "--request", CURRENT)
    assert code == 2 and "give one of the two" in one_line(err)


def test_an_unknown_stage_lists_the_stages(capsys, tmp_path: Path) -> None:
    code, _, err = run(
        capsys, "optimize", PROBLEM, "--current", CURRENT, "--gpu", "h100", "--stages", "magic",
        "-o", tmp_path / "run",
    )  # fmt: skip
    assert code == 2 and "block_tiling" in one_line(err)


def test_an_output_folder_that_is_a_file_stays_as_it_is(capsys, tmp_path: Path) -> None:
    taken = written(tmp_path, "precious", "run")
    code, _, err = run(
        capsys, "optimize", PROBLEM, "--current", CURRENT, "--gpu", "h100", "-o", taken, "--force"
    )
    assert code == 2 and "cannot be written" in one_line(err)
    assert taken.read_text() == "precious"


def test_bench_without_a_gpu_says_what_still_works(capsys) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    code, _, err = run(capsys, "bench", CURRENT, "--problem", PROBLEM)
    assert code == 2 and "GPU" in one_line(err) and "inspect" in one_line(err)


def test_with_json_an_error_is_a_document_too(capsys) -> None:
    code, out, _ = run(capsys, "check", "absent.py", "--problem", PROBLEM, "--json")
    assert code == 2 and json.loads(out)["error"]["kind"] == "KernelFileError"


def test_without_triton_the_message_says_what_still_works(tmp_path: Path) -> None:
    (tmp_path / "triton.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'triton'\", name='triton')"
    )
    done = subprocess.run(
        [sys.executable, "-m", "tilewright", "inspect", CURRENT, "--problem", PROBLEM, "--gpu", "h100"],
        capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path), "PATH": ""}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Triton" in one_line(done.stderr)


@pytest.mark.parametrize("command", ["optimize", "inspect", "check", "bench", "gpus", "request"])
def test_every_help_ends_in_an_example(capsys, command: str) -> None:
    code, out, _ = run(capsys, command, "--help")
    assert code == 0 and "Example: tilewright " + command in out
