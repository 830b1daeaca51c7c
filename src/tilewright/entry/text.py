"""Writes a ModelNew file: the entry's own text, and a ModelNew whose forward calls it.

ModelNew takes over the reference's constructor, so its parameters have the names and, at every size, the
shapes of the reference's.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence, Set
from textwrap import indent

from tilewright.entry.find import Entry
from tilewright.errors import KernelFileError, Where
from tilewright.kernelfile.constructor import Constructor
from tilewright.problem import top_level_names

IMPORTS = {
    "torch": "import torch",
    "nn": "import torch.nn as nn",
    "triton": "import triton",
    "tl": "import triton.language as tl",
}
WIDTH = 100


def module_text(
    entry: Entry, tree: ast.Module, constructor: Constructor, call: str, stored: Mapping[str, str]
) -> str:
    """The text of the ModelNew file.

    Args:
        call: what ModelNew's forward returns.
        stored: attribute → argument of the constructor, which that call needs kept.

    Raises:
        KernelFileError: a name means one thing in the entry's file and another in the problem's.
    """
    methods = list(constructor.methods)
    first = next((i for i, text in enumerate(methods) if text.startswith("def __init__")), None)
    if first is not None:
        methods[first] += "".join(f"\n    self.{name} = {value}" for name, value in stored.items())
    methods.append(f"def forward({ast.unparse(constructor.forward)}):\n    return {_fitted(call)}")
    model = "class ModelNew(nn.Module):\n" + indent("\n\n".join(methods), "    ")
    known = {text for node in tree.body for text in _statements(node)}
    carried = [
        [text for text in texts if text not in known]
        for texts in (constructor.imports, constructor.constants, (*constructor.definitions, model))
    ]
    imports, constants, definitions = carried
    bound = top_level_names(tree)
    _check_names(entry, bound, known, [*imports, *constants, *definitions])
    leaves = [leaf for text in (*constants, *definitions) for leaf in ast.walk(ast.parse(text))]
    needed = {leaf.id for leaf in leaves if isinstance(leaf, ast.Name)}
    imports = [line for name, line in IMPORTS.items() if name in needed - bound] + imports
    head = _with_imports(entry.source, tree, imports).rstrip("\n")
    return "\n\n\n".join([head, *(["\n".join(constants)] if constants else []), *definitions]) + "\n"


def _fitted(call: str) -> str:
    """A call, an argument a line where it is too long for one."""
    if len(call) <= WIDTH:
        return call
    parsed = ast.parse(call, mode="eval").body
    assert isinstance(parsed, ast.Call)
    parts = [ast.unparse(part) for part in (*parsed.args, *parsed.keywords)]
    return f"{ast.unparse(parsed.func)}(\n" + "".join(f"        {part},\n" for part in parts) + "    )"


def _statements(node: ast.stmt) -> list[str]:
    """A statement as `read_constructor` writes it: imports one name each."""
    match node:
        case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
            return [ast.unparse(type(node)(**{**vars(node), "names": [alias]})) for alias in aliases]
        case _:
            return [ast.unparse(node)]


def _check_names(entry: Entry, bound: Set[str], known: Set[str], carried: Sequence[str]) -> None:
    """Refuse names that mean one thing in the entry's file and another in the problem's.

    Args:
        bound, known: names of the entry's file, and its statements.

    Raises:
        KernelFileError: the first of them.
    """
    for text in carried:
        for name in sorted(top_level_names(ast.parse(text)) & bound):
            raise KernelFileError(
                f"{name} is one thing here and another in the problem, whose constructor needs it",
                where=Where(entry.path),
                mend="rename one of the two",
            )
    if "nn" in bound and not {"import torch.nn as nn", "from torch import nn"} & known:
        raise KernelFileError("nn is not torch.nn", where=Where(entry.path), mend="call it something else")


def _with_imports(source: str, tree: ast.Module, imports: Sequence[str]) -> str:
    """The text with more imports below its own, each in place of an empty line as long as one stays."""
    doc = ast.get_docstring(tree) is not None
    last = (tree.body[0].end_lineno or 0) if doc else 0
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            break
        if isinstance(node, ast.Import | ast.ImportFrom):
            last = node.end_lineno or last
    lines = source.split("\n")
    empty = 0
    while last + empty < len(lines) and not lines[last + empty].strip():
        empty += 1
    replaced = min(len(imports), max(empty - 1, 0))
    return "\n".join([*lines[:last], *imports, *lines[last + replaced :]])
