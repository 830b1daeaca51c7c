"""Sizes and strides that are the same at every launch, turned into tl.constexpr.

`def kernel(x, out, rows)` → `def kernel(x, out, rows: tl.constexpr)`: the compiler then folds index
arithmetic, unrolls, and drops masks that divide out. The file stays general: another size is compiled anew.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from tilewright.kernelfile import Kernel
from tilewright.kernelfile.flow import assignments
from tilewright.proposers.edit import Edits
from tilewright.proposers.rewrite.base import Declined, Inapplicable, View

MOST_BINARIES = 4  # of one kernel in one forward; a counter that moves with every launch would make hundreds
ALL = "all"


class ConstantSizes:
    """Every integer argument of a kernel that takes few values in one forward.

    Safe where the kernel only reads the parameter: it is not assigned to, no attribute of it is used, and the
    decorator does not name it.
    """

    name = "sizes as constants"
    stages = frozenset({"memory_access"})

    def choices(self, view: View, kernel: Kernel) -> Sequence[str]:
        """`ALL`, where there is any."""
        constant_parameters(view, kernel)
        return (ALL,)

    def apply(self, view: View, kernel: Kernel, choice: str) -> str:
        """Annotate them."""
        names = constant_parameters(view, kernel)
        return view.edited(Edits(annotations={kernel.name: dict.fromkeys(names, "tl.constexpr")}))


def constant_parameters(view: View, kernel: Kernel) -> tuple[str, ...]:
    """The integer parameters of a kernel that can be made constants.

    Raises:
        Declined: there is none, or they take more than MOST_BINARIES combinations of values in one forward.
    """
    launches = view.launches(kernel)
    node = view.node(kernel)
    spoken_for = set(_bound_or_opened(node)) | set(_named_in(node.decorator_list))
    plain = {p.name for p in kernel.parameters if not p.constexpr} - spoken_for
    annotated = {a.arg for a in (*node.args.args, *node.args.kwonlyargs) if a.annotation is not None}
    integers = {
        a.name for launch in launches for a in launch.arguments if a.kind == "scalar" and a.type[:1] in "iu"
    }
    names = tuple(p.name for p in kernel.parameters if p.name in (plain - annotated) & integers)
    if not names:
        raise Inapplicable("no integer argument can be made a constant")
    values = {tuple(a.value for a in launch.arguments if a.name in names) for launch in launches}
    if len(values) > MOST_BINARIES:
        raise Declined(f"its integer arguments take {len(values)} combinations of values in one forward")
    return names


def _bound_or_opened(node: ast.AST) -> Iterator[str]:
    """Names that a function assigns to, deletes, or takes an attribute of."""
    for child in ast.walk(node):
        for target, _ in assignments(child):
            yield from (leaf.id for leaf in ast.walk(target) if isinstance(leaf, ast.Name))
        if isinstance(child, ast.Attribute) and isinstance(child.value, ast.Name):
            yield child.value.id


def _named_in(decorators: Sequence[ast.expr]) -> Iterator[str]:
    """Names that @triton.jit's own lists hold; an autotuner's key may name constants."""
    for decorator in decorators:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith("jit"):
            for child in ast.walk(decorator):
                if isinstance(child, ast.Constant) and isinstance(child.value, str):
                    yield child.value
