"""What a launch says about a kernel's arguments: its grid and its constants in the kernel's own names."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass

from tilewright.kernelfile import Kernel, LaunchSite
from tilewright.kernelfile.scopes import Names, Scope, last_name
from tilewright.proposers.rewrite.base import Declined, View

ELSEWHERE = "@"  # begins the name of what a kernel has no name for


@dataclass(frozen=True)
class Terms:
    """One launch in the names of its kernel's parameters.

    Args:
        grid: the programs along each axis; `Name("@…")` stands for what the kernel is not passed.
        known: a parameter to what always equals it at this launch: a literal, or another parameter.
    """

    grid: tuple[ast.expr, ...]
    known: dict[str, ast.expr]


def read_terms(view: View, kernel: Kernel) -> tuple[Terms, ...]:
    """Every launch of a kernel that the file holds.

    Raises:
        Declined: it holds none.
    """
    names = Names(view.file.source, view.tree)
    calls = {names.place(call): (call, scope) for call, scope in names.calls}
    sites = view.file.sites(kernel.name)
    if not sites:
        raise Declined("no launch of it was found in the text")
    return tuple(_Reader(names, *calls[site.place], site).read() for site in sites)


class _Reader:
    def __init__(self, names: Names, call: ast.Call, scope: Scope, site: LaunchSite) -> None:
        self.names = names
        self.call = call
        self.scope = scope
        self.site = site
        self.inside = {id(node) for node in ast.walk(call)}
        self.parameters: dict[str, str] = {}  # the text of an argument to the first parameter it is passed as
        self.known: dict[str, ast.expr] = {}

    def read(self) -> Terms:
        given = {self.names.place(a): a for a in (*self.call.args, *(k.value for k in self.call.keywords))}
        for passed in self.site.arguments:
            if passed.value.known:
                self.known[passed.parameter] = ast.Constant(passed.value.literal)
            elif passed.place in given and passed.how in ("position", "keyword"):
                self._passed(passed.parameter, given[passed.place])
        grid = self.call.func.slice if isinstance(self.call.func, ast.Subscript) else None
        return Terms(self._grid(grid, self.scope), self.known)

    def _passed(self, parameter: str, node: ast.expr) -> None:
        texts = {ast.unparse(node), ast.unparse(self._behind(node, self.scope)[0])}
        first = next((self.parameters[text] for text in texts if text in self.parameters), None)
        if first is not None:
            self.known[parameter] = ast.Name(first)
        for text in texts:
            self.parameters.setdefault(text, first or parameter)

    def _grid(self, node: ast.expr | None, scope: Scope) -> tuple[ast.expr, ...]:
        match node:
            case ast.Tuple(elts=axes) | ast.List(elts=axes):
                return self._axes(axes, scope)
            case ast.Lambda(body=body):
                return self._grid(body, self.names.scopes[node])
            case ast.Name(id=name) if (only := scope.only(name)) is not None:
                return self._grid(only[1], only[0])
            case _:
                return ()

    def _axes(self, axes: Sequence[ast.expr], scope: Scope) -> tuple[ast.expr, ...]:
        """The axes of a grid written out, those of another grid inside it, `*grid` or `*grid(meta)`, too."""
        found: list[ast.expr] = []
        for axis in axes:
            match axis:
                case ast.Starred(value=ast.Call(func=inner)) | ast.Starred(value=inner):
                    within = self._grid(inner, scope)
                    if not within:
                        return ()  # where the axes after it lie is not known
                    found += within
                case _:
                    found.append(self._translated(axis, scope))
        return tuple(found)

    def _translated(self, node: ast.expr, scope: Scope) -> ast.expr:
        """A host expression in the kernel's names."""
        if isinstance(node, ast.Constant):
            return node
        parameter = self.parameters.get(ast.unparse(node))
        if parameter is not None and (id(node) in self.inside or self._stable(node, scope)):
            return ast.Name(parameter)
        match node:
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str(key))) if (
                isinstance(scope.node, ast.Lambda) and name in scope.bindings
            ):
                return ast.Name(key)
            case ast.Name():
                behind, owner = self._behind(node, scope)
                if behind is not node:
                    return self._translated(behind, owner)
            case ast.BinOp(left=left, op=op, right=right):
                return ast.BinOp(self._translated(left, scope), op, self._translated(right, scope))
            case ast.Call(func=function, args=parts, keywords=[]) if last_name(function) in ("cdiv", "min"):
                return ast.Call(function, [self._translated(part, scope) for part in parts], [])
            case _:
                pass
        return ast.Name(f"{ELSEWHERE}{ast.unparse(node)}")

    def _behind(self, node: ast.expr, scope: Scope) -> tuple[ast.expr, Scope]:
        """What a name was assigned, as long as that has the same value at the launch; else itself."""
        only = scope.only(node.id) if isinstance(node, ast.Name) else None
        if only is None or not self._stable(only[1], only[0]):
            return node, scope
        return self._behind(only[1], only[0])

    def _stable(self, node: ast.expr, scope: Scope) -> bool:
        """Whether every name of an expression is bound once, so that it has one value wherever it stands."""
        found = [scope.find(part.id) for part in ast.walk(node) if isinstance(part, ast.Name)]
        return all(one is None or len(one[1]) == 1 for one in found)
