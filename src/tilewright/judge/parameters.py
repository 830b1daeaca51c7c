"""Which parameter of ModelNew holds which parameter of Model.

Names decide first; what is left over is matched where its shape occurs once on each side; the rest
is for the user to say. Two biases of one length under new names are two possible matches, and
guessing between them would judge the wrong function.
"""

from __future__ import annotations

from collections.abc import Mapping

from tilewright.errors import AmbiguousParameters

# Buffers that a module keeps for itself and that no output in evaluation depends on.
BOOKKEEPING = frozenset({"num_batches_tracked"})
Shape = tuple[int, ...]


def match_parameters(
    reference: Mapping[str, Shape],
    candidate: Mapping[str, Shape],
    given: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Match parameters and buffers by the user's map, by name, then by unique shape.

    Args:
        reference: Model's, name to shape.
        candidate: ModelNew's, name to shape.
        given: candidate name to reference name, as the user said; it overrides everything else.

    Returns:
        Candidate name to reference name, for every candidate parameter but unmatched bookkeeping.

    Raises:
        AmbiguousParameters: one is left over on either side, fits several, or a map that is given
            names something that is not there or differs in shape.
    """
    matched = dict(given or {})
    _check_given(reference, candidate, matched)
    for name, shape in candidate.items():
        if name not in matched and name not in matched.values() and reference.get(name) == shape:
            matched[name] = name
    matched.update(_unique_by_shape(reference, candidate, matched))
    left = {n: s for n, s in candidate.items() if n not in matched and not _bookkeeping(n)}
    missing = {n: s for n, s in reference.items() if n not in set(matched.values()) and not _bookkeeping(n)}
    if left or missing:
        raise AmbiguousParameters(_describe(left, missing), mend=_mend(left, missing))
    return {name: matched[name] for name in candidate if name in matched}


def _unique_by_shape(
    reference: Mapping[str, Shape], candidate: Mapping[str, Shape], matched: Mapping[str, str]
) -> dict[str, str]:
    """Pairs whose shape is left exactly once on each side."""
    taken = set(matched.values())
    ours: dict[Shape, list[str]] = {}
    theirs: dict[Shape, list[str]] = {}
    for name, shape in candidate.items():
        if name not in matched and not _bookkeeping(name):
            ours.setdefault(shape, []).append(name)
    for name, shape in reference.items():
        if name not in taken and not _bookkeeping(name):
            theirs.setdefault(shape, []).append(name)
    return {
        names[0]: theirs[shape][0]
        for shape, names in ours.items()
        if len(names) == 1 and len(theirs.get(shape, [])) == 1
    }


def _check_given(
    reference: Mapping[str, Shape], candidate: Mapping[str, Shape], given: Mapping[str, str]
) -> None:
    for ours, theirs in given.items():
        if ours not in candidate:
            raise AmbiguousParameters(
                f"the map names {ours}, which ModelNew does not have",
                mend=f"ModelNew has {', '.join(candidate) or 'no parameters'}",
            )
        if theirs not in reference:
            raise AmbiguousParameters(
                f"the map names {theirs}, which Model does not have",
                mend=f"Model has {', '.join(reference) or 'no parameters'}",
            )
        if candidate[ours] != reference[theirs]:
            raise AmbiguousParameters(
                f"the map pairs {_shown(ours, candidate[ours])} with {_shown(theirs, reference[theirs])}",
                mend="pair parameters of one shape",
            )
    if len(set(given.values())) < len(given):
        raise AmbiguousParameters(
            "the map uses one parameter of Model twice", mend="pair each with one of ModelNew"
        )


def _describe(left: Mapping[str, Shape], missing: Mapping[str, Shape]) -> str:
    ours = ", ".join(_shown(n, s) for n, s in left.items())
    theirs = ", ".join(_shown(n, s) for n, s in missing.items())
    if not left:
        return f"no parameter of ModelNew holds Model's {theirs}"
    if not missing:
        return f"ModelNew's {ours} match no parameter of Model"
    return f"ModelNew's {ours} match none, or several, of Model's {theirs}"


def _mend(left: Mapping[str, Shape], missing: Mapping[str, Shape]) -> str:
    for ours, shape in left.items():
        fits = [theirs for theirs, other in missing.items() if other == shape]
        if fits:
            return f"say which is which with --map CANDIDATE=REFERENCE, for example --map {ours}={fits[0]}"
    return "give ModelNew parameters of the same shapes as Model's"


def _shown(name: str, shape: Shape) -> str:
    return f"{name} [{', '.join(map(str, shape))}]"


def _bookkeeping(name: str) -> bool:
    return name.split(".")[-1] in BOOKKEEPING
