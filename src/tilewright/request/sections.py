"""The structure of a request: which lines belong to which section, whatever the headings look like.

A section begins at a heading: `[TAG]`, `# Heading`, `**Heading**`, `Heading:`, `HEADING` or `1. HEADING`.
What a heading means is told by its words (`VOCABULARY`), never by its exact wording. Fenced blocks are
kept whole, so nothing inside them is taken for a heading. Inside a section, a heading that means
nothing of its own is a `Title`.
"""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

DASH = re.compile(r"^\s*[-*+•·▪‣–]\s+")
BULLET = re.compile(r"^\s*(?:[-*+•·▪‣–]|\d+[.)])\s+")
FENCE = re.compile(r"^\s*(`{3,}|~{3,})\s*([^`]*)$")
TAG = re.compile(r"^ {0,3}\[([A-Za-z][A-Za-z0-9 _/&-]{2,})\](.*)$")
MARKDOWN = re.compile(r"^ {0,3}(#{1,6})\s+(.+)$")
BOLD = re.compile(r"^\*\*(.+?)\*\*\s*(:?)\s*(.*)$")
PLAIN = re.compile(r"^([^:`\"{}]{1,100}):\s*(.*)$")

TAG_LEVEL, BOLD_LEVEL, PLAIN_LEVEL, NO_LEVEL = 0, 7, 8, 9
LISTS = frozenset({"stage", "task", "api", "output"})


@dataclass(frozen=True)
class Words:
    """The words that a heading of one kind is made of: at least one of `core`, and no others but `more`."""

    core: frozenset[str]
    more: frozenset[str]

    @classmethod
    def of(cls, core: str, more: str) -> Words:
        return cls(frozenset(core.split()), frozenset(more.split()) | {"the", "your", "current", "and", "of"})


VOCABULARY = {
    "gpu": Words.of(
        "gpu hardware device",
        "target name model nvidia block specs specification specifications information info details "
        "properties characteristics context",
    ),
    "stage": Words.of("stage phase focus", "optimization optimisation this"),
    "code": Words.of("code kernel implementation", "source triton existing given input baseline today s"),
    "profile": Words.of(
        "ncu profile profiling profiler nsight metrics",
        "data results report compute measured readings kernel performance hardware counters from",
    ),
    "task": Words.of("task instruction instructions objective assignment", "main"),
    "api": Words.of("api triton", "constraints restrictions limitations notes language functions missing"),
    "output": Words.of(
        "output response answer", "rules rule format requirements contract structure required"
    ),
}
TODAY = frozenset({"current", "existing", "given", "input", "baseline", "today"})


@dataclass(frozen=True)
class Text:
    """One line, or what follows a heading on its line."""

    number: int
    text: str


@dataclass(frozen=True)
class Fence:
    """A fenced block: its lines, the number of the first of them, and the numbers of its marks."""

    first: int
    lines: tuple[str, ...]
    marks: tuple[int, ...]

    @property
    def numbers(self) -> list[int]:
        """Of all its lines, its marks included."""
        return [*self.marks, *range(self.first, self.first + len(self.lines))]


@dataclass(frozen=True)
class Title:
    """A heading inside a section."""

    number: int
    title: str


Block = Text | Fence
Piece = Block | Title


@dataclass
class Section:
    """A kind ("" before the first heading, "other" when the heading means nothing here) and its pieces.

    Args:
        headings: numbers of the lines that say what the section is.
        stray: text glued to its heading.
    """

    kind: str
    level: int
    headings: list[int] = field(default_factory=list)
    stray: str = ""
    pieces: list[Piece] = field(default_factory=list)


@dataclass(frozen=True)
class Heading:
    """A line that looks like a heading.

    Args:
        level: 0 for a tag, 1 to 6 for Markdown, then bold, then plain.
        inline: what follows it on its line.
        stray: what is glued to a tag, as in `[STAGE]x`.
    """

    level: int
    title: str
    inline: str = ""
    stray: str = ""
    bulleted: bool = False

    @property
    def kind(self) -> str | None:
        return kind_of(self.title)


def split(lines: list[str]) -> list[Section]:
    """The sections of a request, in order. Lines count from 1."""
    sections = [Section("", NO_LEVEL)]
    pieces = list(_blocks(lines))
    inside_json = 0
    for index, piece in enumerate(pieces):
        current = sections[-1]
        if isinstance(piece, Fence) or piece.number <= inside_json:
            current.pieces.append(piece)
            continue
        if current.kind == "profile" and piece.text.lstrip().startswith("{"):
            inside_json = piece.number + (balanced(lines[piece.number - 1 :]) or 1) - 1
        heading = heading_of(piece.text)
        if (
            current.kind == "code"
            and heading
            and not _ends_code(piece)
            and _unfenced(current, pieces[index:])
        ):
            heading = None
        if heading is None:
            current.pieces.append(piece)
        elif _opens(heading, current, pieces[index + 1 :]):
            sections.append(_section(heading, piece))
        else:
            _inside(heading, current, piece)
    return sections


def heading_of(line: str) -> Heading | None:
    """The heading that a line looks like, by its form alone."""
    if tag := TAG.match(line):
        title, rest = tag.groups()
        if kind_of(title) or (title.isupper() and not rest.strip(": \t")):
            apart = not rest or rest[0] in ": \t"
            return Heading(
                TAG_LEVEL, clean(title), rest.strip(": \t") if apart else "", "" if apart else rest.strip()
            )
        return None
    if markdown := MARKDOWN.match(line):
        title, inline = _labelled(markdown.group(2))
        return Heading(len(markdown.group(1)), title, inline) if title else None
    text = BULLET.sub("", line, count=1).strip()
    bulleted = text != line.strip()
    if bold := BOLD.match(text):
        title, inline = _labelled(bold.group(1))
        colon = bool(inline or bold.group(2)) or bold.group(1).rstrip().endswith(":")
        inline = f"{inline} {bold.group(3)}".strip()
        if title and (colon if inline or bulleted else True):
            return Heading(BOLD_LEVEL, title, inline, bulleted=bulleted)
        return None
    if plain := PLAIN.match(text):
        title, inline = clean(plain.group(1)), plain.group(2).strip()
        return Heading(PLAIN_LEVEL, title, inline, bulleted=bulleted) if title else None
    if text.isupper() and kind_of(text) and (not bulleted or line.lstrip()[0].isdigit()):
        return Heading(PLAIN_LEVEL, clean(text))
    return None


def kind_of(title: str) -> str | None:
    """What a heading means, None when its words fit no kind."""
    words = set(re.findall(r"[a-z0-9]+", re.sub(r"\(.*?\)", " ", title.lower())))
    for kind, vocabulary in VOCABULARY.items():
        if words & vocabulary.core and words <= vocabulary.core | vocabulary.more:
            return kind
    return None


def _labelled(text: str) -> tuple[str, str]:
    """A heading's title, and what follows a colon in it where only the part before has a meaning."""
    title = clean(text)
    head, _, rest = title.partition(":")
    if rest and kind_of(title) is None and kind_of(head):
        return clean(head), rest.strip()
    return title, ""


def clean(title: str) -> str:
    """A heading's words without the marks around them."""
    return " ".join(title.split()).strip("*#[]:_ ")


def balanced(lines: list[str]) -> int | None:
    """How many lines the braces that open on the first one take to close, None if they never do."""
    depth, quote, escaped = 0, "", False
    for count, line in enumerate(lines, start=1):
        for letter in line:
            if escaped:
                escaped = False
            elif quote:
                escaped = letter == "\\"
                quote = "" if letter == quote else quote
            elif letter in "\"'":
                quote = letter
            elif letter in "{}":
                depth += 1 if letter == "{" else -1
                if depth == 0:
                    return count
        quote, escaped = "", False  # no string of a profile runs over a line's end
    return None


def _opens(heading: Heading, current: Section, following: Sequence[Block]) -> bool:
    """Whether a heading begins a section here, or stands inside the current one."""
    kind = heading.kind
    if kind is None and heading.level == current.level == BOLD_LEVEL and current.kind in LISTS - {"stage"}:
        return not heading.inline and not heading.bulleted
    if kind is None or kind == current.kind:
        return heading.level <= min(current.level, 6)
    if heading.bulleted and current.kind in LISTS:
        return False
    if heading.inline and heading.level == PLAIN_LEVEL and kind not in _inline_kinds(current):
        return False
    deeper = heading.level > current.level
    if current.kind == "stage" and deeper:
        words = set(heading.title.lower().split())
        if kind == "profile":
            return _looks_like_profile(heading, following)
        if kind in {"code", "gpu", "task"}:
            return bool(words & (TODAY | {"target", "task"}))
        if kind in {"output", "api"}:
            return len(words) > 1
    return True


def _inline_kinds(current: Section) -> frozenset[str]:
    """Kinds that `Label: text` may begin: elsewhere such a line is only a line."""
    return frozenset({"task"} if current.kind in LISTS else {"task", "gpu", "stage"})


def _looks_like_profile(heading: Heading, following: Sequence[Block]) -> bool:
    """Figures or their absence follow a profile's heading; a list of metrics to read does not."""
    first = following[0] if following and not heading.inline else Text(0, heading.inline)
    if isinstance(first, Fence):
        return "\n".join(first.lines).lstrip().startswith("{")
    return bool(re.match(r"\s*(?:\{|no\b|none\b|n/a\b|not\b)", first.text, re.IGNORECASE))


def _section(heading: Heading, piece: Text) -> Section:
    section = Section(heading.kind or "other", heading.level, [piece.number], heading.stray)
    if heading.inline:
        whole = section.kind in {"gpu", "stage"} and heading.level >= BOLD_LEVEL
        section.pieces.append(piece if whole else Text(piece.number, heading.inline))
    return section


def _inside(heading: Heading, current: Section, piece: Text) -> None:
    """Add a heading that begins no section to the one it stands in."""
    kind = heading.kind
    line_of_text = heading.inline and (heading.level == PLAIN_LEVEL or heading.bulleted or kind == "stage")
    if current.kind != "stage" or line_of_text or (heading.bulleted and kind not in (None, "stage")):
        current.pieces.append(piece)
    elif kind == "stage" and "focus" not in heading.title.lower():
        current.headings.append(piece.number)
    else:
        current.pieces.append(Title(piece.number, heading.title))
        if heading.inline:
            current.pieces.append(Text(piece.number, heading.inline))


def _unfenced(current: Section, following: Sequence[Piece]) -> bool:
    """Whether the code of this section stands without a fence, so that its comments look like headings."""
    for piece in [*current.pieces, *following]:
        if isinstance(piece, Fence):
            return False
        if _ends_code(piece):
            return True
    return True


def _ends_code(piece: Piece) -> bool:
    """Whether a line ends code that stands without a fence: a known heading that is no comment."""
    if not isinstance(piece, Text) or piece.text[:1].isspace():
        return False
    heading = heading_of(piece.text)
    if heading is None or heading.kind in (None, "code") or heading.bulleted:
        return False
    return heading.level in (TAG_LEVEL, BOLD_LEVEL) or (heading.level == PLAIN_LEVEL and not heading.inline)


def _blocks(lines: list[str]) -> Iterator[Text | Fence]:
    """Lines that are not blank, with fenced blocks kept whole."""
    index = 0
    while index < len(lines):
        fence = FENCE.match(lines[index])
        if fence:
            end, closed = _close(lines, index + 1, fence.group(1))
            marks = (index + 1, end + 1) if closed else (index + 1,)
            yield Fence(index + 2, tuple(lines[index + 1 : end]), marks)
            index = end + 1 if closed else end
            continue
        if lines[index].strip():
            yield Text(index + 1, lines[index])
        index += 1


def _close(lines: list[str], start: int, mark: str) -> tuple[int, bool]:
    """Where a fence closes: the index of its closing mark, or of the line that ends it unclosed.

    A docstring in the code may hold a mark of its own. So of several candidates the first that
    leaves whole Python behind wins, else the first before the next tag. A mark of four or more is
    taken at its word: whoever writes one has chosen it longer than any inside.
    """
    closing = re.compile(rf"^\s*{re.escape(mark[0])}{{{len(mark)},}}\s*$")
    candidates = [index for index in range(start, len(lines)) if closing.match(lines[index])]
    if candidates and len(mark) > 3:
        return candidates[0], True
    for index in candidates:
        if is_python("\n".join(lines[start:index])):
            return index, True
    tags = (i for i in range(start, len(lines)) if (m := TAG.match(lines[i])) and kind_of(m.group(1)))
    limit = next(tags, len(lines))
    return (candidates[0], True) if candidates and candidates[0] < limit else (limit, False)


def is_python(text: str) -> bool:
    """Whether a block of text, indented as a whole or not, parses as Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd escapes in the user's strings are not our news
        try:
            ast.parse(textwrap.dedent(text))
        except (SyntaxError, ValueError):
            return False
    return True
