"""Launches where they stand on the host: the statement, the function around it, the grid as written."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tilewright.kernelfile import Kernel, LaunchSite
from tilewright.kernelfile.scopes import FunctionNode, Names, Scope
from tilewright.proposers.rewrite.base import Declined, View

DESCRIBING = frozenset({"stride", "shape", "size", "numel", "device", "dtype", "dim", "ndim", "element_size"})


@dataclass(frozen=True)
class HostLaunch:
    """A `kernel[grid](…)` that is a statement of its own.

    Args:
        block: the statements that it is among.
        function: what it is part of.
    """

    site: LaunchSite
    names: Names
    call: ast.Call
    scope: Scope
    statement: ast.Expr
    block: Sequence[ast.stmt]
    function: FunctionNode

    @property
    def grid(self) -> ast.expr:
        assert isinstance(self.call.func, ast.Subscript)
        return self.call.func.slice

    def argument(self, parameter: str) -> ast.expr | None:
        """The expression that a parameter is given in the call itself."""
        passed = self.site.passed(parameter)
        given = [*self.call.args, *(k.value for k in self.call.keywords)]
        return next((a for a in given if passed and self.names.place(a) == passed.place), None)


def host_launch(view: View, kernel: Kernel) -> HostLaunch:
    """The only launch of a kernel that the file holds.

    Raises:
        Declined: there are several or none, it is part of something else, or another kernel calls the kernel.
    """
    require_launched_alone(view, kernel)
    sites = view.file.sites(kernel.name)
    if len(sites) != 1:
        raise Declined(f"the file launches it in {len(sites)} places")
    (site,) = sites
    names = Names(view.file.source, view.tree)
    for call, scope in names.calls:
        if names.place(call) == site.place and isinstance(call.func, ast.Subscript) and not site.rivals:
            for function in (n for n in ast.walk(view.tree) if isinstance(n, FunctionNode)):
                if function is scope.node:
                    for statement, block in blocks(function):
                        if isinstance(statement, ast.Expr) and statement.value is call:
                            return HostLaunch(site, names, call, scope, statement, block, function)
    raise Declined(f"line {site.line}: its launch is not a statement of its own")


def require_launched_alone(view: View, kernel: Kernel) -> None:
    """Decline a kernel that another one calls: what that one passes, and its grid, are not seen."""
    if any(kernel.name in other.calls for other in view.file.kernels):
        raise Declined("another kernel calls it, with arguments and a grid of its own")


def blocks(node: ast.AST) -> Iterator[tuple[ast.stmt, Sequence[ast.stmt]]]:
    """Every statement inside a node with the statements that it is among."""
    for inner in ast.walk(node):
        for _, value in ast.iter_fields(inner):
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                yield from ((statement, value) for statement in value)


def only_described(statements: Sequence[ast.stmt], name: str, *, but: Sequence[ast.AST] = ()) -> bool:
    """Whether a tensor is asked for no more than its sizes and the like in some statements."""
    asked: set[int] = {id(node) for node in but}
    for statement in statements:
        for node in ast.walk(statement):
            if isinstance(node, ast.Attribute) and node.attr in DESCRIBING:
                asked.add(id(node.value))
    names = [n for s in statements for n in ast.walk(s) if isinstance(n, ast.Name) and n.id == name]
    return all(id(node) in asked for node in names if isinstance(node.ctx, ast.Load))
