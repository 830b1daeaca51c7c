"""Tasks in processes of their own: one that dies, hangs or raises costs itself alone."""

from __future__ import annotations

import math
import os
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # scripts, not a package

from apart import Lost, each


def work(task: str) -> tuple[str, int]:
    if task == "dies":
        os._exit(3)
    if task == "hangs":
        time.sleep(300.0)
    if task == "raises":
        raise ValueError("too\nlarge.")
    return task, os.getpid()


def test_what_dies_hangs_or_raises_costs_itself_alone():
    tasks = ["a", "dies", "b", "raises", "hangs", "c"]
    found = dict(each(work, tasks, processes=1, seconds=10.0, until=math.inf))
    assert list(found) == tasks
    assert found["dies"] == Lost("its process died, exit code 3")
    assert found["raises"] == Lost("ValueError: too large")
    assert found["hangs"] == Lost("not done in 10 s")
    assert [found[name][0] for name in "abc"] == ["a", "b", "c"]
    assert found["a"][1] != found["b"][1]


def test_a_process_takes_task_after_task():
    found = dict(each(work, list("abcdef"), processes=2, seconds=60.0, until=math.inf))
    assert sorted(found) == list("abcdef")
    assert len({number for _, number in found.values()}) <= 2


def test_it_ends_in_time_whatever_is_still_to_come():
    started = time.monotonic()
    assert dict(each(work, ["hangs", "a"], processes=1, seconds=300.0, until=started + 2.0)) == {}
    assert time.monotonic() - started < 30.0
    assert dict(each(work, ["a"], processes=1, seconds=300.0, until=started)) == {}
