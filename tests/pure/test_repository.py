"""What every tracked file keeps to, and what the command line may import."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import tilewright

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "tilewright"
LONGEST_MODULE = 500
HEAVY = ("torch", "triton", "libcst")

# Rooms from top to bottom, as in docs/architecture.md: a room imports only from those below it.
ROOMS = (
    "__main__", "cli", "report", "verify", "api", "stages", "runs", "proposers", "profile", "request",
    "contract", "entry", "screening", "judge", "inspect", "launches", "kernelfile", "stages.catalogue",
    "stages.model", "place", "gpu", "workers", "machine", "manifest", "serial", "worker", "processes",
    "candidate", "problem", "evidence", "errors", "version",
)  # fmt: skip

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
        ("src/" + "work/x", False),
        ("~/" + "work/x", False),
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
    version = tilewright.__version__
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest.group(1) == version


def room(module: str) -> str:
    """The room of a module named below the package: "judge" of "judge.api"."""
    return module if module in ROOMS else module.partition(".")[0]


def imports(path: Path) -> list[str]:
    """What a module of the package imports from it, named below the package; lazy imports too."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [
        f"{node.module}.{alias.name}"  # from tilewright import errors
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module == "tilewright"
        for alias in node.names
    ]
    return [name.removeprefix("tilewright.") for name in names if name.startswith("tilewright.")]


def test_imports_point_one_way():
    against = []
    for path in tracked():
        if path.suffix != ".py" or PACKAGE not in path.parents:
            continue
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        if module == "__init__":  # the public names, loaded on first use
            continue
        assert room(module) in ROOMS, (
            f"{module} is in no room of ROOMS; add it there and in the documentation"
        )
        for imported in imports(path):
            if ROOMS.index(room(imported)) < ROOMS.index(room(module)):
                against.append(f"{module} imports {imported}")
    assert against == []


def test_an_import_is_found_wherever_it_stands(tmp_path: Path):
    path = tmp_path / "module.py"
    path.write_text(
        "import os\nfrom tilewright import errors\n\n\ndef f():\n    import tilewright.cli.check\n"
        "    from tilewright.judge.api import check\n"
    )
    assert sorted(imports(path)) == ["cli.check", "errors", "judge.api"]
    assert [room(name) for name in ("cli.check", "judge.api", "stages.race", "stages.model")] == [
        "cli", "judge", "stages", "stages.model"
    ]  # fmt: skip


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
