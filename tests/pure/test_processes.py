"""Processes come from a server that has imported torch, and are what a fresh Python would have been."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from tilewright import errors, workers
from tilewright.processes.start import Process, start

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each process is started anew")

ROOT = Path(__file__).parents[2]
MODULE = """
import json, os, random, sys, tempfile, threading, time

def main(arguments):
    what, *rest = arguments
    globals()[what](*rest)

def tell(path=None):
    import numpy
    said = {
        "arguments": sys.argv[1:], "folder": os.getcwd(), "path": sys.path, "environment": dict(os.environ),
        "files": sorted(int(n) for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")),
        "temporary": tempfile.gettempdir(), "bytecode": not sys.dont_write_bytecode,
        "drawn": [random.random(), float(numpy.random.rand())], "pid": os.getpid(), "group": os.getpgid(0),
        "loaded": [name for name in ("torch", "triton", "torch._dynamo") if name in sys.modules],
        "parent": os.getppid(),
        "threads": len(os.listdir(f"/proc/{os.getppid()}/task")),
    }
    print(json.dumps(said))

def sleep(mark):
    open(mark, "w").write(str(os.getpid()))
    time.sleep(600)

def leave(code):
    sys.exit(int(code))

def answer(number):
    os.write(int(number), b"here")

def grow():
    held = bytearray(2**30)
    for at in range(0, len(held), 4096):
        held[at] = 1
    time.sleep(600)

def run(payload):
    "A task of a worker: starts `main` in a process of its own, as the judge starts a cell."
    from tilewright.processes.start import start
    with open(os.devnull, "wb") as nothing:
        process = start("started", payload["arguments"], output=nothing.fileno(), environment=os.environ)
    return process.wait() if payload["wait"] else process.pid

if __name__ == "__main__":
    main(sys.argv[1:])
"""
PARENT = """
import sys
from tilewright import workers
workers.call("started:run", {"arguments": ["sleep", sys.argv[1]], "wait": sys.argv[2] == "wait"})
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the module `started`, on the path of what is started."""
    (tmp_path / "started.py").write_text(MODULE)
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    )
    return tmp_path


def begin(home: Path, *arguments: str, **how: Any) -> tuple[Process, Path]:
    """The module started, and the file of its output."""
    path = home / f"output{time.monotonic_ns()}"
    with path.open("wb") as output:
        how = {"environment": os.environ, **how}
        return start("started", arguments, output=output.fileno(), **how), path


def told(home: Path, **how: Any) -> dict[str, Any]:
    process, output = begin(home, "tell", **how)
    assert process.wait(60) == 0, output.read_text()
    answer: dict[str, Any] = json.loads(output.read_text().splitlines()[0])  # Triton may add to it
    return answer


def written(path: Path) -> int:
    """The process id that `sleep` wrote."""
    eventually(lambda: path.exists() and path.read_text() != "")
    return int(path.read_text())


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_it_is_what_a_fresh_process_would_be(module: Path) -> None:
    place = module / "place"
    place.mkdir()
    environment = {
        **os.environ, "TMPDIR": str(place), "PYTHONDONTWRITEBYTECODE": "1", "ONLY_HERE": "ä\udcff",
        "PYTHONPATH": f"{ROOT / 'src'}:{module}:{place}",
    }  # fmt: skip
    environment.pop("HOME", None)
    said = told(module, environment=environment, folder=place)
    assert said["environment"] == environment
    assert said["folder"] == said["temporary"] == str(place) and not said["bytecode"]
    assert said["path"][:4] == [str(place), str(ROOT / "src"), str(module), str(place)]
    assert said["arguments"] == ["tell"] and said["files"] == [0, 1, 2]


def test_it_belongs_to_its_server_but_leads_where_asked(module: Path) -> None:
    follows, leads = told(module), told(module, leads=True)
    assert follows["group"] == os.getpgid(0) and leads["group"] == leads["pid"]
    assert follows["parent"] == leads["parent"] != os.getpid()
    assert follows["threads"] == 1 and follows["loaded"] == ["torch"], "Triton is each process's own"


def test_beside_a_gpu_triton_is_loaded_unless_it_is_to_interpret(module: Path) -> None:
    """The machine may have none: Python is told of a device file as it starts."""
    (module / "sitecustomize.py").write_text(
        "import pathlib\npathlib.Path.glob = lambda self, pattern: iter([self / 'nvidia0'])\n"
    )
    script = (
        "import sys\nfrom pathlib import Path\nsys.path.insert(0, sys.argv[2])\n"
        "import test_processes as tests\nhome = Path(sys.argv[1])\n"
        "plain, own = tests.told(home), tests.own_interpreter(home)\n"
        "print(plain['loaded'], own['loaded'], own['files'] == [0, 1, 2, own['passed']])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(module), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "['torch', 'triton'] [] True\n", done.stderr


def own_interpreter(home: Path) -> dict[str, Any]:
    """What a process that interprets kernels says of itself, handed one file."""
    incoming, outgoing = os.pipe()
    said = told(home, environment={**os.environ, "TRITON_INTERPRET": "1"}, passed=(outgoing,))
    os.close(incoming)
    os.close(outgoing)
    return {**said, "passed": outgoing}


def test_threads_of_many_processes_do_not_spin_on_the_same_processors(module: Path) -> None:
    read = Path(f"/proc/{told(module)['parent']}/environ").read_bytes().split(b"\0")
    assert b"OMP_WAIT_POLICY=" + os.environ.get("OMP_WAIT_POLICY", "PASSIVE").encode() in read


def test_those_that_take_long_to_import_the_same_share_a_server(module: Path) -> None:
    (module / "slow_to_import.py").write_text("import os\nfrom pathlib import Path\n"
        f"Path({str(module / 'imported')!r}).open('a').write(f'{{os.getpid()}} ')\n")  # fmt: skip
    plain, *slow = told(module), *(told(module, loads=("slow_to_import",)) for _ in range(2))
    assert (module / "imported").read_text() == f"{slow[0]['parent']} "
    assert slow[0]["parent"] == slow[1]["parent"] != plain["parent"] == told(module)["parent"]


def test_what_fake_tensors_import_leaves_a_server_one_thread(module: Path) -> None:
    said = told(module, loads=workers.FAKE_TENSORS)
    assert said["threads"] == 1 and "torch._dynamo" in said["loaded"]
    assert own_interpreter(module)["loaded"] == ["torch"], "processes that interpret come from another server"


def test_it_has_only_the_files_that_are_passed(module: Path) -> None:
    incoming, outgoing = os.pipe()
    process, _ = begin(module, "answer", str(outgoing), passed=(outgoing,))
    os.close(outgoing)
    assert process.wait(60) == 0
    assert os.read(incoming, 10) == b"here" and os.read(incoming, 1) == b""
    assert told(module, passed=(incoming,))["files"] == [0, 1, 2, incoming]
    os.close(incoming)


def test_no_two_draw_the_same_numbers(module: Path) -> None:
    one, other = told(module)["drawn"], told(module)["drawn"]
    assert not set(one) & set(other)


def test_how_it_ends_is_told(module: Path) -> None:
    process, _ = begin(module, "leave", "7")
    assert process.wait(60) == process.poll() == 7
    process, _ = begin(module, "sleep", str(module / "mark"))
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    assert process.poll() is None
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(60) == -signal.SIGTERM
    process.kill()  # no matter


def test_threads_may_start_processes_at_the_same_time(module: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda _: told(module), range(16)))
    assert len({answer["pid"] for answer in said}) == 16


def test_a_server_that_was_killed_is_replaced(module: Path) -> None:
    process, _ = begin(module, "sleep", str(module / "mark"))
    sleeping = written(module / "mark")
    server = told(module)["parent"]
    os.kill(server, signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL and ended(sleeping), "its children end with it"
    assert told(module)["parent"] != server


def test_where_no_server_comes_up_processes_start_without(module: Path) -> None:
    (module / "torch.py").write_text("import os; os._exit(3)")
    done = subprocess.run(
        [sys.executable, "-c", "from tilewright import workers; print(workers.call('math:sqrt', 4.0))"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "2.0\n", done.stderr


def test_memory_of_what_a_worker_starts_counts(module: Path) -> None:
    limits = workers.Limits(seconds=60, memory_bytes=2**30)
    with pytest.raises(errors.WorkerOutOfMemory):
        workers.call("started:run", {"arguments": ["grow"], "wait": True}, limits)


def test_what_a_worker_started_ends_with_it(module: Path) -> None:
    pid = workers.call("started:run", {"arguments": ["sleep", str(module / "mark")], "wait": False})
    eventually(lambda: ended(pid))


def test_a_worker_past_its_time_is_killed_with_what_it_started(module: Path) -> None:
    told(module)  # from here on there is a server, whose start takes no part of the seconds
    with pytest.raises(errors.WorkerTimeout):
        payload = {"arguments": ["sleep", str(module / "mark")], "wait": True}
        workers.call("started:run", payload, workers.Limits(seconds=4))
    eventually(lambda: ended(written(module / "mark")))


def descendants(process: subprocess.Popen[bytes], mark: Path) -> list[psutil.Process]:
    """Server, worker, the worker's server and what came from it, once all are there."""
    written(mark)
    found = psutil.Process(process.pid).children(recursive=True)
    assert len(found) == 4
    return found


def test_nothing_is_left_of_a_process_that_was_killed(module: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", PARENT, str(module / "mark"), "wait"])
    started = descendants(process, module / "mark")
    process.kill()
    process.wait()
    assert psutil.wait_procs(started, timeout=30)[1] == []


def test_nothing_is_left_of_a_process_that_ended(module: Path) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"{PARENT}\nworkers.call('math:sqrt', 4.0)\ninput()",
            str(module / "mark"),
            "",
        ],
        stdin=subprocess.PIPE,
    )
    eventually(lambda: bool(psutil.Process(process.pid).children()))
    server = psutil.Process(process.pid).children()
    process.communicate(b"\n", timeout=60)
    assert process.returncode == 0
    assert psutil.wait_procs(server, timeout=30)[1] == []
