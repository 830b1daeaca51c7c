"""Edits source at known places and leaves every other character as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

import libcst as cst
from libcst.metadata import CodeRange, MetadataWrapper, PositionProvider

from tilewright.kernelfile import Place


@dataclass
class Edits:
    """What to change.

    Args:
        expressions: an expression by its place, to the text that takes its place.
        calls: a call by its place, to what happens to its arguments.
        decorators: a function by name, to a decorator put on top of those it has.
        annotations: a function by name, to what some of its parameters are annotated with.
        before: a line of a statement, to lines of code put before it, indented as it is.
        after: a line of a statement, to lines of code put after it, indented as it is.
        instead: a line of a statement, to the lines of code that take its place; none takes it out.
        parameters: a function by name, to parameters added at its end.
        functions: a function by name, to the text of functions put after it.
    """

    expressions: dict[Place, str] = field(default_factory=dict)
    calls: dict[Place, ArgumentEdit] = field(default_factory=dict)
    decorators: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, dict[str, str]] = field(default_factory=dict)
    before: dict[int, list[str]] = field(default_factory=dict)
    after: dict[int, list[str]] = field(default_factory=dict)
    instead: dict[int, list[str]] = field(default_factory=dict)
    parameters: dict[str, list[str]] = field(default_factory=dict)
    functions: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any(vars(self).values())

    @property
    def lines(self) -> list[tuple[int, int]]:
        """First and last line of everything that is edited by its place."""
        places = [*self.expressions, *self.calls]
        places += [place for one in self.calls.values() for place in one.drop]
        alone = [*self.before, *self.after, *self.instead]
        return [*((place.line, place.end_line) for place in places), *((line, line) for line in alone)]

    @property
    def named(self) -> bool:
        """Whether functions are edited by their name, wherever they stand."""
        return bool(self.decorators or self.annotations or self.parameters or self.functions)


@dataclass
class ArgumentEdit:
    """What happens to one call's arguments.

    Args:
        set: keywords to add.
        drop: places of the expressions whose arguments go.
    """

    set: dict[str, str] = field(default_factory=dict)
    drop: frozenset[Place] = frozenset()


class PlaceNotFound(Exception):
    """A place to edit is not where the parser saw it (an expression inside parentheses of its own)."""


def edit(source: str, edits: Edits) -> str:
    """Apply edits.

    Raises:
        PlaceNotFound: one of them could not be applied; nothing is returned then.
    """
    module, positions = _positioned(source)
    editor = _Editor(edits, positions, source)
    changed = module.visit(editor)
    left = editor.left()
    if left:
        raise PlaceNotFound(f"line {left[0].line}: the expression there could not be edited")
    if missed := sorted({*edits.before, *edits.after, *edits.instead} - editor.lines):
        raise PlaceNotFound(f"line {missed[0]}: no statement begins there")
    return changed.code


@lru_cache(maxsize=2)  # one file is edited many times over
def _positioned(source: str) -> tuple[cst.Module, Mapping[cst.CSTNode, CodeRange]]:
    wrapper = MetadataWrapper(cst.parse_module(source), unsafe_skip_copy=True)
    return wrapper.module, wrapper.resolve(PositionProvider)


class _Editor(cst.CSTTransformer):
    def __init__(self, edits: Edits, positions: Mapping[cst.CSTNode, CodeRange], source: str) -> None:
        super().__init__()
        self.text = source.splitlines()
        self.edits = edits
        self.positions = positions
        self.done: set[Place] = set()
        self.lines: set[int] = set()
        self.edited = edits.lines

    def on_visit(self, node: cst.CSTNode) -> bool:
        """Statements and blocks without anything to edit are left as they are: most of a file is."""
        if self.edits.named or not isinstance(node, cst.SimpleStatementLine | cst.IndentedBlock):
            return super().on_visit(node)
        where = self.positions[node]
        within = any(first <= where.end.line and last >= where.start.line for first, last in self.edited)
        return within and super().on_visit(node)

    def left(self) -> list[Place]:
        wanted = set(self.edits.expressions) | set(self.edits.calls)
        wanted |= {place for one in self.edits.calls.values() for place in one.drop}
        return sorted(wanted - self.done)

    def _place(self, node: cst.CSTNode) -> Place:
        where = self.positions[node]
        line, column, end_line, end_column = (
            *(where.start.line, where.start.column),
            *(where.end.line, where.end.column),
        )
        if isinstance(node, cst.Tuple) and node.lpar:  # to ast a tuple's parentheses are part of it
            while (column := self.text[line - 1].rfind("(", 0, column)) < 0:
                line, column = line - 1, len(self.text[line - 2])
            while (found := self.text[end_line - 1].find(")", end_column)) < 0:
                end_line, end_column = end_line + 1, 0
            end_column = found + 1
        return Place(line, column, end_line, end_column)

    def on_leave(
        self, original_node: cst.CSTNodeT, updated_node: cst.CSTNodeT
    ) -> cst.CSTNodeT | cst.RemovalSentinel | cst.FlattenSentinel[cst.CSTNodeT]:
        changed = super().on_leave(original_node, updated_node)
        if isinstance(original_node, cst.SimpleStatementLine | cst.For | cst.If | cst.While | cst.With):
            return cast(cst.CSTNodeT, self._statement(original_node, changed))
        if isinstance(original_node, cst.BaseExpression):
            place = self._place(original_node)
            if place in self.edits.expressions:
                self.done.add(place)
                return cast(cst.CSTNodeT, cst.parse_expression(self.edits.expressions[place]))
        return changed

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        place = self._place(original_node)
        change = self.edits.calls.get(place)
        if change is None:
            return updated_node
        self.done.add(place)
        kept = []
        for before, after in zip(original_node.args, updated_node.args, strict=True):
            at = self._place(before.value)
            if at in change.drop:
                self.done.add(at)
            else:
                kept.append(after)
        arguments = _ending_like(kept, updated_node.args) if len(kept) < len(updated_node.args) else kept
        for name, value in change.set.items():
            arguments = _appended(arguments, name, value)
        return updated_node.with_changes(args=arguments)

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef | cst.FlattenSentinel[cst.BaseStatement]:
        name = original_node.name.value
        if name in self.edits.annotations:
            annotated = _annotated(updated_node.params, self.edits.annotations[name])
            updated_node = updated_node.with_changes(params=annotated)
        if name in self.edits.parameters:
            updated_node = updated_node.with_changes(
                params=_extended(updated_node.params, self.edits.parameters[name])
            )
        if name in self.edits.decorators:
            decorator = cst.Decorator(cst.parse_expression(self.edits.decorators[name]))
            updated_node = updated_node.with_changes(decorators=[decorator, *updated_node.decorators])
        if name in self.edits.functions:
            added = cst.parse_module(self.edits.functions[name]).body
            apart = [one.with_changes(leading_lines=[cst.EmptyLine(indent=False)] * 2) for one in added]
            return cst.FlattenSentinel([updated_node, *apart])
        return updated_node

    def _statement(self, original: Any, updated: Any) -> Any:
        """A statement with what is put around it or in its place; comments above it stay above."""
        line = self.positions[original].start.line
        edits = self.edits
        if line in self.lines or not any(
            line in lines for lines in (edits.before, edits.after, edits.instead)
        ):
            return updated
        self.lines.add(line)
        before, after = (
            [*map(cst.parse_statement, lines.get(line, ()))] for lines in (edits.before, edits.after)
        )
        middle = [*map(cst.parse_statement, edits.instead[line])] if line in edits.instead else [updated]
        made = [*before, *middle, *after]
        if not made:
            return cst.RemoveFromParent()
        if made[0] is not updated:
            made[0] = made[0].with_changes(leading_lines=[*updated.leading_lines, *made[0].leading_lines])
        if before and middle == [updated]:
            made[len(before)] = updated.with_changes(leading_lines=[])
        return cst.FlattenSentinel(made)


def _extended(parameters: cst.Parameters, added: Sequence[str]) -> cst.Parameters:
    """The parameters and some more, laid out as those before them are."""
    code = cst.parse_statement(f"def f({', '.join(added)}): pass")
    new = list(cast(cst.FunctionDef, code).params.params)
    before = parameters.params
    if not before:
        return parameters.with_changes(params=new)
    last = before[-1]
    separator = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    if len(before) > 1 and isinstance(before[-2].comma, cst.Comma):
        separator = _bare(before[-2].comma)
    joined = [last.with_changes(comma=separator, whitespace_after_param=cst.SimpleWhitespace("")), *new]
    joined[1:-1] = [one.with_changes(comma=separator) for one in joined[1:-1]]
    joined[-1] = joined[-1].with_changes(comma=last.comma, whitespace_after_param=last.whitespace_after_param)
    return parameters.with_changes(params=[*before[:-1], *joined])


def _annotated(parameters: cst.Parameters, annotations: Mapping[str, str]) -> cst.Parameters:
    """The same parameters, some of them with an annotation of their own."""

    def one(parameter: cst.Param) -> cst.Param:
        text = annotations.get(parameter.name.value)
        if text is None:
            return parameter
        return parameter.with_changes(annotation=cst.Annotation(cst.parse_expression(text)))

    return parameters.with_changes(
        posonly_params=[one(p) for p in parameters.posonly_params],
        params=[one(p) for p in parameters.params],
        kwonly_params=[one(p) for p in parameters.kwonly_params],
    )


def _ending_like(kept: Sequence[cst.Arg], before: Sequence[cst.Arg]) -> list[cst.Arg]:
    """The arguments that stay, the last with the ending that the last one had."""
    if not kept:
        return []
    last = kept[-1].with_changes(comma=before[-1].comma, whitespace_after_arg=before[-1].whitespace_after_arg)
    return [*kept[:-1], last]


def _appended(arguments: Sequence[cst.Arg], name: str, value: str) -> list[cst.Arg]:
    """The arguments and one keyword more, laid out as those before it are."""
    if not arguments:
        return [_keyword(name, value)]
    last = arguments[-1]
    separator = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    if len(arguments) > 1 and isinstance(arguments[-2].comma, cst.Comma):
        separator = _bare(arguments[-2].comma)
    added = _keyword(name, value).with_changes(
        comma=last.comma, whitespace_after_arg=last.whitespace_after_arg
    )
    before = last.with_changes(comma=separator, whitespace_after_arg=cst.SimpleWhitespace(""))
    return [*arguments[:-1], before, added]


def _keyword(name: str, value: str) -> cst.Arg:
    return cst.Arg(
        keyword=cst.Name(name),
        value=cst.parse_expression(value),
        equal=cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace("")),
    )


def _bare(comma: cst.Comma) -> cst.Comma:
    """A comma with the line break that follows it but not the comments."""
    after = comma.whitespace_after
    if isinstance(after, cst.ParenthesizedWhitespace):
        line = after.first_line.with_changes(comment=None, whitespace=cst.SimpleWhitespace(""))
        return comma.with_changes(whitespace_after=after.with_changes(first_line=line, empty_lines=[]))
    return comma
