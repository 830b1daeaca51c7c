"""A cell as a process: what it finds of those it came from, and how it ends with them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from tilewright.errors import ProblemError
from tilewright.judge.cell.outside import started
from tilewright.judge.cell.prints import print_of
from tilewright.judge.trial import Case

pytestmark = pytest.mark.interpreted

DATA = Path(__file__).parents[1] / "data" / "judge"
LOOKS = """
import gc, os, sys
import torch

links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
kinds = [os.readlink(link).partition(":")[0] for link in links if os.path.lexists(link)]
print("OPEN", *sorted(kind if kind in ("pipe", "socket") else os.path.basename(kind) for kind in kinds))
frame, names = sys._getframe(), set()
while frame := frame.f_back:
    names.update(type(value).__module__ for value in frame.f_locals.values())
print("SOCKETS", "socket" in names, sum(type(thing).__module__ == "socket" for thing in gc.get_objects()))

class ModelNew(torch.nn.Module):
    pass
"""


def test_a_candidate_finds_two_pipes_and_no_socket() -> None:
    with started("cpu", LOOKS) as one, started("cpu", LOOKS) as other:
        other.command("open", source=LOOKS, path="looks.py")
        one.command("open", source=LOOKS, path="looks.py")
        said = one.said()
    files = ["from_cell.bin", "null", "output.txt", "output.txt", "pipe", "pipe", "to_cell.bin"]
    assert f"OPEN {' '.join(files)}\n" in said
    assert "SOCKETS False 0\n" in said


def test_memory_is_filled_although_nothing_was_executed_anew() -> None:
    source = (
        "import ctypes\nimport torch\nlibc = ctypes.CDLL(None)\nlibc.malloc.restype = ctypes.c_void_p\n"
        "print('FILLED', ctypes.string_at(libc.malloc(100_000), 4).hex())\n"
        "class ModelNew(torch.nn.Module): pass\n"
    )
    with started("cpu", source) as cell:
        cell.command("open", source=source, path="fills.py")
        assert "FILLED fefefefe" in cell.said()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each process is started anew")
def test_an_interrupt_from_the_terminal_is_told_once(tmp_path: Path) -> None:
    """Ctrl-C goes to all processes of the foreground group."""
    mark = tmp_path / "mark"
    shutil.copy(DATA / "scale.py", tmp_path)
    problem = (DATA / "scale_problem.py").read_text()
    waits = f"import time\nopen({str(mark)!r}, 'w').close()\ntime.sleep(600)\n"
    (tmp_path / "problem.py").write_text(f"{problem}\n{waits}")
    process = subprocess.Popen(
        [sys.executable, "-m", "tilewright", "check", "scale.py", "--problem", "problem.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not mark.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    others = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert (process.returncode, said.strip()) == (130, b"error: interrupted")
    assert psutil.wait_procs(others, timeout=30)[1] == []


KEEPS = """
import torch

class ModelNew(torch.nn.Module):
    def __init__(self, table):
        super().__init__()
        self.table = table
        self.weight = torch.nn.Parameter(torch.zeros(3))

    def forward(self, x):
        return self.table + x
"""


def test_a_constructor_s_argument_outlives_the_messages_that_follow() -> None:
    """A cell maps what it is sent, and the next message lies in the same place."""
    table = torch.arange(12.0).reshape(4, 3).t()
    with started("cpu", KEEPS) as cell:
        cell.command("open", source=KEEPS, path="keeps.py")
        cell.command("build", init_inputs=[table], seed=0, padding_bytes=0)
        cell.command("load", values={"weight": torch.full((3,), 5.0)})
        cell.command("prepare")
        answer = cell.command("call", inputs=[torch.full((3, 4), 7.0)], seed=0, fresh=True)
        held = cell.command("state", key=1).values["parameters"]
    assert torch.equal(answer.values["outputs"].tensor, table + 7.0)
    assert held == {"weight": print_of(torch.full((3,), 5.0), 1)}


def test_a_command_may_be_served_while_the_reference_is_made() -> None:
    def fails() -> torch.nn.Module:
        raise ProblemError("raises")

    said: list[str] = []
    with started("cpu", KEEPS) as cell:
        case = Case(
            problem=None,  # type: ignore[arg-type]
            problem_path="problem.py",
            text="",
            cell=cell,
            source=KEEPS,
            mapping=None,
            precision=None,
            device=torch.device("cpu"),
            announce=said.append,
        )
        case.command("open", source=KEEPS, path="keeps.py")
        made, answer = case.beside(torch.nn.ReLU, "shapes", init_inputs=[torch.zeros(3)])
        assert isinstance(made, torch.nn.ReLU)
        assert answer.values["parameters"] == {"weight": [3]}
        with pytest.raises(ProblemError):
            case.beside(fails, "shapes", init_inputs=[])
        assert case.command("observed").values == {"findings": []}  # no answer to what came before
    assert said[1:4] == ["candidate", "reference", "candidate"]
