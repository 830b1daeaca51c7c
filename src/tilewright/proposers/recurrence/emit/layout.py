"""Breaks the long lines of written code at commas."""

from __future__ import annotations

from collections.abc import Iterable

WIDTH = 100
OPENING, CLOSING = "([{", ")]}"


def fitted(lines: Iterable[str], depth: int = 0) -> str:
    """Lines of code, those that are too long broken, joined.

    Args:
        depth: columns that the caller will indent them by.
    """
    return "\n".join(fit(line, depth) for line in lines)


def fit(line: str, depth: int = 0) -> str:
    """One line of code, broken at the commas of its last bracket, or of the names it assigns, or before
    the calls of a chain.

    A line that ends in no bracket and assigns no tuple stays as it is.
    """
    if depth + len(line) <= WIDTH or "\n" in line:
        return line
    if line.endswith(","):
        return fit(line[:-1], depth + 1) + ","
    indented = len(line) - len(line.lstrip())
    margin, code = line[:indented], line[indented:]
    if code[-1] not in CLOSING:
        return line
    start = _opening(code)
    names, equals, value = code.partition(" = ")
    if equals and len(names) > WIDTH // 2 and not set(names) & set(OPENING + "\"'"):
        broken = f"{margin}(\n{_items(names, indented, depth)}{margin}) = "
        rest = fit(margin + value, depth).lstrip()
        return broken + rest
    links = _links(value) if equals else []
    if len(links) > 2:
        inner = " " * (indented + 4)
        chain = "".join(fit(inner + link, depth) + "\n" for link in links)
        return f"{margin}{names} = (\n{chain}{margin})"
    if start is None or start + 1 == len(code) - 1:
        return line
    inside = code[start + 1 : -1]
    return f"{margin}{code[: start + 1]}\n{_items(inside, indented, depth)}{margin}{code[-1]}"


def _opening(code: str) -> int | None:
    """Where the bracket opens that closes at the end of the line."""
    quote, places = "", list[int]()
    for place, letter in enumerate(code):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in OPENING:
            places.append(place)
        elif letter in CLOSING and places:
            start = places.pop()
            if place == len(code) - 1:
                return start
    return None


def _links(value: str) -> list[str]:
    """The calls of a chain: "torch.stack(…)", ".view(…)", ".to(…)"."""
    links, depth = [""], 0
    for place, letter in enumerate(value):
        depth += (letter in OPENING) - (letter in CLOSING)
        if letter == "." and depth == 0 and value[place - 1] in CLOSING:
            links.append("")
        links[-1] += letter
    return links


def _items(inside: str, indented: int, depth: int) -> str:
    """What stands between commas, as many to a line as fit, each line ending in a comma."""
    filled = [""]
    for item in _split(inside):
        if filled[-1] and depth + indented + 4 + len(filled[-1]) + 1 + len(item) + 1 > WIDTH:
            filled.append("")
        filled[-1] += (" " if filled[-1] else "") + item + ","
    if len(_split(inside)) == 1 and " for " in inside:
        filled = [inside]  # a comprehension takes no comma
    return "".join(fit(" " * (indented + 4) + line, depth) + "\n" for line in filled)


def _split(text: str) -> list[str]:
    """The parts of a text between the commas outside all brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in OPENING:
            depth += 1
        elif letter in CLOSING:
            depth -= 1
        if letter == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]
