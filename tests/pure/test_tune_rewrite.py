"""Writing launch configurations into a file."""

from __future__ import annotations

import ast
import difflib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilewright.contract import breaches
from tilewright.kernelfile import KernelFile
from tilewright.proposers.tune import RewriteDeclined, Setting, apply_settings, install_autotune
from tilewright.proposers.tune.setting import read, written
from tilewright.proposers.tune.tunables import find_tunables

ROOT = Path(__file__).parents[2]
KERNELS = ROOT / "tests" / "data" / "kernels"
EXAMPLE = (ROOT / "examples" / "vanilla_rnn" / "current.py").read_text()


def text(name: str) -> str:
    return (KERNELS / f"{name}.py").read_text()


def block(size: int, num_warps: int = 4, num_stages: int = 3) -> Setting:
    return Setting((("BLOCK", size),), num_warps, num_stages)


def changed(before: str, after: str) -> list[str]:
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line[0] + line[2:].strip() for line in lines if line[0] in "+-"]


WRITTEN_OUT = [
    "config_splat",
    "default_of_wrapper",
    "in_place",
    "matmul",
    "persistent",
    "positional",
    "shadowed_option",
    "shared_variable",
    "tuple_literal",
]


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_the_settings_a_file_has_change_nothing(name: str) -> None:
    tunables, _ = find_tunables(KernelFile.parse(text(name)), None)
    assert tunables and all(t.tiles for t in tunables)
    assert apply_settings(text(name), {t.name: t.current for t in tunables}) == text(name)


POWERS = st.sampled_from([16, 32, 64, 128, 256])


@settings(max_examples=25, deadline=None)  # each example parses and edits a whole file
@given(st.tuples(POWERS, POWERS, POWERS), st.sampled_from([1, 2, 4, 8]), st.integers(1, 5))
def test_only_the_edit_changes_and_it_can_be_undone(
    sizes: tuple[int, int, int], warps: int, stages: int
) -> None:
    setting = Setting(tuple(zip(("BLOCK_B", "BLOCK_H", "BLOCK_K"), sizes, strict=True)), warps, stages)
    after = apply_settings(EXAMPLE, {"step_kernel": setting})
    tunables, _ = find_tunables(KernelFile.parse(after), None)
    assert tunables[0].current == setting
    lines = EXAMPLE.splitlines(keepends=True)
    rewritten = after.splitlines(keepends=True)
    assert [a for a, b in zip(lines, rewritten, strict=True) if a != b] in ([], [lines[97]])
    back = Setting((("BLOCK_B", 16), ("BLOCK_H", 64), ("BLOCK_K", 64)), 4, 3)
    undone = apply_settings(after, {"step_kernel": back})
    assert find_tunables(KernelFile.parse(undone), None)[0][0].current == back
    if (warps, stages) == (4, 3):
        assert undone == EXAMPLE


@pytest.mark.parametrize(
    ("name", "setting", "difference"),
    [
        ("positional", block(256), ["-512,", "+256,"]),
        ("positional", block(512, 8), ["+num_warps=8,"]),
        ("tuple_literal", block(256, 2), [
            "-block, warps = 512, 4",
            "+block, warps = 256, 4",
            "-scale_kernel[grid](x, out, x.numel(), BLOCK=block, num_warps=warps)",
            "+scale_kernel[grid](x, out, x.numel(), BLOCK=block, num_warps=2)",
        ]),
        ("default_of_wrapper", block(256, 8), [
            "-def scale(x, block=512, *, warps: int = 8):",
            "+def scale(x, block=256, *, warps: int = 8):",
        ]),
        ("shared_variable", block(512), ["-BLOCK = 1024", "+BLOCK = 512"]),
        ("branches", block(512), [
            "-scale_kernel[grid](x, out, x.numel(), BLOCK=block)",
            "+scale_kernel[grid](x, out, x.numel(), BLOCK=512)",
        ]),
        ("config_splat", block(512, 8), [
            '-triton.Config({"BLOCK": 256}, num_warps=4),',
            '+triton.Config({"BLOCK": 512}, num_warps=4),',
            "-scale_kernel[grid](x, out, x.numel(), **config.kwargs)",
            "+scale_kernel[grid](x, out, x.numel(), **config.kwargs, num_warps=8)",
        ]),
        ("persistent", block(256), [
            "-scale_kernel[(132,)](x, out, x.numel(), BLOCK=512, PROGRAMS=132)",
            "+scale_kernel[(132,)](x, out, x.numel(), BLOCK=256, PROGRAMS=132)",
        ]),
        ("autotuned", block(512, 8, 2), [
            '-triton.Config({"BLOCK": 1024}, num_warps=8),',
            "-# the fallback",
            '-triton.Config({"BLOCK": 256, "num_warps": 2}, num_stages=2),',
            '+triton.Config({"BLOCK": 512}, num_warps=8, num_stages=2),',
        ]),
    ],
)  # fmt: skip
def test_a_constant_changes_where_it_is_written(name: str, setting: Setting, difference: list[str]) -> None:
    source = text(name)
    after = apply_settings(source, {"scale_kernel": setting})
    assert sorted(changed(source, after)) == sorted(difference)
    ast.parse(after)


def test_columns_are_counted_in_characters() -> None:
    tiles = (("BLOCK_M", 128), ("BLOCK_N", 64), ("BLOCK_K", 64))
    after = apply_settings(text("matmul"), {"matmul_kernel": Setting(tiles, 8, 4)})
    assert "über = 2; matmul_kernel[grid](a, b, c, m, n, k, " in after
    assert "BLOCK_M=128, BLOCK_N=64, BLOCK_K=64, num_warps=8, num_stages=4)" in after


def test_one_literal_cannot_take_two_values() -> None:
    wanted = {"scale_kernel": block(512), "shift_kernel": block(1024)}
    with pytest.raises(RewriteDeclined, match="line 7 would have to be 512 and 1024 at once"):
        apply_settings(text("shared_variable"), wanted)


def test_a_list_of_configs_shared_by_two_kernels_stays_for_the_other() -> None:
    after = apply_settings(text("autotuned_shared_list"), {"scale_kernel": block(64)})
    file = KernelFile.parse(after)
    blocks = {
        k.name: [dict(c.constants)["BLOCK"] for c in k.autotune.configs] for k in file.kernels if k.autotune
    }
    assert blocks == {"scale_kernel": [64], "shift_kernel": [256, 128]}


@pytest.mark.parametrize("name", ["tuple_unpacked", "shrunk", "branches_read_elsewhere"])
def test_a_computed_constant_is_not_overwritten(name: str) -> None:
    with pytest.raises(RewriteDeclined, match="block"):
        apply_settings(text(name), {"scale_kernel": block(512)})


CONFIGS = [block(512, 8), block(256)]


def test_install_autotune() -> None:
    source = text("positional")
    after = install_autotune(source, "scale_kernel", CONFIGS, ["n"])
    assert changed(source, after) == [
        "+@triton.autotune(",
        "+configs=[",
        '+triton.Config({"BLOCK": 512}, num_warps=8, num_stages=3),',
        '+triton.Config({"BLOCK": 256}, num_warps=4, num_stages=3),',
        "+],",
        '+key=["n"],',
        "+)",
        "-512,",
    ]
    assert breaches(KernelFile.parse(after)) == ()
    again = install_autotune(after, "scale_kernel", CONFIGS, ["n"])
    assert again == after


def test_install_autotune_on_the_example_keeps_its_layout() -> None:
    tiles = ("BLOCK_B", "BLOCK_H", "BLOCK_K")
    configs = [Setting(tuple(zip(tiles, sizes, strict=True))) for sizes in ((16, 32, 64), (16, 16, 64))]
    after = install_autotune(EXAMPLE, "step_kernel", configs, ["batch", "inputs", "hidden"])
    assert changed(EXAMPLE, after)[-1] == "-BLOCK_B=16, BLOCK_H=64, BLOCK_K=64,"
    assert "        out.stride(0), out.stride(1),\n    )\n    return out" in after
    assert breaches(KernelFile.parse(after)) == ()


@pytest.mark.parametrize(
    "name", ["branches", "config_splat", "default_of_wrapper", "autotuned", "persistent"]
)
def test_install_autotune_where_it_is_safe(name: str) -> None:
    after = install_autotune(text(name), "scale_kernel", CONFIGS, ["n"])
    file = KernelFile.parse(after)
    autotune = file.kernel("scale_kernel").autotune
    assert autotune is not None and not autotune.reason
    assert [(dict(c.constants), c.num_warps, c.ignored) for c in autotune.configs] == [
        ({"BLOCK": 512}, 8, ()),
        ({"BLOCK": 256}, 4, ()),
    ]
    assert all(s.passed("BLOCK") is None and s.num_warps is None for s in file.launches)


@pytest.mark.parametrize(
    ("name", "kernel", "reason"),
    [
        ("hard_coded_grid", "scale_kernel", r'the grid in line \d+ does not read META\["BLOCK"\]'),
        ("shared_variable", "scale_kernel", r'does not read META\["BLOCK"\]'),
        ("branches_read_elsewhere", "scale_kernel", "block is also read outside the launch"),
        ("in_place", "scale_kernel", "reads and writes x_ptr"),
        ("in_place_by_alias", "scale_kernel", "passes x both as x_ptr, which is read, and as out_ptr"),
        ("accumulates", "sum_kernel", "reads and writes out_ptr"),
        ("shadowed_option", "scale_kernel", "has a parameter named num_stages"),
        ("aliases", "scale_kernel", "."),
    ],
)
def test_install_autotune_declines(name: str, kernel: str, reason: str) -> None:
    with pytest.raises(RewriteDeclined, match=reason):
        install_autotune(text(name), kernel, CONFIGS, ["n"])


def test_install_autotune_declines_a_key_that_is_no_parameter() -> None:
    with pytest.raises(RewriteDeclined, match="has no parameter size"):
        install_autotune(text("positional"), "scale_kernel", CONFIGS, ["size"])


def test_constants_in_the_middle_of_the_positions_stay() -> None:
    source = text("positional").replace("n, BLOCK: tl.constexpr)", "BLOCK: tl.constexpr, n)")
    source = source.replace("        x.numel(),\n        512,\n", "        512,\n        x.numel(),\n")
    with pytest.raises(RewriteDeclined, match="by position after the constants"):
        install_autotune(source, "scale_kernel", CONFIGS, ["n"])


@given(
    st.dictionaries(st.from_regex("[A-Z_]{1,6}", fullmatch=True), POWERS, min_size=1),
    st.integers(1, 16),
    st.integers(1, 6),
)
def test_settings_survive_being_stored(tiles: dict[str, int], warps: int, stages: int) -> None:
    stored = {"kernel": Setting(tuple(tiles.items()), warps, stages)}
    assert read(written(stored)) == stored
