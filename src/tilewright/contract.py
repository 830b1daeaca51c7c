"""The contract that a ModelNew file keeps, and every place where a file breaks it.

In this order: imports, @triton.jit kernels, wrappers, `class ModelNew(nn.Module)`. A module
docstring, and constants made of literals, may stand anywhere before ModelNew: they run nothing.
torch, triton and the standard library may be imported; anything else may not be there where the
file is used.
"""

from __future__ import annotations

import ast
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from tilewright.errors import ProblemError
from tilewright.kernelfile import Autotune, Class, Config, KernelFile, Section
from tilewright.kernelfile.file import read_classes
from tilewright.problem import parse

ORDER = {"import": 0, "kernel": 1, "wrapper": 2, "class": 2}  # ModelNew itself is last, 3
NAMES = {"import": "an import", "kernel": "kernel", "wrapper": "wrapper", "class": "class"}
REQUIRED_IMPORTS = {
    "torch": "import torch",
    "torch.nn": "import torch.nn as nn",
    "triton": "import triton",
    "triton.language": "import triton.language as tl",
}
PACKAGES = frozenset({"torch", "triton"}) | sys.stdlib_module_names
HARNESS = ("get_inputs", "get_init_inputs")
# tl.sigmoid and tl.softmax exist in triton 3.6 and 3.9; the other four never did. Files of this kind
# keep clear of all six, so that they run on any Triton.
FORBIDDEN = {
    "tanh": "write `2 / (1 + tl.exp(-2 * x)) - 1`, or through tl.exp(-2 * tl.abs(x)) and the sign of x",
    "sigmoid": "write `1 / (1 + tl.exp(-x))`",
    "gelu": "write `0.5 * x * (1 + tl.erf(x * 0.7071067811865476))`",
    "silu": "write `x / (1 + tl.exp(-x))`",
    "softmax": "subtract the row's maximum, take tl.exp, divide by its tl.sum",
    "mish": "write it through e = tl.exp(-tl.abs(x)) and tl.log(1 + e)",
}
FEWEST_CONFIGS, MOST_CONFIGS = 2, 3


@dataclass(frozen=True)
class Breach:
    """One place where a file breaks the contract.

    Args:
        line: None when something is missing from the whole file.
        rule: which rule, one word: "order", "top-level", "imports", "signature", "forbidden", "configs",
            "model", "kernel".
        what: what is wrong there, one line.
        mend: what to do about it.
    """

    line: int | None
    rule: str
    what: str
    mend: str


def breaches(file: KernelFile, reference_source: str | None = None) -> tuple[Breach, ...]:
    """Every breach of the contract, by line.

    Args:
        reference_source: the problem file, whose Model fixes ModelNew's signatures; None to skip that.

    Raises:
        ProblemError: the reference is not Python.
    """
    tree = ast.parse(file.source)
    found = [
        *_top_level(file),
        *_order(file),
        *_imports(file),
        *_forbidden(tree),
        *_configs(file),
        *_model(file, tree),
    ]
    if reference_source is not None:
        found += _signatures(file, reference_source)
    return tuple(sorted(found, key=lambda breach: (breach.line or 0, breach.rule)))


def _top_level(file: KernelFile) -> Iterator[Breach]:
    for section in file.sections:
        if section.kind == "main":
            yield Breach(
                section.line, "top-level", "has `if __name__`", "remove it: the file is only imported"
            )
        elif section.kind == "statement":
            what = f"assigns {section.name} from a call" if section.name else "runs a statement"
            yield Breach(
                section.line, "top-level", f"{what} when imported", "move it into ModelNew or a wrapper"
            )
        elif section.name in HARNESS:
            yield Breach(section.line, "top-level", f"defines {section.name}", "leave it to the problem file")
        elif section.kind == "wrapper" and (section.name.startswith("test") or section.name == "main"):
            yield Breach(section.line, "top-level", f"holds test code, {section.name}", "remove it")
        elif section.kind == "class" and section.name == "Model":
            yield Breach(section.line, "top-level", "repeats the reference Model", "remove it")


def _order(file: KernelFile) -> Iterator[Breach]:
    last: Section | None = None
    for section in file.sections:
        if section.kind not in ORDER or section.name in HARNESS:
            continue
        if last is not None and _rank(section) < _rank(last):
            yield Breach(
                section.line,
                "order",
                f"{_called(section)} stands after {_called(last)}",
                "keep the order imports, kernels, wrappers, ModelNew",
            )
        else:
            last = section


def _rank(section: Section) -> int:
    return 3 if section.name == "ModelNew" else ORDER[section.kind]


def _called(section: Section) -> str:
    return f"{NAMES[section.kind]} {section.name}".strip()


def _imports(file: KernelFile) -> Iterator[Breach]:
    have = {one.module for one in file.imports}
    for module, statement in REQUIRED_IMPORTS.items():
        if module not in have:
            yield Breach(None, "imports", f"does not import {module}", f"add `{statement}`")
    for one in file.imports:
        if one.module == "triton.language" and one.name != "tl":
            yield Breach(
                one.line,
                "imports",
                f"calls triton.language {one.name}",
                "write `import triton.language as tl`",
            )
        elif one.module.split(".")[0] not in PACKAGES:
            yield Breach(
                one.line,
                "imports",
                f"imports {one.module}",
                "use torch, triton and the standard library alone",
            )


def _forbidden(tree: ast.Module) -> Iterator[Breach]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in FORBIDDEN:
            owner = ast.unparse(node.value)
            if owner in ("tl", "triton.language"):
                what = f"uses tl.{node.attr}, which the contract rules out"
                yield Breach(node.lineno, "forbidden", what, FORBIDDEN[node.attr])


def _configs(file: KernelFile) -> Iterator[Breach]:
    for kernel in file.kernels:
        autotune = kernel.autotune
        if autotune is None:
            continue
        line = autotune.place.line
        if autotune.reason:
            what = f"the configs of {kernel.name} cannot be read: {autotune.reason}"
            yield Breach(line, "configs", what, "write them out as a list of triton.Config")
            continue
        count = len(autotune.configs)
        if not FEWEST_CONFIGS <= count <= MOST_CONFIGS:
            what = f"{kernel.name} is autotuned over {count} config{'s' * (count != 1)}"
            yield Breach(line, "configs", what, "keep two or three, the last a smaller fallback")
        elif not has_fallback(autotune):
            what = f"{kernel.name} has no smaller config to fall back on"
            yield Breach(line, "configs", what, "add one with smaller tiles, or fewer warps or stages")
        for config in autotune.configs:
            for name, value in config.ignored:
                yield Breach(
                    config.place.line,
                    "configs",
                    f"{name}={value} inside the dict has no effect",
                    f"pass {name}={value} to triton.Config itself",
                )


def has_fallback(autotune: Autotune) -> bool:
    """Whether the configs are of different sizes, so that the smallest can stand in for the others."""
    return len({_size(config) for config in autotune.configs}) > 1


def _size(config: Config) -> tuple[int, int, int]:
    """What orders configs by what they ask of an SM: tile elements, then warps, then stages."""
    tiles = math.prod(
        v for _, v in config.constants if isinstance(v, int) and not isinstance(v, bool) and v > 0
    )
    return tiles, config.num_warps, config.num_stages


def _model(file: KernelFile, tree: ast.Module) -> Iterator[Breach]:
    if not file.kernels:
        yield Breach(None, "kernel", "has no @triton.jit kernel", "add one, and launch it from ModelNew")
    model = next((one for one in file.classes if one.name == "ModelNew"), None)
    if model is None:
        yield Breach(None, "model", "has no class ModelNew", "add `class ModelNew(nn.Module)`")
        return
    if not any(base.split(".")[-1] == "Module" for base in model.bases):
        yield Breach(model.line, "model", "ModelNew is not an nn.Module", "write `class ModelNew(nn.Module)`")
    if not any(method.name == "forward" for method in model.methods):
        yield Breach(model.line, "model", "ModelNew has no forward", "add `def forward(self, …)`")
    if file.kernels and not _launches_reached(file, tree):
        yield Breach(model.line, "kernel", "ModelNew launches no kernel", "call a wrapper from forward")


def _launches_reached(file: KernelFile, tree: ast.Module) -> bool:
    """Whether a launch stands in ModelNew or in something that it refers to, step by step."""
    definitions: dict[str, ast.stmt] = {}
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                definitions[name] = node
            case ast.Assign(targets=[ast.Name(id=name)]):  # linear = Linear.apply
                definitions[name] = node
            case _:
                pass
    reached: set[str] = set()
    pending = ["ModelNew"]
    while pending:
        name = pending.pop()
        if name in reached or name not in definitions:
            continue
        reached.add(name)
        pending += [n.id for n in ast.walk(definitions[name]) if isinstance(n, ast.Name)]
    spans = [(d.lineno, d.end_lineno or d.lineno) for n, d in definitions.items() if n in reached]
    return any(first <= site.line <= last for site in file.launches for first, last in spans)


def _signatures(file: KernelFile, reference_source: str) -> Iterator[Breach]:
    reference = {one.name: one for one in read_classes(parse(reference_source, "problem.py", ProblemError))}
    model = next((one for one in file.classes if one.name == "ModelNew"), None)
    if model is None or "Model" not in reference:
        return
    for name in ("__init__", "forward"):
        theirs, ours = _parameters(reference["Model"], name), _parameters(model, name)
        if theirs != ours:
            line = next((m.line for m in model.methods if m.name == name), model.line)
            what = f"ModelNew.{name}({', '.join(ours)}) differs from Model.{name}({', '.join(theirs)})"
            yield Breach(
                line, "signature", what, "give it the reference's parameters, in order, with defaults"
            )


def _parameters(one: Class, method: str) -> tuple[str, ...]:
    return next((m.parameters for m in one.methods if m.name == method), ())
