"""How tl.dot takes float32 operands apart for the tensor cores.

`tl.dot(a, b, input_precision="ieee")` runs on the ordinary cores. "tf32x3" computes the same to float32's own
precision as three products on tensor cores; "tf32" is one product, for a file that may round operands to
TF32. A dot that names nothing is TF32 already: Triton's default.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from tilewright.kernelfile import Kernel
from tilewright.kernelfile.precision import PRECISIONS
from tilewright.proposers.edit import ArgumentEdit, Edits
from tilewright.proposers.rewrite.base import Declined, Inapplicable, View
from tilewright.proposers.rewrite.body import Body
from tilewright.proposers.rewrite.hosts import require_launched_alone

THREE, ONE = "tf32x3", "tf32"
FIRST_WITH_TF32 = 80  # compute capability: Ampere's tensor cores were the first
GIVEN = ("input_precision", "allow_tf32")


class InputPrecision:
    """Every tl.dot of a kernel whose operands are float32 and stay so.

    Safe because it goes no lower than the precision that was asked for: "tf32" where matrix products may be
    computed in TF32 or below, "tf32x3", whose error is float32's, anywhere.
    """

    name = "input_precision only as far as the request allows"
    stages = frozenset({"advanced_memory"})

    def choices(self, view: View, kernel: Kernel) -> Sequence[str]:
        """`ONE` where TF32 is allowed, `THREE` where a dot asks for IEEE products."""
        if view.gpu.compute_capability < FIRST_WITH_TF32:
            raise Declined(f"{view.gpu.name} has no TF32")
        dots = _dots(view, kernel)
        allowed = PRECISIONS.index(view.precision) >= PRECISIONS.index("tf32")
        found = [ONE] if allowed else []
        if any(_mode(dot) != f"'{THREE}'" for dot in dots):
            found.append(THREE)
        if not found:
            raise Declined(f"line {dots[0].lineno}: {THREE} is as far as {view.precision} allows")
        return tuple(found)

    def apply(self, view: View, kernel: Kernel, choice: str) -> str:
        """Say so in every dot."""
        body = Body(view.node(kernel), view.file.source)
        edits = Edits()
        for dot in _dots(view, kernel):
            given = [keyword.value for keyword in dot.keywords if keyword.arg in GIVEN]
            edits.calls[body.place(dot)] = ArgumentEdit(
                set={"input_precision": f'"{choice}"'}, drop=frozenset(map(body.place, given))
            )
        return view.edited(edits)


def _dots(view: View, kernel: Kernel) -> list[ast.Call]:
    """The products of a kernel that are computed in float32.

    Raises:
        Declined: there is none, or its operands are not float32 in memory.
    """
    require_launched_alone(view, kernel)
    body = Body(view.node(kernel), view.file.source)
    for launch in view.launches(kernel):
        for argument in launch.arguments:
            if argument.name in kernel.reads and argument.kind == "tensor" and argument.type != "*fp32":
                raise Declined(
                    f"{argument.name} is {argument.type}: input_precision is about float32 operands"
                )
    precise = {dot.line: dot for dot in kernel.dots}
    calls = list(body.calls("dot"))
    if not calls:
        raise Inapplicable("it holds no tl.dot")
    if len(precise) != len(calls) or any(len(call.args) > 3 for call in calls):
        raise Declined("two of its tl.dot stand in one line, or name their precision by position")
    found = [call for call in calls if precise[call.lineno].precision == "float32"]
    if not found:
        raise Declined(f"line {calls[0].lineno}: {precise[calls[0].lineno].how}: nothing is left to lower")
    return found


def _mode(dot: ast.Call) -> str:
    return next((ast.unparse(k.value) for k in dot.keywords if k.arg == "input_precision"), "")
