"""What goes into each argument of an entry: an input of forward, or something that the model holds.

Names decide first, as `judge.parameters` has it for a ModelNew that exists; forward's inputs fill what is
left in their order; the rest is for the user to say. An argument's shape is known to nobody before it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tilewright.entry.callee import Argument
from tilewright.errors import AmbiguousParameters
from tilewright.judge.parameters import BOOKKEEPING


@dataclass(frozen=True)
class Source:
    """Something of Model that an argument can take.

    Args:
        name: "x" of an input or argument of the constructor, dotted of what a module holds: "norm.weight".
        kind: "input", "tensor" (a parameter or buffer), "value" (another attribute) or "constructor".
        shown: for people, with its shape or value.
        required: of an input, that it has no default.
    """

    name: str
    kind: str
    shown: str
    required: bool = True


Matched = dict[str, Source]


def match(
    arguments: Sequence[Argument], sources: Sequence[Source], given: Mapping[str, str], function: str
) -> Matched:
    """The source of every argument that has one; the others keep their default.

    Args:
        sources: of one name, the one to prefer first.
        given: argument → name of its source, as the user said.
        function: what messages call the entry.

    Raises:
        AmbiguousParameters: an argument without a default is left over, or an input of forward is.
    """
    matched = _given(sources, given, function)
    for rule in (_same_name, _dotted_name, _last_name):
        for argument in arguments:
            if argument.name not in matched:
                found = rule(argument, [s for s in sources if s not in matched.values()])
                if found is not None:
                    matched[argument.name] = found
    open_ones = [a for a in arguments if a.required and a.name not in matched]
    inputs = [s for s in sources if s.kind == "input" and s not in matched.values()]
    matched.update({a.name: s for a, s in zip(open_ones, inputs, strict=False)})
    open_ones = [a for a in open_ones if a.name not in matched]
    tensors = _left(sources, matched, "tensor")
    if len(open_ones) == len(tensors) == 1:
        matched[open_ones[0].name] = tensors[0]
        open_ones = []
    if open_ones:
        raise _unmatched(open_ones[0], [s for s in sources if s not in matched.values()], function)
    for source in _left(sources, matched, "input"):
        if source.required:
            raise _unused(source, [a for a in arguments if a.name not in matched], function)
    return matched


def left_out(sources: Sequence[Source], matched: Matched) -> list[str]:
    """Names of parameters and buffers that no argument takes."""
    return [source.name for source in _left(sources, matched, "tensor")]


def _left(sources: Sequence[Source], matched: Matched, kind: str) -> list[Source]:
    return [
        s
        for s in sources
        if s.kind == kind and s not in matched.values() and s.name.split(".")[-1] not in BOOKKEEPING
    ]


def _given(sources: Sequence[Source], given: Mapping[str, str], function: str) -> Matched:
    matched = {}
    for argument, name in given.items():
        source = next((s for s in sources if s.name == name), None)
        if source is None:
            raise AmbiguousParameters(
                f"the map gives {function}'s {argument} the value of {name}, which Model does not have",
                mend=f"Model has {_listed(sources)}",
            )
        matched[argument] = source
    return matched


def _same_name(argument: Argument, free: Sequence[Source]) -> Source | None:
    return next((s for s in free if s.name == argument.name), None)


def _dotted_name(argument: Argument, free: Sequence[Source]) -> Source | None:
    """norm_weight for norm.weight."""
    return _only(argument, free, lambda source: source.name.replace(".", "_"))


def _last_name(argument: Argument, free: Sequence[Source]) -> Source | None:
    """weight for norm.weight, where no other ends in it."""
    return _only(argument, free, lambda source: source.name.split(".")[-1])


def _only(argument: Argument, free: Sequence[Source], name: Callable[[Source], str]) -> Source | None:
    """The one tensor of this name, else the one value.

    A value inside a module is not taken for an argument that has a default: a convolution's padding is a
    tuple where a function of its own may want a number.
    """
    for kind in ("tensor", "value") if argument.required else ("tensor",):
        named = [s for s in free if s.kind == kind and name(s) == argument.name]
        if named:
            return named[0] if len(named) == 1 else None
    return None


def _unmatched(argument: Argument, free: Sequence[Source], function: str) -> AmbiguousParameters:
    what = f"Model has nothing by the name of {function}'s argument {argument.name}"
    fits = [s for s in free if s.kind == "tensor"] or list(free)
    if not fits:
        return AmbiguousParameters(what, mend="name a function that takes what Model's forward works with")
    return AmbiguousParameters(
        what,
        mend=f"say what goes there with --map {argument.name}=NAME; not taken yet: {_listed(fits)}",
    )


def _unused(source: Source, free: Sequence[Argument], function: str) -> AmbiguousParameters:
    what = f"forward's {source.name} goes into no argument of {function}"
    if not free:
        return AmbiguousParameters(what, mend="name a function that takes it")
    return AmbiguousParameters(
        what,
        mend=f"say where with --map, for example --map {free[0].name}={source.name}; left:"
        f" {', '.join(a.name for a in free)}",
    )


def _listed(sources: Sequence[Source]) -> str:
    return ", ".join(dict.fromkeys(source.shown for source in sources)) or "nothing"
