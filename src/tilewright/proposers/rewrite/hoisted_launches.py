"""Launches that do the same in every turn of a Python loop, moved before it.

for step in x:                               kernel[grid](w, packed)
    kernel[grid](w, packed)          →       for step in x:
    use(step, packed)                            use(step, packed)
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from tilewright.kernelfile import Kernel
from tilewright.kernelfile.scopes import FunctionNode, Scope, last_name
from tilewright.proposers.edit import Edits
from tilewright.proposers.rewrite.base import Declined, Inapplicable, View
from tilewright.proposers.rewrite.effects import UNFILLED, Effects
from tilewright.proposers.rewrite.hosts import DESCRIBING, HostLaunch, host_launch, only_described
from tilewright.proposers.rewrite.names import bound_in, names_in

ONCE = "before the loop"
CHANGING = frozenset({"append", "extend", "insert", "pop", "update", "clear", "setdefault", "remove"})
PLAIN_CALLS = DESCRIBING | {"cdiv", "next_power_of_2", "min", "max", "len", "int"}


class HoistedLaunches:
    """A launch that stands directly in a `for` of a wrapper or of forward.

    Safe where its arguments and its grid name nothing that the loop binds, where all that the loop writes is
    memory of its own that the launch neither reads nor writes, and where the kernel does not read what it
    writes, so that once is as good as often. A loop that takes no turn would leave the output as it was: it
    has to be memory without values. A buffer allocated for the launch inside the loop moves along with it.
    """

    name = "launches that do not change hoisted out of Python loops"
    stages = frozenset({"algorithm"})

    def choices(self, view: View, kernel: Kernel) -> Sequence[str]:
        """`ONCE`, where nothing stands against it."""
        view.launches(kernel)
        _Hoist(view, kernel)
        return (ONCE,)

    def apply(self, view: View, kernel: Kernel, choice: str) -> str:
        """Move it."""
        hoist = _Hoist(view, kernel)
        edits = Edits()
        moved = [*hoist.allocations, hoist.launch.statement]
        edits.before[hoist.loop.lineno] = [_text(view.file.source, statement) for statement in moved]
        edits.instead |= {statement.lineno: [] for statement in moved}
        return view.edited(edits)


class _Hoist:
    """A launch, the loop around it, and the allocations that move along.

    Raises:
        Declined: it does not do the same in every turn, or this cannot be told.
    """

    def __init__(self, view: View, kernel: Kernel) -> None:
        self.launch: HostLaunch = host_launch(view, kernel)
        self.line = self.launch.site.line
        self.loop = self._loop()
        self.scope: Scope = self.launch.scope
        self.effects = Effects(view.file, self.launch.names)
        if self.launch.site.reason:
            raise Declined(f"line {self.line}: {self.launch.site.reason}")
        reads, writes = self._memory(kernel.reads), self._memory(kernel.writes)
        if reads & writes or not writes:
            raise Declined(f"line {self.line}: it reads what it writes, so that once is not as often")
        self.allocations = [s for name in sorted(writes) for s in self._allocation(name)]
        self._require_constant()
        self._require_untouched(reads, writes)

    def _loop(self) -> ast.For:
        for node in ast.walk(self.launch.function):
            if isinstance(node, ast.For) and node.body is self.launch.block:
                for part in ast.walk(node):
                    if isinstance(part, ast.Break | ast.Continue | ast.Return | ast.Yield | FunctionNode):
                        raise Declined(f"line {part.lineno}: the loop does not always run to its end")
                return node
        raise Inapplicable(f"line {self.line}: its launch does not stand in a Python loop")

    def _memory(self, parameters: Sequence[str]) -> set[str]:
        """The variables whose memory some parameters are given."""
        passed = [self.launch.site.passed(parameter) for parameter in parameters]
        return {one.storage for one in passed if one is not None}

    def _allocation(self, name: str) -> Iterator[ast.Assign]:
        """The statement of the loop that allocates a buffer, where one does and the launch alone fills it."""
        if not self.effects.fresh(name, self.scope, UNFILLED):
            raise Declined(f"line {self.line}: {name} holds something where the loop takes no turn")
        found = self.scope.only(name)
        for statement in self.loop.body:
            if isinstance(statement, ast.Assign) and found is not None and statement.value is found[1]:
                calls = [n for n in ast.walk(self.loop) if isinstance(n, ast.Call)]
                launches = [call for call in calls if isinstance(call.func, ast.Subscript)]
                given = [a for call in launches for a in (*call.args, *(k.value for k in call.keywords))]
                if not only_described(self.launch.function.body, name, but=given):
                    raise Declined(f"line {statement.lineno}: {name} of one turn may outlive it")
                yield statement

    def _require_constant(self) -> None:
        """Decline a launch with arguments that the loop computes."""
        moved = [self.launch.statement, *self.allocations]
        own = {n.id for s in self.allocations for n in ast.walk(s.targets[0]) if isinstance(n, ast.Name)}
        bound = bound_in(self.loop) - own
        pending: list[ast.AST] = list(moved)
        seen: set[str] = set()
        while pending:
            for node in ast.walk(pending.pop()):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                    if node.id in bound:
                        raise Declined(f"line {node.lineno}: {node.id} changes from turn to turn")
                    if node.id not in seen:
                        seen.add(node.id)
                        pending += self._code(node.id)
                elif isinstance(node, ast.Subscript) and node is not self.launch.call.func:
                    if not _of_sizes(node):  # x[0] of an empty x is an error only where the loop takes a turn
                        raise Declined(f"line {node.lineno}: {ast.unparse(node)} is taken in every turn")
                elif isinstance(node, ast.Call) and not self._plain(node, moved):
                    raise Declined(f"line {node.lineno}: {ast.unparse(node.func)} is called in every turn")

    def _code(self, name: str) -> Iterator[ast.AST]:
        """What a name runs when it is called: a grid's lambda or function."""
        only = self.scope.only(name)
        if only is not None and isinstance(only[1], ast.Lambda):
            yield only[1]
        for node in ast.walk(self.launch.function):
            if isinstance(node, FunctionNode) and node.name == name:
                yield node

    def _plain(self, call: ast.Call, moved: Sequence[ast.stmt]) -> bool:
        """Whether a call gives the same every time: sizes, and the launch and allocations themselves."""
        whole = any(call in (getattr(s, "value", None),) for s in moved)
        return whole or last_name(call.func) in PLAIN_CALLS

    def _require_untouched(self, reads: set[str], writes: set[str]) -> None:
        """Decline where the loop writes what the launch reads or writes, or reads the output before it."""
        others = [s for s in self.loop.body if s is not self.launch.statement]
        for name in sorted(reads):
            found = self.scope.find(name)
            given = found is not None and all(b.kind == "parameter" for b in found[1])
            if not (given or name.startswith("self.") or self.effects.fresh(name, self.scope)):
                raise Declined(f"line {self.line}: {name} may be part of what the loop writes")
        if touched := self.effects.written(others, self.scope) & (reads | writes):
            raise Declined(f"line {self.line}: the loop also writes {', '.join(sorted(touched))}")
        for call in (n for s in others for n in ast.walk(s) if isinstance(n, ast.Call)):
            self._require_harmless(call, reads | writes)
        for statement in others[: self.loop.body.index(self.launch.statement)]:
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and node.id in writes and statement not in self.allocations:
                    raise Declined(f"line {node.lineno}: {node.id} is used in the loop before it is written")

    def _require_harmless(self, call: ast.Call, memory: set[str]) -> None:
        """Decline calls that may change what the launch reads in ways that do not show."""
        called = ast.unparse(call.func)
        given = {n.id for a in (*call.args, *call.keywords) for n in ast.walk(a) if isinstance(n, ast.Name)}
        attributes = any(name.startswith("self.") for name in memory)
        if called.startswith("self.") and (attributes or given & memory):
            raise Declined(
                f"line {call.lineno}: {called} may change what the launch in line {self.line} reads"
            )
        asked = names_in(self.launch.statement)
        match call.func:
            case ast.Attribute(value=ast.Name(id=name), attr=attr) if name in asked and attr in CHANGING:
                raise Declined(f"line {call.lineno}: {called} changes {name}")
            case _:
                pass


def _of_sizes(node: ast.Subscript) -> bool:
    """`x.shape[1]`, `x.stride()[0]`, `meta["BLOCK"]`."""
    of = node.value.func if isinstance(node.value, ast.Call) else node.value
    named = isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str)
    return named or (isinstance(of, ast.Attribute) and of.attr in DESCRIBING)


def _text(source: str, statement: ast.stmt) -> str:
    """A statement as written, not indented, with the comments above it."""
    lines = source.splitlines()
    above = statement.lineno - 1
    while lines[above - 1].lstrip().startswith("#"):
        above -= 1
    comments = [line.strip() for line in lines[above : statement.lineno - 1]]
    first, *rest = (ast.get_source_segment(source, statement) or "").splitlines()
    indent = statement.col_offset
    return "\n".join([*comments, first, *(r[indent:] if not r[:indent].strip() else r for r in rest)])
