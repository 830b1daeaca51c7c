"""What statements on the host write to, as far as their text shows."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from tilewright.kernelfile import KernelFile
from tilewright.kernelfile.launches import LaunchReader
from tilewright.kernelfile.scopes import FunctionNode, Names, Scope, last_name
from tilewright.proposers.rewrite.base import Declined

UNFILLED = frozenset({"empty", "empty_like", "new_empty"})
FRESH = UNFILLED | {
    "zeros", "zeros_like", "new_zeros", "ones", "ones_like", "full", "full_like", "new_full",
    "cat", "stack", "clone",
}  # fmt: skip


class Effects:
    """Writes to memory that a function was not the one to allocate cannot be told apart, and are refused."""

    def __init__(self, file: KernelFile, names: Names) -> None:
        self.file = file
        self.names = names
        self.storage = LaunchReader(names, {}).storage
        self.functions = {n.name: n for n in ast.walk(names.tree) if isinstance(n, FunctionNode)}
        self.kernels = {kernel.name: kernel for kernel in file.kernels}

    def written(self, statements: Sequence[ast.stmt], scope: Scope) -> set[str]:
        """The variables whose memory some statements write to, all of it allocated by the function itself.

        Raises:
            Declined: they may write to other memory.
        """
        found = set()
        for node, target in self._writes(statements):
            name = self.storage(target, scope)
            if not self.fresh(name, scope):
                raise Declined(
                    f"line {node.lineno}: {name}, which is written there, may be part of something else"
                )
            found.add(name)
        for call in _calls(statements):
            self._require_clean(call, set())
        return found

    def fresh(self, name: str, scope: Scope, allocations: frozenset[str] = FRESH) -> bool:
        """Whether a variable only ever holds memory that was allocated for it."""
        found = scope.find(name)
        if found is None or not isinstance(found[0].node, FunctionNode):
            return False
        values = [b.value for b in found[1] if b.kind != "changed"]
        return all(isinstance(v, ast.Call) and last_name(v.func) in allocations for v in values)

    def _writes(self, statements: Sequence[ast.stmt]) -> Iterator[tuple[ast.expr, ast.expr]]:
        """What is written to, and where: by launches, in-place methods, `out=` and assignments to parts."""
        for node in (n for statement in statements for n in ast.walk(statement)):
            match node:
                case ast.Subscript(ctx=ast.Store(), value=value):
                    yield node, value
                case ast.Attribute(ctx=ast.Store(), value=value):
                    yield node, value
                case ast.AugAssign(target=ast.Name() as target, value=added):
                    if not isinstance(added, ast.Constant):  # else it is a number
                        yield target, target
                case ast.Call(func=function, args=given, keywords=named):
                    yield from ((node, k.value) for k in named if k.arg == "out")
                    yield from ((node, part) for k in named if k.arg == "inplace" for part in given[:1])
                    if last_name(function).endswith("_") and not last_name(function).endswith("__"):
                        if isinstance(function, ast.Attribute) and not _is_module(function.value):
                            yield node, function.value
                        else:
                            yield from ((node, part) for part in given[:1])
                    yield from self._launched(node)
                case _:
                    pass

    def _launched(self, call: ast.Call) -> Iterator[tuple[ast.expr, ast.expr]]:
        for site in self.file.launches:
            if site.place != self.names.place(call):
                continue
            given = {self.names.place(a): a for a in (*call.args, *(k.value for k in call.keywords))}
            for parameter in self.kernels[site.kernel].writes:
                passed = site.passed(parameter)
                if passed is None or passed.place not in given:
                    raise Declined(f"line {site.line}: what {site.kernel} writes to is not written out")
                yield call, given[passed.place]

    def _require_clean(self, call: ast.Call, above: set[str]) -> None:
        """Decline a call of one of the file's functions that writes to anything but memory of its own."""
        name = last_name(call.func)
        function = self.functions.get(name)
        if function is None or name in self.kernels or name in above:
            return
        scope = self.names.scopes[function]
        if any(isinstance(n, ast.Global | ast.Nonlocal) for n in ast.walk(function)):
            raise Declined(f"line {call.lineno}: {name} changes what is outside of it")
        for node, target in self._writes(function.body):
            if not self.fresh(self.storage(target, scope), scope):
                raise Declined(
                    f"line {call.lineno}: {name} writes in line {node.lineno} to what it did not allocate"
                )
        for inner in _calls(function.body):
            self._require_clean(inner, above | {name})


def _calls(statements: Sequence[ast.stmt]) -> Iterator[ast.Call]:
    yield from (n for statement in statements for n in ast.walk(statement) if isinstance(n, ast.Call))


def _is_module(node: ast.expr) -> bool:
    """`torch`, `torch.nn.init`, `F`: a function's home rather than a tensor."""
    return ast.unparse(node).split(".")[0] in ("torch", "nn", "F", "init")
