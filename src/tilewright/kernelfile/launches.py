"""Finds every `kernel[grid](…)`, also behind aliases, partial and **kwargs."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from tilewright.kernelfile.grids import GridReader, arithmetic_literals
from tilewright.kernelfile.kernels import JitFunction, NotUnderstood, heuristics, read_autotune, read_dict
from tilewright.kernelfile.model import LaunchSite, Passed, Value
from tilewright.kernelfile.scopes import Names, Scope, last_name, with_defaults

MAX_STEPS = 8
LAUNCH_OPTIONS = frozenset(
    {
        "num_warps", "num_stages", "num_ctas", "maxnreg", "grid", "warmup", "stream",
        "launch_cooperative_grid", "launch_pdl", "enable_fp_fusion",
    }
)  # fmt: skip
VIEWS = frozenset({
    "view", "reshape", "t", "transpose", "permute", "flatten", "squeeze", "unsqueeze", "contiguous", "detach",
    "expand", "view_as", "narrow", "chunk", "unflatten", "data", "T", "mT", "to", "cuda",
})  # fmt: skip
HALVES = {"half": "float16", "float16": "float16", "bfloat16": "bfloat16"}


@dataclass(frozen=True)
class Target:
    """A kernel that a callable launches, with what was bound on the way.

    Args:
        beforehand: it was compiled by `warmup` or an earlier launch, which its constants go to.
    """

    kernel: str
    grid: ast.expr | None
    scope: Scope
    positional: tuple[tuple[ast.expr, Scope], ...] = ()
    named: tuple[tuple[str | None, ast.expr, Scope], ...] = ()
    beforehand: bool = False


class LaunchReader:
    """Reads the launches of one file."""

    def __init__(self, names: Names, functions: Mapping[str, JitFunction]) -> None:
        self.names = names
        self.functions = functions
        self._bodies = {id(function.node) for function in functions.values()}

    def read(self) -> tuple[LaunchSite, ...]:
        sites: list[LaunchSite] = []
        for call, scope in self.names.calls:
            if self._in_kernel(scope) or self._is_partial(call):
                continue
            targets = self._targets(call.func, scope)
            for target in targets:
                rivals = tuple(sorted({t.kernel for t in targets} - {target.kernel}))
                sites.append(self._site(call, scope, target, rivals))
        return tuple(sorted(sites, key=lambda site: (site.place, site.kernel)))

    def _in_kernel(self, scope: Scope | None) -> bool:
        while scope is not None:
            if id(scope.node) in self._bodies:
                return True
            scope = scope.parent
        return False

    @staticmethod
    def _is_partial(node: ast.expr) -> bool:
        return isinstance(node, ast.Call) and last_name(node.func) == "partial" and bool(node.args)

    def _targets(self, node: ast.expr, scope: Scope, steps: int = 0) -> list[Target]:
        """What calling an expression launches; empty when it launches nothing."""
        if steps > MAX_STEPS:
            return []
        match node:
            case ast.Subscript(value=value, slice=grid):
                launched = [Target(kernel, grid, scope) for kernel in self._kernels(value, scope)]
                held = self._compiled(value, scope)
                return [*launched, *(Target(kernel, grid, scope, beforehand=True) for kernel in held)]
            case ast.Attribute(value=value, attr="run"):
                return [Target(kernel, None, scope) for kernel in self._kernels(value, scope)]
            case ast.Call() if self._is_partial(node):
                positional = tuple((a, scope) for a in node.args[1:])
                named = tuple((k.arg, k.value, scope) for k in node.keywords)
                return [
                    replace(t, positional=t.positional + positional, named=t.named + named)
                    for t in self._targets(node.args[0], scope, steps + 1)
                ]
            case ast.IfExp(body=body, orelse=other):
                return self._targets(body, scope, steps + 1) + self._targets(other, scope, steps + 1)
            case ast.Name() | ast.Attribute():
                found = [self._targets(v, s, steps + 1) for v, s in self._bound(node, scope)]
                return [target for targets in found for target in targets]
            case _:
                return []

    def _kernels(self, node: ast.expr, scope: Scope, steps: int = 0) -> list[str]:
        """The kernels that an expression may stand for."""
        if steps > MAX_STEPS:
            return []
        inner: list[tuple[ast.expr, Scope]] = []
        match node:
            case ast.Name(id=name) if name in self.functions:
                return [name]
            case ast.Name() | ast.Attribute():
                inner = [*self._bound(node, scope), *self._given(node, scope)]
            case ast.IfExp(body=body, orelse=other):
                inner = [(body, scope), (other, scope)]
            case ast.Call(func=function, args=[argument]) if last_name(function) in (
                "wrap_triton",
                "capture_triton",
                "staticmethod",
            ):
                inner = [(argument, scope)]
            case ast.Subscript(value=container):
                for value, owner in [(container, scope), *self._bound(container, scope)]:
                    elements = value.values if isinstance(value, ast.Dict) else getattr(value, "elts", [])
                    inner += [(element, owner) for element in elements]
            case _:
                pass
        found = [kernel for value, owner in inner for kernel in self._kernels(value, owner, steps + 1)]
        return list(dict.fromkeys(found))

    def _compiled(self, node: ast.expr, scope: Scope) -> list[str]:
        """The kernels whose compiled form, given by `warmup` or a launch, an expression may stand for."""
        found: list[str] = []
        for value, owner in self._bound(node, scope):
            match value:
                case ast.Call(func=ast.Attribute(value=kernel, attr="warmup") | ast.Subscript(value=kernel)):
                    found += self._kernels(kernel, owner)
                case _:
                    pass
        return list(dict.fromkeys(found))

    def _bound(self, node: ast.expr, scope: Scope) -> list[tuple[ast.expr, Scope]]:
        """Every expression assigned to a name, to self.NAME or to Class.NAME."""
        match node:
            case ast.Name(id=name):
                known = scope.find(name)
                if known is None:
                    return []
                return [(b.value, known[0]) for b in known[1] if b.kind == "assign" and b.value is not None]
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=attribute):
                found = self.names.attributes.get(attribute, [])
                return [*found, *self._own(attribute, self.names.classes.values())]
            case ast.Attribute(value=ast.Name(id=owner), attr=attribute) if owner in self.names.classes:
                return self._own(attribute, [self.names.classes[owner]])
            case _:
                return []

    @staticmethod
    def _own(attribute: str, classes: Iterable[Scope]) -> list[tuple[ast.expr, Scope]]:
        """What classes assign to an attribute in their own bodies."""
        bound = [(b.value, body) for body in classes for b in body.bindings.get(attribute, ())]
        return [(value, body) for value, body in bound if value is not None]

    def _given(self, node: ast.expr, scope: Scope) -> list[tuple[ast.expr, Scope]]:
        """What the file's calls hand over for a parameter."""
        found = scope.find(node.id) if isinstance(node, ast.Name) else None
        if found is None or found[1][0].kind != "parameter" or not isinstance(node, ast.Name):
            return []
        return self.names.passed(found[0], node.id)

    def _site(self, call: ast.Call, scope: Scope, target: Target, rivals: tuple[str, ...]) -> LaunchSite:
        node = self.functions[target.kernel].node
        order = [a.arg for a, _ in with_defaults(node.args)]
        positional = [(a, s, "partial") for a, s in target.positional]
        positional += [(a, scope, "position") for a in call.args]
        passed: list[Passed] = []
        options: list[Passed] = []
        reason = "it was compiled beforehand" if target.beforehand else ""
        grid, grid_scope = target.grid, target.scope
        stars = [i for i, (argument, _, _) in enumerate(positional) if isinstance(argument, ast.Starred)]
        open_ended = any(k.arg is None for k in call.keywords) or any(n is None for n, _, _ in target.named)
        if stars and (open_ended or not all(_integers(positional[i][0]) for i in stars)):
            hidden = positional[stars[0]][0]
            reason = f"{ast.unparse(hidden)} hides which argument is which"
            positional = positional[: stars[0]]
        elif stars:
            order = self._unstarred(call, target, order, positional, stars, passed)
            positional = [*positional[: stars[0]], *positional[stars[-1] + 1 :]]
        for parameter, (argument, owner, how) in zip(order, positional, strict=False):
            passed.append(self._passed(parameter, argument, owner, how))
        named = [(n, v, s, "partial") for n, v, s in target.named]
        named += [(k.arg, k.value, scope, "keyword") for k in call.keywords]
        for name, argument, owner, how in named:
            if name is None:
                try:
                    entries = self._splat(argument, owner)
                except NotUnderstood as error:
                    reason = f"**{ast.unparse(argument)} is not understood: {error}"
                    continue
                for key, value, at in entries:
                    into = options if key in LAUNCH_OPTIONS else passed
                    into.append(self._passed(key, value, at, "splat", argument))
            elif name == "grid":
                grid, grid_scope = argument, owner
            elif name in LAUNCH_OPTIONS and name not in order:
                options.append(self._passed(name, argument, owner, how))
            else:
                passed.append(self._passed(name, argument, owner, how))

        return LaunchSite(
            kernel=target.kernel,
            line=call.lineno,
            place=self.names.place(call),
            function=scope.function,
            arguments=tuple(passed),
            grid=GridReader(self.names).read(grid, grid_scope),
            options=tuple(options),
            rivals=rivals,
            literals=arithmetic_literals(scope),
            reason=reason,
        )

    def _unstarred(
        self,
        call: ast.Call,
        target: Target,
        order: list[str],
        positional: list[tuple[ast.expr, Scope, str]],
        stars: list[int],
        passed: list[Passed],
    ) -> list[str]:
        """The parameters of the arguments before the first star and after the last.

        Those between are passed by the stars, or between them; each is noted as one of their integers. How
        many there are follows from all others: every parameter without a default is passed exactly once.
        """
        function = self.functions[target.kernel]
        optional = {a.arg for a, default in with_defaults(function.node.args) if default is not None}
        named = {k.arg for k in call.keywords} | {name for name, _, _ in target.named}
        autotune = read_autotune(self.names, function.decorators)
        tuned = {name for config in autotune.configs for name, _ in config.constants} if autotune else set()
        taken = [
            name
            for name in order
            if name not in named | tuned | optional | {*heuristics(function.decorators)}
        ]
        before, after = stars[0], len(positional) - stars[-1] - 1
        between = taken[before : len(taken) - after]
        text = ", ".join(ast.unparse(positional[i][0]) for i in stars)
        place = self.names.place(positional[before][0])
        value = Value(text, "computed", reason=f"one of {text}")
        passed += [Passed(name, value, "star", place, text) for name in between]
        return [*taken[:before], *taken[len(taken) - after :]]

    def _passed(
        self, name: str, node: ast.expr, scope: Scope, how: str, splat: ast.expr | None = None
    ) -> Passed:
        value = self.names.resolve(node, scope)
        place = self.names.place(splat or node)
        elsewhere = any(self._read_elsewhere(variable, scope) for variable in value.names)
        return Passed(name, value, how, place, self.storage(node, scope), elsewhere)

    def _read_elsewhere(self, name: str, scope: Scope) -> bool:
        """Whether a variable is read anywhere but as a bare argument of a launch."""
        found = scope.find(name)
        if found is None and name.isidentifier():
            return True
        around = found[0].node if found else self.names.tree  # self.NAME and TABLE["key"] are no variables
        kinds = ast.Name if name.isidentifier() else ast.Attribute | ast.Subscript
        read = [n for n in ast.walk(around) if isinstance(n, kinds) and isinstance(n.ctx, ast.Load)]
        reads = {id(n) for n in read if ast.unparse(n) == name}
        for call, owner in self.names.calls:
            if isinstance(call.func, ast.Subscript) and self._kernels(call.func.value, owner):
                reads -= {id(a) for a in call.args} | {id(k.value) for k in call.keywords}
        return bool(reads)

    def storage(self, node: ast.expr, scope: Scope, steps: int = 0) -> str:
        """The variable whose memory an expression is a view of; its text when it has memory of its own.

        Calls that may or may not copy (reshape, contiguous, to) count as views.
        """
        match node:
            case ast.Attribute(value=value, attr=name) if name in VIEWS and steps < MAX_STEPS:
                return self.storage(value, scope, steps + 1)
            case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in VIEWS and steps < MAX_STEPS:
                return self.storage(value, scope, steps + 1)
            case ast.Subscript(value=value) if steps < MAX_STEPS:
                return self.storage(value, scope, steps + 1)
            case ast.Name(id=name) if steps < MAX_STEPS:
                found = scope.only(name)
                if found is None or not _is_view(found[1]):
                    return name
                return self.storage(found[1], found[0], steps + 1)
            case _:
                return ast.unparse(node)

    def _splat(self, node: ast.expr, scope: Scope) -> list[tuple[str, ast.expr, Scope]]:
        """The entries of a `**expression`: a dict, or the kwargs of one triton.Config of a list."""
        match node:
            case ast.Attribute(value=config, attr="kwargs"):
                call, owner = self._config(config, scope)
                return [(k, v, owner) for k, v in read_dict(_config_part(call, "kwargs", 0))]
            case ast.Call(func=ast.Attribute(value=config, attr="all_kwargs"), args=[]):
                call, owner = self._config(config, scope)
                entries = [(k, v, owner) for k, v in read_dict(_config_part(call, "kwargs", 0))]
                for index, name in enumerate(("num_warps", "num_stages"), start=1):
                    entries += [(name, v, owner) for v in [_config_part(call, name, index)] if v is not None]
                return entries
            case ast.Name(id=name):
                only = scope.only(name)
                if only is None:
                    raise NotUnderstood(f"{name} is not assigned exactly once")
                return self._splat(only[1], only[0])
            case _:
                return [(k, v, scope) for k, v in read_dict(node)]

    def _config(self, node: ast.expr, scope: Scope) -> tuple[ast.Call, Scope]:
        match node:
            case ast.Call() if last_name(node.func) == "Config":
                return node, scope
            case ast.Name(id=name):
                only = scope.only(name)
                if only is not None:
                    return self._config(only[1], only[0])
            case ast.Subscript(value=container, slice=ast.Constant(value=int(index))):
                listing = self._listing(container, scope)
                if listing is not None and -len(listing[0]) <= index < len(listing[0]):
                    return self._config(listing[0][index], listing[1])
            case _:
                pass
        raise NotUnderstood(f"{ast.unparse(node)} is not one triton.Config")

    def _listing(self, node: ast.expr, scope: Scope) -> tuple[list[ast.expr], Scope] | None:
        """The elements of a list written out, or of a name bound to one, a None default aside."""
        if isinstance(node, ast.List | ast.Tuple):
            return node.elts, scope
        if not isinstance(node, ast.Name) or (found := scope.find(node.id)) is None:
            return None
        owner, bindings = found
        absent = [b for b in bindings if b.kind == "parameter"]
        if absent and not self._left_none(owner, node.id, absent[0].value):
            return None
        lists = [b for b in bindings if b.kind != "parameter"]
        if len(lists) == 1 and lists[0].kind == "assign" and isinstance(lists[0].value, ast.List | ast.Tuple):
            return lists[0].value.elts, owner
        return None

    def _left_none(self, owner: Scope, name: str, default: ast.expr | None) -> bool:
        """Whether a parameter is None on every call: `def wrapper(x, configs=None)`."""
        return (
            isinstance(default, ast.Constant)
            and default.value is None
            and self.names.default_stands(owner, name)
        )

    def torch_casts(self, node: ast.expr, scope: Scope) -> set[str]:
        """Half-precision types that an argument, or anything it is computed from, is cast to."""
        found: set[str] = set()
        pending, seen = [(node, scope)], {id(node)}
        while pending:
            expression, owner = pending.pop()
            for part in ast.walk(expression):
                match part:
                    case ast.Call():
                        found |= _cast_to(part)
                    case ast.Name() | ast.Attribute(value=ast.Name(id="self")):
                        behind = [b for b in self._bound(part, owner) if id(b[0]) not in seen]
                        seen |= {id(value) for value, _ in behind}
                        pending += behind
                    case _:
                        pass
        return found


def _integers(argument: ast.expr) -> bool:
    """Whether an argument is `*tensor.stride()`, `*tensor.size()` or `*tensor.shape`: no tensors."""
    match argument:
        case ast.Starred(value=ast.Call(func=ast.Attribute(attr="stride" | "size"), args=[], keywords=[])):
            return True
        case ast.Starred(value=ast.Attribute(attr="shape")):
            return True
        case _:
            return False


def _cast_to(call: ast.Call) -> set[str]:
    """The half-precision type of `x.half()`, `x.to(torch.float16)` or `f(…, dtype=torch.float16)`."""
    method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    if method in HALVES:
        return {HALVES[method]}
    kinds = [k.value for k in call.keywords if k.arg == "dtype"]
    if method in ("to", "type"):
        kinds += call.args
    return {HALVES[last_name(kind)] for kind in kinds if last_name(kind) in HALVES}


def _is_view(node: ast.expr) -> bool:
    """Whether an expression may name memory that another name has already."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) and node.func.attr in VIEWS
    return isinstance(node, ast.Name | ast.Attribute | ast.Subscript)


def _config_part(call: ast.Call, name: str, index: int) -> ast.expr | None:
    named = next((k.value for k in call.keywords if k.arg == name), None)
    if named is not None:
        return named
    return call.args[index] if len(call.args) > index else None
