"""Who binds which name, and the literal behind an expression. Nothing is executed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from tilewright.kernelfile.model import Place, Scalar, Value

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
MAX_STEPS = 12  # variables followed before giving up


@dataclass(frozen=True)
class Folded:
    """A literal's value, so that a literal None differs from no literal."""

    value: Scalar


@dataclass(frozen=True)
class Binding:
    """One way in which a scope binds a name.

    Args:
        kind: "assign", "unpack", "changed" (augmented, or an item or attribute set), "parameter",
            "loop", "import", "function", "class" or "other".
        value: the expression bound, the default of a parameter; None when there is none.
    """

    kind: str
    line: int
    value: ast.expr | None = None


@dataclass(eq=False)
class Scope:
    """A module, function or lambda, and the names that it binds."""

    node: ast.AST
    parent: Scope | None
    bindings: dict[str, list[Binding]] = field(default_factory=dict)

    @property
    def function(self) -> str:
        """The nearest named function around, empty at top level."""
        scope: Scope | None = self
        while scope is not None:
            if isinstance(scope.node, FunctionNode):
                return scope.node.name
            scope = scope.parent
        return ""

    def find(self, name: str) -> tuple[Scope, list[Binding]] | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.bindings:
                return scope, scope.bindings[name]
            scope = scope.parent
        return None

    def only(self, name: str) -> tuple[Scope, ast.expr] | None:
        """The scope and expression of a name that is assigned exactly once, else None."""
        found = self.find(name)
        if found and len(found[1]) == 1 and found[1][0].kind == "assign" and found[1][0].value:
            return found[0], found[1][0].value
        return None


class Names:
    """All scopes of a module, with what the other readers need to look things up."""

    def __init__(self, source: str, tree: ast.Module) -> None:
        self._lines = source.splitlines(keepends=True)
        self.tree = tree
        self.module = Scope(tree, None)
        self.scopes: dict[ast.AST, Scope] = {tree: self.module}
        self.calls: list[tuple[ast.Call, Scope]] = []
        self.attributes: dict[str, list[tuple[ast.expr, Scope]]] = {}  # self.NAME = value
        self.classes: dict[str, Scope] = {}
        self._uses: dict[str, int] = {}  # how often a name is read other than to be called
        _Collector(self).visit(tree)
        for call, _ in self.calls:
            if isinstance(call.func, ast.Name):
                self._uses[call.func.id] = self._uses.get(call.func.id, 0) - 1
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                self._uses[node.id] = self._uses.get(node.id, 0) + 1

    def place(self, node: ast.expr | ast.stmt) -> Place:
        """Where a node is written; ast counts columns in UTF-8 bytes, a Place in characters."""
        end_line = node.end_lineno or node.lineno
        return Place(
            node.lineno,
            self._characters(node.lineno, node.col_offset),
            end_line,
            self._characters(end_line, node.end_col_offset or 0),
        )

    def _characters(self, line: int, offset: int) -> int:
        text = self._lines[line - 1] if line <= len(self._lines) else ""
        return len(text.encode()[:offset].decode(errors="replace"))

    def resolve(self, node: ast.expr, scope: Scope, steps: int = 0) -> Value:
        """Follow an expression back to a literal, through names that are bound once."""
        text = ast.unparse(node)
        literal = fold(node)
        if literal is not None:
            return Value(text, "here", True, literal.value, self.place(node))
        if steps > MAX_STEPS:
            return Value(text, "computed", reason=f"{text} is defined in terms of itself")
        if isinstance(node, ast.Name):
            return self._resolve_name(node.id, scope, steps)
        if isinstance(node, ast.Call) and last_name(node.func) == "constexpr" and len(node.args) == 1:
            return replace(self.resolve(node.args[0], scope, steps + 1), text=text)
        if isinstance(node, ast.Call) and (bound := _bound(node)) is not None:
            most = fold(bound)
            return Value(
                text,
                "bounded",
                False,
                most.value if most else None,
                self.place(bound),
                reason="computed by min",
            )
        if isinstance(node, ast.Call):
            return Value(text, "computed", reason=f"computed by {ast.unparse(node.func)}")
        if isinstance(node, ast.IfExp):
            literals = [fold(node.body), fold(node.orelse)]
            if all(literal is not None for literal in literals):
                choices = tuple(literal.value for literal in literals if literal is not None)
                return Value(text, "choice", choices=choices, reason=f"{text} depends on a branch")
        if (held := self.held(node, scope)) is not None:
            value = self.resolve(*held, steps + 1)
            if value.known and value.origin != "default":  # whoever constructs the object may pass another
                return replace(value, text=text, origin="variable", names=(text, *value.names))
        if isinstance(node, ast.Attribute):
            return Value(text, "computed", reason=f"an attribute, {text}")
        return Value(text, "computed", reason=f"computed as {text}")

    def held(self, node: ast.AST, scope: Scope) -> tuple[ast.expr, Scope] | None:
        """What `self.NAME`, `Class.NAME` or `TABLE["key"]` is bound to, if that happens once in the file."""
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name):
                bound = list(self.attributes.get(name, []))
                owners = list(self.classes.values())
            case ast.Attribute(value=ast.Name(id=owner), attr=name) if owner in self.classes:
                found = scope.find(owner)
                bound, owners = [], [self.classes[owner]] if found and len(found[1]) == 1 else []
            case ast.Subscript(value=ast.Name(id=table), slice=ast.Constant(value=str() | int() as key)):
                only = scope.only(table)
                return None if only is None else _entry(only[1], key, only[0])
            case _:
                return None
        for body in owners:
            bound += [(b.value, body) for b in body.bindings.get(name, ()) if b.value is not None]
        return bound[0] if len(bound) == 1 else None

    def passed(self, owner: Scope, name: str) -> list[tuple[ast.expr, Scope]]:
        """What each call of a function in the file gives one of its parameters, defaults included.

        Empty where not every use of the function is a plain call by its name.
        """
        node = owner.node
        if not isinstance(node, FunctionNode) or self._uses.get(node.name, 0) > 0:
            return []
        positional = [a.arg for a in (*node.args.posonlyargs, *node.args.args)]
        defaults = {a.arg: default for a, default in with_defaults(node.args)}
        found: list[tuple[ast.expr, Scope]] = []
        for call, scope in self.calls:
            if last_name(call.func) != node.name:
                continue
            named = {k.arg: k.value for k in call.keywords}
            starred = any(isinstance(a, ast.Starred) for a in call.args)
            if not isinstance(call.func, ast.Name) or starred or None in named:
                return []
            given = dict(zip(positional, call.args, strict=False)) | named
            if name in given:
                found.append((given[name], scope))
            elif (default := defaults.get(name)) is not None:
                found.append((default, owner.parent or owner))
        return found

    def _resolve_name(self, name: str, scope: Scope, steps: int) -> Value:
        def unknown(reason: str) -> Value:
            return Value(name, "computed", names=(name,), reason=reason)

        found = scope.find(name)
        if found is None:
            return unknown(f"{name} is not defined in the file")
        owner, bindings = found
        for binding in bindings:
            if binding.kind == "changed":
                return unknown(f"{name} is changed in line {binding.line}")
        first = bindings[0]
        if len(bindings) > 1:
            literals = [fold(b.value) if b.value and b.kind == "assign" else None for b in bindings]
            if all(literal is not None for literal in literals):
                choices = tuple(literal.value for literal in literals if literal is not None)
                return Value(
                    name, "choice", names=(name,), choices=choices, reason=f"{name} depends on a branch"
                )
            return unknown(f"{name} is assigned more than once")
        match first.kind:
            case "assign" if first.value is not None:
                origin = "variable"
                value = self.resolve(first.value, owner, steps + 1)
            case "parameter" if first.value is not None and self.default_stands(owner, name):
                origin = "default"
                value = self.resolve(first.value, owner.parent or owner, steps + 1)
            case "parameter" if len(passed := self.passed(owner, name)) == 1:
                origin = "variable"
                value = self.resolve(*passed[0], steps + 1)
            case "parameter" if first.value is not None:
                return unknown(f"{name} is a parameter that callers pass")
            case "parameter":
                return unknown(f"{name} is a parameter of {owner.function or 'a lambda'}")
            case "unpack":
                source = ast.unparse(first.value) if first.value else "a sequence"
                return unknown(f"{name} is unpacked from {source}")
            case "loop":
                return unknown(f"{name} is a loop variable")
            case _:
                return unknown(f"{name} is not a number")
        if not value.known:
            return replace(value, text=name, names=(name, *value.names))
        if value.origin == "default":
            origin = "default"
        return replace(value, text=name, origin=origin, names=(name, *value.names))

    def default_stands(self, owner: Scope, name: str) -> bool:
        """Whether no call in the file gives this parameter a value of its own."""
        node = owner.node
        if not isinstance(node, FunctionNode) or self._uses.get(node.name, 0) > 0:
            return False
        positional = [a.arg for a in (*node.args.posonlyargs, *node.args.args)]
        index = positional.index(name) if name in positional else len(positional)
        for call, _ in self.calls:
            if last_name(call.func) != node.name:
                continue
            given = len(call.args) + (1 if isinstance(call.func, ast.Attribute) else 0)
            starred = any(isinstance(a, ast.Starred) for a in call.args)
            named = any(k.arg in (None, name) for k in call.keywords)
            if named or starred or given > index:
                return False
        return True


class _Collector(ast.NodeVisitor):
    """Fills a Names with the scopes of a module."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.scope = names.module

    def bind(self, name: str, kind: str, line: int, value: ast.expr | None = None) -> None:
        self.scope.bindings.setdefault(name, []).append(Binding(kind, line, value))

    def bind_target(self, target: ast.expr, kind: str, value: ast.expr | None) -> None:
        match target:
            case ast.Name(id=name):
                self.bind(name, kind, target.lineno, value)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                values = value.elts if isinstance(value, ast.Tuple | ast.List) else None
                for index, part in enumerate(parts):
                    if kind == "assign" and values is not None and len(values) == len(parts):
                        self.bind_target(part, "assign", values[index])
                    else:
                        self.bind_target(part, "unpack" if kind == "assign" else kind, value)
            case ast.Starred(value=inner):
                self.bind_target(inner, "unpack", value)
            case ast.Attribute(attr=attribute, value=ast.Name(id="self")) if value is not None:
                self.names.attributes.setdefault(attribute, []).append((value, self.scope))
            case ast.Subscript(value=ast.Name(id=name)) | ast.Attribute(value=ast.Name(id=name)):
                found = self.scope.find(name)
                if found:
                    found[1].append(Binding("changed", target.lineno))
            case _:
                pass

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self.bind_target(target, "assign", node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)
            self.bind_target(node.target, "assign", node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.visit(node.value)
        if isinstance(node.target, ast.Name):
            self.bind(node.target.id, "changed", node.lineno)
        else:
            self.bind_target(node.target, "changed", node.value)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self.bind_target(node.target, "assign", node.value)

    def visit_For(self, node: ast.For) -> None:
        self.bind_target(node.target, "loop", node.iter)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self.bind_target(node.target, "loop", node.iter)
        self.generic_visit(node)

    def visit_withitem(self, node: ast.withitem) -> None:
        if node.optional_vars is not None:
            self.bind_target(node.optional_vars, "other", None)
        self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> None:
        for name in node.names:  # what the function assigns is then the module's
            self.scope.bindings[name] = self.names.module.bindings.setdefault(name, [])

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            self.bind((alias.asname or alias.name).split(".")[0], "import", node.lineno)

    visit_ImportFrom = visit_Import

    def visit_Call(self, node: ast.Call) -> None:
        self.names.calls.append((node, self.scope))
        if last_name(node.func) == "register_buffer" and len(node.args) >= 2:
            match node.args[0]:
                case ast.Constant(value=str(name)):
                    self.names.attributes.setdefault(name, []).append((node.args[1], self.scope))
                case _:
                    pass
        self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.bind(node.name, "class", node.lineno)
        outer, self.scope = self.scope, Scope(node, self.scope)
        self.names.classes[node.name] = self.scope
        for statement in node.body:  # a class's own names are not visible in its methods
            if isinstance(statement, FunctionNode):
                self.scope, inside = outer, self.scope
                self._function(statement)
                self.scope = inside
            else:
                self.visit(statement)
        self.scope = outer

    def visit_FunctionDef(self, node: FunctionNode) -> None:
        self.bind(node.name, "function", node.lineno)
        self._function(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._enter(node, node.args, [node.body])

    def _function(self, node: FunctionNode) -> None:
        for decorator in node.decorator_list:
            self.visit(decorator)
        self._enter(node, node.args, node.body)

    def _enter(self, node: ast.AST, arguments: ast.arguments, body: list[ast.stmt] | list[ast.expr]) -> None:
        for default in (*arguments.defaults, *arguments.kw_defaults):
            if default is not None:
                self.visit(default)
        outer, self.scope = self.scope, Scope(node, self.scope)
        self.names.scopes[node] = self.scope
        for argument, default in with_defaults(arguments):
            self.bind(argument.arg, "parameter", argument.lineno, default)
        for part in body:
            self.visit(part)
        self.scope = outer


def with_defaults(arguments: ast.arguments) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    """Every parameter in order, with its default."""
    positional = [*arguments.posonlyargs, *arguments.args]
    missing = len(positional) - len(arguments.defaults)
    for index, argument in enumerate(positional):
        yield argument, arguments.defaults[index - missing] if index >= missing else None
    if arguments.vararg:
        yield arguments.vararg, None
    yield from zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    if arguments.kwarg:
        yield arguments.kwarg, None


def _entry(table: ast.expr, key: str | int, scope: Scope) -> tuple[ast.expr, Scope] | None:
    """The element of a dict, list or tuple written out that has this key; None where it is not plain."""
    values: list[ast.expr] = []
    match table:
        case ast.Dict(keys=keys, values=all_values) if None not in keys:
            values = [v for k, v in zip(keys, all_values, strict=True)
                      if isinstance(k, ast.Constant) and k.value == key]  # fmt: skip
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=keywords):
            values = [k.value for k in keywords if k.arg == key]
        case ast.List(elts=elements) | ast.Tuple(elts=elements) if isinstance(key, int):
            plain = not any(isinstance(element, ast.Starred) for element in elements)
            values = [elements[key]] if plain and key < len(elements) else []
        case _:
            pass
    return (values[0], scope) if len(values) == 1 else None


def _bound(call: ast.Call) -> ast.expr | None:
    """The one literal of `min(64, …)`; None for any other call."""
    if not isinstance(call.func, ast.Name) or call.func.id != "min" or call.keywords:
        return None
    literals = [argument for argument in call.args if isinstance(argument, ast.Constant)]
    return literals[0] if len(literals) == 1 and len(call.args) > 1 else None


def fold(node: ast.expr | None) -> Folded | None:
    """A literal, or integer arithmetic on literals, as one constant; None when it is neither."""
    match node:
        case ast.Constant(value=int() | float() | str() | None as value):
            return Folded(value)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = fold(operand)
            if inner is not None and isinstance(inner.value, int | float):
                return Folded(-inner.value)
        case ast.BinOp(left=left, op=op, right=right):
            a, b = fold(left), fold(right)
            if a is not None and b is not None and isinstance(a.value, int) and isinstance(b.value, int):
                result = _fold_integers(a.value, op, b.value)
                return None if result is None else Folded(result)
        case _:
            pass
    return None


def _fold_integers(a: int, op: ast.operator, b: int) -> int | None:
    match op:
        case ast.Add():
            return a + b
        case ast.Sub():
            return a - b
        case ast.Mult():
            return a * b
        case ast.FloorDiv() if b:
            return a // b
        case ast.LShift() | ast.Pow() if 0 <= b <= 64 and abs(a) <= 1024:
            return a << b if isinstance(op, ast.LShift) else int(a**b)
        case _:
            return None


def last_name(node: ast.expr) -> str:
    """`dot` of `tl.dot`, `f` of `f`; empty for anything else."""
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case _:
            return ""
