"""Constants of launches as the world writes them: found and changed where they stand, or left alone."""

from __future__ import annotations

import pytest

from tilewright.contract import breaches
from tilewright.kernelfile import KernelFile
from tilewright.proposers.tune.rewrite import apply_settings, install_autotune
from tilewright.proposers.tune.setting import Setting
from tilewright.proposers.tune.tunables import find_tunables

HEAD = """import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def scale_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out_ptr + at, tl.load(x_ptr + at, mask=at < n) * 2, mask=at < n)
"""
MODEL = """

class ModelNew(nn.Module):
    def forward(self, x):
        return scale(x)
"""
BODY = """

def scale(x):
    out = torch.empty_like(x)
    n = x.numel()
    LAUNCH
    return out
"""


def file(launch: str, before: str = "", after: str = MODEL) -> str:
    return f"{HEAD}{before}{BODY.replace('LAUNCH', launch)}{after}"


CLASS = """

class Ops:
    BLOCK = 1024

    @staticmethod
    def scale(x):
        out = torch.empty_like(x)
        scale_kernel[(triton.cdiv(x.numel(), Ops.BLOCK),)](x, out, x.numel(), BLOCK=Ops.BLOCK)
        return out
"""
TABLE = """

class Ops:
    KERNELS = {"scale": scale_kernel}

    @classmethod
    def scale(cls, x):
        out = torch.empty_like(x)
        n = x.numel()
        cls.KERNELS["scale"][(triton.cdiv(n, 1024),)](x, out, n, BLOCK=1024)
        return out
"""
OWN = """

class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = 1024

    def forward(self, x):
        out = torch.empty_like(x)
        n = x.numel()
        scale_kernel[(triton.cdiv(n, self.block),)](x, out, n, BLOCK=self.block)
        return out
"""
AUTOGRAD = """

class Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        BLOCK = 1024
        out = torch.empty_like(x)
        scale_kernel[(triton.cdiv(x.numel(), BLOCK),)](x, out, x.numel(), BLOCK=BLOCK)
        return out


scale = Scale.apply
"""
META = 'scale_kernel[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](x, out, n'
CALLED = """

def launch(x, block):
    out = torch.empty_like(x)
    scale_kernel[(triton.cdiv(x.numel(), block),)](x, out, x.numel(), BLOCK=block)
    return out


def scale(x):
    return launch(x, 1024)
"""
FORMS = {
    "a global": (
        file("scale_kernel[(triton.cdiv(n, SIZE),)](x, out, n, SIZE)", "\n\nSIZE = 1024\n"),
        "SIZE = 1024",
    ),
    "an entry of a global dict": (
        file(f'{META}, BLOCK=SIZES["small"])', '\n\nSIZES = {"small": 1024, "large": 4096}\n'),
        'SIZES = {"small": 1024, "large": 4096}',
    ),
    "an entry that the grid reads too": (
        file(
            'scale_kernel[(triton.cdiv(n, C["B"]),)](x, out, n, BLOCK=C["B"])', "\n\nC = dict(B=1024, W=4)\n"
        ),
        "C = dict(B=1024, W=4)",
    ),
    "an element of a list": (
        file(f"{META}, BLOCK=SIZES[1])", "\n\nSIZES = [64, 1024]\n"),
        "SIZES = [64, 1024]",
    ),
    "a global dict passed by **": (file(f"{META}, **C)", '\n\nC = {"BLOCK": 1024}\n'), 'C = {"BLOCK": 1024}'),
    "an attribute of a class": (
        f"{HEAD}{CLASS}{MODEL.replace('scale(x)', 'Ops.scale(x)')}",
        "    BLOCK = 1024",
    ),
    "a kernel in a table of a class": (
        f"{HEAD}{TABLE}{MODEL.replace('scale(x)', 'Ops.scale(x)')}",
        '        cls.KERNELS["scale"][(triton.cdiv(n, 1024),)](x, out, n, BLOCK=1024)',
    ),
    "a kernel that is an attribute of a class": (
        f"{HEAD}{TABLE.replace('cls.KERNELS[', 'Ops.KERNELS[')}{MODEL.replace('scale(x)', 'Ops.scale(x)')}",
        '        Ops.KERNELS["scale"][(triton.cdiv(n, 1024),)](x, out, n, BLOCK=1024)',
    ),
    "an attribute of the model": (f"{HEAD}{OWN}", "        self.block = 1024"),
    "an argument of a wrapper called once": (f"{HEAD}{CALLED}{MODEL}", "    return launch(x, 1024)"),
    "a variable of an autograd function": (f"{HEAD}{AUTOGRAD}{MODEL}", "        BLOCK = 1024"),
    "one of two": (
        file(f"{META}, BLOCK=1024 if n > 4096 else 256)"),
        f"    {META}, BLOCK=1024 if n > 4096 else 256)",
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_constant_is_found_and_changed_where_it_is_written(form: str) -> None:
    source, line = FORMS[form]
    read = KernelFile.parse(source)
    (tunable,), notes = find_tunables(read, None)
    assert tunable.current["BLOCK"] == 1024 and notes == ()
    assert [b for b in breaches(read) if b.rule == "kernel"] == [], "ModelNew is seen to launch it"
    after = apply_settings(source, {"scale_kernel": Setting((("BLOCK", 512),), 4, 3)})
    wanted = line.replace("1024 if n > 4096 else 256", "512").replace("1024", "512")
    assert after == source.replace(line, wanted)


LEFT = {
    "a dict that changes": (
        file(f'{META}, BLOCK=C["B"])', '\n\nC = {"B": 1024}\nC["B"] = 512\n'),
        "computed as C['B']",
    ),
    "a dict made of another": (
        file(f'{META}, BLOCK=C["B"])', '\n\nD = {"B": 1024}\nC = {**D}\n'),
        "computed as C['B']",
    ),
    "an attribute of the class that changes": (
        f"{HEAD}{CLASS}\n\nOps.BLOCK = 512\n{MODEL}",
        "an attribute, Ops.BLOCK",
    ),
    "an attribute of the model that changes": (
        f"{HEAD}{OWN.replace('= 1024', '= 1024; self.block //= 2')}",
        "an attribute, self.block",
    ),
    "an attribute that the caller may choose": (
        f"{HEAD}{OWN.replace('(self)', '(self, b=1024)').replace('= 1024', '= b')}",
        "an attribute, self.block",
    ),
    "an argument of a wrapper called twice": (
        f"{HEAD}{CALLED.replace('launch(x, 1024)', 'launch(launch(x, 64), 1024)')}{MODEL}",
        "block is a parameter of launch",
    ),
    "an argument of a wrapper handed on": (
        f"{HEAD}{CALLED}\n\nother = launch\n{MODEL}",
        "block is a parameter of launch",
    ),
    "another entry of the dict that the grid reads": (
        file(
            'scale_kernel[(triton.cdiv(n, C["A"]),)](x, out, n, BLOCK=C["B"])',
            '\n\nC = {"A": 1024, "B": 1024}\n',
        ),
        "(triton.cdiv(n, C['A']),), does not follow it",
    ),
}


@pytest.mark.parametrize("form", LEFT)
def test_what_is_not_certain_is_left_alone_and_named(form: str) -> None:
    source, reason = LEFT[form]
    (tunable,), notes = find_tunables(KernelFile.parse(source), None)
    assert tunable.tiles == ()
    (note,) = notes
    assert note.startswith("scale_kernel: BLOCK is left alone: ") and reason in note


LAUNCHER = """

def launch(kernel, grid, *arguments, **constants):
    kernel[grid](*arguments, **constants)


def scale(x):
    out = torch.empty_like(x)
    launch(scale_kernel, lambda meta: (triton.cdiv(x.numel(), meta["BLOCK"]),), x, out, x.numel(), BLOCK=1024)
    return out
"""


def test_a_kernel_handed_to_a_launcher_is_seen_to_be_launched() -> None:
    read = KernelFile.parse(f"{HEAD}{LAUNCHER}{MODEL}")
    assert [(site.kernel, site.function) for site in read.launches] == [("scale_kernel", "launch")]
    tunables, notes = find_tunables(read, None)
    assert tunables == () and "scale_kernel is left alone: in line 14, **constants" in notes[0]
    assert [b for b in breaches(read) if b.rule == "kernel"] == []


def test_an_entry_of_a_dict_goes_where_the_configs_supply_it() -> None:
    source, _ = FORMS["an entry of a global dict"]
    configs = [Setting((("BLOCK", size),), 4, 3) for size in (1024, 256)]
    after = install_autotune(source, "scale_kernel", configs, ["n"])
    assert f"{META})\n" in after


def test_what_was_compiled_beforehand_is_a_launch_and_is_left_alone() -> None:
    warmed = "kernel = scale_kernel.warmup(x, out, n, BLOCK=1024, grid=(1,))"
    read = KernelFile.parse(file(f"{warmed}\n    kernel[(n // 1024, 1, 1)](x, out, n, 1024)"), "code.py")
    assert [(site.kernel, site.reason) for site in read.launches] == [
        ("scale_kernel", "it was compiled beforehand")
    ]
    tunables, (note,) = find_tunables(read, None)
    assert tunables == () and "it was compiled beforehand" in note
