"""What every tracked file keeps to, and what the command line may import."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST_MODULE = 500
HEAVY = ("torch", "triton", "libcst")

# Put together here so that this file does not name what it looks for.
INDEX_HOSTS = re.compile("|".join(["py" + r"pi\.org", "python" + r"hosted\.org", "download" + r"\.pytorch"]))
MACHINE_PATHS = re.compile(r"(?<![\w.~])/(?:home|" + "Users|root|work)" + r"/[\w.]")


def tracked() -> list[Path]:
    """Files that git tracks, or all files of an unpacked source archive."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def lines_that_match(pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path in tracked():
        text = path.read_bytes().decode("utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    return found


def fresh_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A new interpreter with this checkout first on its path."""
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_no_file_names_a_package_index():
    assert lines_that_match(INDEX_HOSTS) == []


def test_no_file_names_a_path_of_somebodys_machine():
    assert lines_that_match(MACHINE_PATHS) == []


@pytest.mark.parametrize(
    "line, found",
    [
        ("see " + "/home" + "/ann/x.py", True),
        ("'" + "/root" + "/x'", True),
        ("https://example.org/home/ann", False),
        ("src/work/x", False),
        ("~/work/x", False),
    ],
)
def test_the_pattern_of_machine_paths(line: str, found: bool):
    assert bool(MACHINE_PATHS.search(line)) is found


def test_no_module_is_longer_than_can_be_read_at_once():
    modules = [path for path in tracked() if path.suffix == ".py" and "data" not in path.parts]
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in modules}
    assert {path: length for path, length in lengths.items() if length > LONGEST_MODULE} == {}


def test_every_test_file_has_a_name_of_its_own():
    """Test folders are no packages, so pytest imports test modules by their bare names."""
    names = Counter(path.name for path in tracked() if path.match("tests/**/test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_the_changelog_begins_with_this_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest.group(1) == version


@pytest.mark.parametrize("script", ["scripts/demo", "scripts/test", "scripts/check", ".ci/run"])
def test_scripts_can_be_run(script: str):
    assert os.access(ROOT / script, os.X_OK)


@pytest.mark.parametrize("module", ["tilewright", "tilewright.cli"])
def test_importing_the_package_loads_nothing_heavy(module: str):
    done = fresh_python("-c", f"import {module}, sys; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    assert [name for name in HEAVY if name in done.stdout.split()] == []


def test_help_loads_nothing_heavy():
    """`-X importtime` lists every import on stderr, one a line, the name last."""
    done = fresh_python("-X", "importtime", "-m", "tilewright", "--help")
    assert done.returncode == 0, done.stderr
    assert "optimize" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "tilewright.cli" in imported
    assert [name for name in HEAVY if name in imported] == []
