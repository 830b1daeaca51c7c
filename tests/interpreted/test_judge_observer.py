"""What a candidate is seen to do beside computing: each event in a process of its own, as in a check."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.interpreted

WATCH = """
import os, sys
os.environ["TRITON_INTERPRET"] = "1"
import torch, triton
from tilewright.judge.means.observer import Observer
from tilewright.problem import import_source
observer = Observer("candidate.py")
report = observer.findings
observer.start()
real_print, stdout = print, sys.stdout
import_source(sys.stdin.read(), "candidate.py", "candidate", Exception)
for finding in report():
    real_print(finding.kind.value, finding.what, sep="|", file=stdout)
"""
TROUBLE = """
import builtins, ctypes, functools, gc, inspect, os, socket, subprocess, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
import torch
import tilewright.judge.means.findings
def poll(): pass
def named(): return sys._getframe(1)
threading.Thread(target=functools.partial(poll)).start()
ThreadPoolExecutor().submit(len, ())
named()
inspect.stack()
gc.get_referrers(poll)
try: raise ValueError
except ValueError as error: error.__traceback__.tb_frame.f_back
subprocess.run(["true"], capture_output=True)
os.kill(os.getpid(), 0)
socket.socket()
open("left-behind", "w")
torch.load("left-behind", weights_only=True) if False else open(os.path.abspath("left-behind"))
os.listdir("/proc/self/fd")
ctypes.string_at(id(3), 1)
exec("import sys; sys.modules")
os.environ.get("TRITON_INTERPRET")
inspect.getsource.__code__ = poll.__code__
torch.cuda.synchronize = lambda: None
torch.allclose = torch.equal
torch.Tensor.__eq__ = lambda one, other: True
time.perf_counter = time.time
builtins.print = lambda *words: None
sys.stdout = sys.stderr
sys.modules["time"] = sys
tilewright.judge.means.findings.forbidden = lambda *_: []
"""
EXPECTED = """
probe|line 5 names tilewright
probe|line 31 names sys.modules
probe|line 32 names tilewright
probe|<string>:1 names sys.modules
probe|line 23 names TRITON_INTERPRET
thread|line 8 starts a thread (poll)
thread|line 9 starts a thread (_worker)
probe|line 7 reads stack frames: sys._getframe
probe|line 11 reads stack frames: sys._getframe
probe|line 12 walks the garbage collector's objects: gc.get_referrers
probe|line 14 reads stack frames: tb_frame
process|line 15 starts a process: true
process|line 16 sends a signal: os.kill
network|line 17 uses the network: socket.__new__
files|line 18 opens left-behind for writing
files|line 19 opens * for reading
files|line 20 reads or changes folders: os.listdir
probe|line 21 reaches into memory: ctypes.string_at
patch|line 24 rewrites a function in place: inspect.getsource.__code__
patch|torch.cuda.synchronize was replaced by <lambda> (candidate.py:25)
patch|torch.allclose was replaced
patch|torch.Tensor.__eq__ was replaced by <lambda> (candidate.py:27)
patch|time.perf_counter was replaced
patch|builtins.print was replaced by <lambda> (candidate.py:29)
patch|sys.stdout was replaced
patch|sys.modules['time'] was replaced
patch|tilewright.judge.means.findings.forbidden was replaced by <lambda> (candidate.py:32)
"""
ORDINARY = """
import collections, contextlib, dataclasses, enum, functools, logging, math, os, typing, warnings
from typing import NamedTuple
import torch
import torch.nn as nn
import triton
import triton.language as tl
from triton.language.extra import libdevice
torch.backends.cuda.matmul.allow_tf32 = True
torch.backends.cudnn.benchmark = True
logging.getLogger(__name__).warning("hello")
warnings.warn("a warning with its line")
Pair = collections.namedtuple("Pair", "left right")
class Three(NamedTuple):
    a: int
@dataclasses.dataclass(frozen=True)
class Plan:
    block: int = 64
class Way(enum.Enum):
    ONE = 1
os.environ.setdefault("CUDA_LAUNCH_BLOCKING", "0")

@triton.jit
def inner(x):
    return x * 2

@triton.autotune(configs=[triton.Config({"BLOCK": 32}), triton.Config({"BLOCK": 64})], key=["total"])
@triton.heuristics({"EVEN": lambda args: args["total"] % args["BLOCK"] == 0})
@triton.jit
def double(x, out, total, BLOCK: tl.constexpr, EVEN: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.atomic_add(out + at, inner(tl.load(x + at, mask=at < total, other=0.0)), mask=at < total)

class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.register_buffer("packed", torch.zeros(3))

    @functools.lru_cache
    def plan(self):
        return Plan()

import torch._dynamo
model = ModelNew()
model.plan()
double.fn.fn[(2,)](torch.ones(100), torch.zeros(100), 100, BLOCK=64, EVEN=False)
"""


def watched(source: str, folder: Path, **environment: str) -> list[str]:
    ran = subprocess.run(
        [sys.executable, "-c", WATCH], input=source, cwd=folder, env={**os.environ, **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def test_each_deed_is_named_once_with_its_line(tmp_path: Path) -> None:
    said = watched(TROUBLE, tmp_path)
    wanted = EXPECTED.strip().splitlines()
    missing = [line for line in wanted if not any(_fits(line, found) for found in said)]
    beyond = [found for found in said if not any(_fits(line, found) for line in wanted)]
    assert (missing, beyond) == ([], [])


def _fits(line: str, found: str) -> bool:
    start, _, end = line.partition("*")
    return found.startswith(start) and (not end or found.endswith(end))


def test_what_ordinary_files_do_is_no_finding(tmp_path: Path) -> None:
    assert watched(ORDINARY, tmp_path) == []


LIBRARY = "import sys\ndef called_by(): return sys._getframe(1).f_code.co_name\n"


def test_a_library_that_the_python_path_names_acts_for_itself(tmp_path: Path) -> None:
    packages, start = tmp_path / "packages", tmp_path / "start"
    for folder in (packages, start):
        folder.mkdir()
        (folder / f"of_{folder.name}.py").write_text(LIBRARY)
    path = os.pathsep.join([str(packages), os.environ.get("PYTHONPATH", "")])
    assert watched("import of_packages; of_packages.called_by()", start, PYTHONPATH=path) == []
    (said,) = watched("import of_start; of_start.called_by()", start, PYTHONPATH=path)
    assert said == "probe|of_start.py:2 reads stack frames: sys._getframe"
