"""Text of a request to values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from tilewright.errors import InputError, RequestError, UnknownGpu, Where
from tilewright.gpu.catalogue import find
from tilewright.gpu.fields import gpu_from_fields, read_field
from tilewright.gpu.model import Gpu
from tilewright.problem import read_text
from tilewright.request.listed import cells, listed
from tilewright.request.model import Guidance, Ignored, Request, Threshold
from tilewright.request.profile import Profile, read_profile
from tilewright.request.sections import BULLET, DASH, Fence, Section, Text, Title, balanced, clean, split
from tilewright.stages.catalogue import Match, match_focus

PLACEHOLDER = re.compile(r"^\s*#\s*<[^<>]*>\s*$")
FOCUS = re.compile(r"^[#*\s]*focus\s*\**\s*:\s*(.*)$", re.IGNORECASE)
THRESHOLD = re.compile(
    r"`?\b([a-z0-9]+__[a-z0-9_.]+|occupancy_[a-z_]+)`?\s*\(?(?:target\s*)?(>=|<=|[<>≥≤])\s*([\d.]+)"
)
RELATIONS = {"≥": ">=", "≤": "<="}
NEGATION = re.compile(
    r"\b(?:no|not|none|never|without|lacks?|missing|unavailable|unsupported)\b|n't\b", re.IGNORECASE
)
TURN = re.compile(
    r"(?<!not )(?<!n't )(?<!never )\buse\b|\binstead\b|\bbut\b|\bprefer\b|;|→|->", re.IGNORECASE
)
STATEMENT = re.compile(r"\s*(?:import\s|from\s|def\s|class\s|@\w)")
NO_PROFILE = "the request has no profile"


def read_request(path: Path) -> Request:
    """Parse the request in a file.

    Raises:
        RequestError: the file cannot be read, or see `parse`.
    """
    return parse(read_text(path, RequestError, "request"), str(path))


def parse(text: str, path: str = "request.txt") -> Request:
    """Understand a request.

    Every line that is not blank ends up in `Request.used` or `Request.ignored`.

    Args:
        text: the request; any of the three line endings.
        path: what messages call it.

    Raises:
        RequestError: it holds neither code nor a GPU nor a stage, or its profile is broken.
    """
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    reading = Reading(lines, path)
    sections = split(lines)
    for section in sections:
        reading.note_headings(section)
    request = reading.request(sections)
    if request.code is None and not request.gpu_fields and not request.focus and not request.guidance:
        raise RequestError(
            "holds no current code, no GPU and no stage",
            where=Where(path),
            mend="give at least a [CURRENT CODE] section with the code in a ```python fence",
        )
    return request


class Reading:
    """One request on its way to values: what has been used, ignored and noted so far."""

    def __init__(self, lines: list[str], path: str) -> None:
        self.lines = lines
        self.path = path
        self.used: set[int] = set()
        self.ignored: list[Ignored] = []
        self.notes: list[str] = []

    def request(self, sections: list[Section]) -> Request:
        by_kind: dict[str, list[Section]] = {}
        for section in sections:
            by_kind.setdefault(section.kind, []).append(section)
        fields = self.gpu_fields(by_kind.get("gpu", []))
        focus, guidance = self.stage(by_kind.get("stage", []))
        code, code_line = self.code(by_kind)
        profile = self.profile(by_kind.get("profile", []))
        api = self.items(by_kind.get("api", []))
        task = self.items([*by_kind.get("", []), *by_kind.get("task", [])])
        output = self.items(by_kind.get("output", []))
        self.leftovers(sections)
        return Request(
            gpu_fields=fields,
            gpu=self.gpu(fields),
            focus=focus,
            match=self.match(focus, guidance),
            guidance=guidance,
            thresholds=thresholds(guidance),
            code=code,
            profile=profile.figures,
            profile_note=profile.note,
            task=task,
            api_constraints=api,
            missing_functions=missing_functions(api),
            output_rules=output,
            path=self.path,
            code_line=code_line,
            used=tuple(number for number in sorted(self.used) if self.lines[number - 1].strip()),
            ignored=tuple(sorted(self.ignored, key=lambda ignored: ignored.line)),
            notes=tuple(self.notes),
        )

    def note_headings(self, section: Section) -> None:
        if section.kind != "other":
            self.used.update(section.headings)
        if section.stray:
            self.ignored.append(Ignored(section.headings[0], section.stray, "glued to its heading"))

    def gpu_fields(self, sections: Sequence[Section]) -> tuple[tuple[str, str], ...]:
        fields = []
        for piece in _texts(sections):
            row = cells(piece.text)
            if row == ():  # the rule below a table's head
                self.used.add(piece.number)
                continue
            bare = ": ".join(row[:2]) if row else _item(piece.text)
            label, _, value = (re.sub(r"^[\s*]+|[\s*]+$", "", part) for part in bare.partition(":"))
            if not value and _known(clean(bare)):
                label, value = "GPU Name", clean(bare)
            if not label or not value:
                continue
            fields.append((label, value))
            if read_field(label, value):
                self.used.add(piece.number)
            else:
                self.ignored.append(
                    Ignored(piece.number, piece.text.strip(), "says nothing we know of a GPU")
                )
        return tuple(fields)

    def gpu(self, fields: tuple[tuple[str, str], ...]) -> Gpu | None:
        if not fields:
            self.notes.append("the request names no GPU")
            return None
        try:
            return gpu_from_fields(fields)
        except InputError as error:
            self.notes.append(str(error))
            return None

    def stage(self, sections: Sequence[Section]) -> tuple[str, tuple[Guidance, ...]]:
        """The focus, and the lists under each title. Examples in fences are items, never code."""
        focus, awaiting = "", False
        groups: list[tuple[Title | None, list[str]]] = [(None, [])]
        for piece in (piece for section in sections for piece in section.pieces):
            if isinstance(piece, Title):
                is_focus = piece.title.lower() == "focus" and not focus
                awaiting = is_focus
                if is_focus:
                    self.used.add(piece.number)
                else:
                    groups.append((piece, []))
                continue
            item, numbers = _stage_item(piece)
            if not item:
                continue
            self.used.update(numbers)
            said = FOCUS.match(BULLET.sub("", item, count=1)) if isinstance(piece, Text) else None
            if not focus and (awaiting or said):
                focus = clean_focus(said.group(1) if said else item)
                awaiting = not focus
            else:
                groups[-1][1].append(item)
        guidance = []
        for title, items in groups:
            if items:
                self.used.update([title.number] if title else [])
                guidance.append(Guidance(title.title if title else "", tuple(items)))
        return focus, tuple(guidance)

    def match(self, focus: str, guidance: tuple[Guidance, ...]) -> Match | None:
        body = "\n".join(line for part in guidance for line in (part.title, *part.items))
        match = match_focus(focus, body) if focus else match_focus(body)
        if match is None:
            self.notes.append(
                f"no stage of the catalogue fits the focus {focus!r}"
                if focus
                else "the request names no stage"
            )
        return match

    def code(self, by_kind: dict[str, list[Section]]) -> tuple[str | None, int | None]:
        """Today's code and the request's line on which it begins."""
        fences = [
            piece
            for section in by_kind.get("code", [])
            for piece in section.pieces
            if isinstance(piece, Fence)
        ]
        found = [fence for fence in fences if _holds_code(fence)]
        if not found:
            raw = self.unfenced(by_kind.get("code", []))
            found = [raw] if raw else []
        if not found:
            elsewhere = [s for kind in ("", "other", "task", "gpu", "profile") for s in by_kind.get(kind, [])]
            fences = [piece for section in elsewhere for piece in section.pieces if isinstance(piece, Fence)]
            found = [fence for fence in fences if _is_kernel_file(fence)]
            if found:
                self.notes.append(f"the code is taken from line {found[0].first}, outside a section for it")
        if not found:
            self.notes.append("the request has no current code")
            return None, None
        fence = next((fence for fence in found if _is_kernel_file(fence)), found[0])
        if len(found) > 1:
            self.notes.append(f"of {len(found)} blocks of code the one at line {fence.first} is taken")
        skipped = head_lines(fence.lines)
        for index in range(skipped):
            if fence.lines[index].strip():
                number = fence.first + index
                self.ignored.append(
                    Ignored(number, fence.lines[index].strip(), "a placeholder at the head of the code")
                )
                self.notes.append(f"the placeholder on line {number} is no part of the code")
        self.used.update(
            number for number in fence.numbers if not fence.first <= number < fence.first + skipped
        )
        if len(fence.marks) == 1:
            self.notes.append(f"the fence of the code, opened on line {fence.marks[0]}, never closes")
        return "\n".join(fence.lines[skipped:]) + "\n", fence.first + skipped

    def unfenced(self, sections: Sequence[Section]) -> Fence | None:
        """Code that stands in its section without a fence."""
        for section in sections:
            texts = [piece for piece in section.pieces if isinstance(piece, Text)]
            if texts and not any(isinstance(piece, Fence) for piece in section.pieces):
                first, last = texts[0].number, texts[-1].number
                fence = Fence(first, tuple(self.lines[first - 1 : last]), ())
                if _holds_code(fence) and any(STATEMENT.match(line) for line in fence.lines):
                    return fence
        return None

    def profile(self, sections: Sequence[Section]) -> Profile:
        if not sections:
            return Profile(note=NO_PROFILE)
        lines: list[Text] = []
        for piece in (piece for section in sections for piece in section.pieces):
            if isinstance(piece, Fence):
                figures = [Text(piece.first + i, line) for i, line in enumerate(piece.lines) if line.strip()]
                if figures and figures[0].text.lstrip().startswith("{"):
                    figures = figures[: balanced([line.text for line in figures])]
                elif not listed(figures)[0]:
                    continue
                lines.extend(figures)
                self.used.update(piece.marks)
            elif isinstance(piece, Text):
                lines.append(piece)
        profile = read_profile(lines, self.path)
        lost = {ignored.line for ignored in profile.ignored}
        self.used.update(line.number for line in lines if line.number not in lost)
        self.ignored.extend(profile.ignored)
        self.notes.extend(profile.notes)
        return profile

    def items(self, sections: Sequence[Section]) -> tuple[str, ...]:
        found = []
        for piece in _texts(sections):
            if item := _item(piece.text):
                found.append(item)
                self.used.add(piece.number)
        return tuple(found)

    def leftovers(self, sections: Sequence[Section]) -> None:
        """Report every line that nothing was made of."""
        reasons = {number: why for section in sections for number, why in _reasons(section)}
        told = self.used | {ignored.line for ignored in self.ignored}
        for number, line in enumerate(self.lines, start=1):
            if line.strip() and number not in told:
                self.ignored.append(Ignored(number, line.strip(), reasons.get(number, "not understood")))


def clean_focus(text: str) -> str:
    """A focus as one line without the marks around it."""
    return " ".join(text.split()).strip("* ")


def thresholds(guidance: Sequence[Guidance]) -> tuple[Threshold, ...]:
    """Limits on metrics, as `metric > 128` or `metric (target >60%)` in any item."""
    text = "\n".join(item for part in guidance for item in part.items)
    return tuple(
        Threshold(metric, RELATIONS.get(relation, relation), float(value))
        for metric, relation, value in THRESHOLD.findall(text)
        if value.count(".") < 2 and value != "."
    )


def missing_functions(constraints: Sequence[str]) -> tuple[str, ...]:
    """Functions that a line of constraints denies: "no tl.tanh", but not the one to use instead."""
    denied = (part for line in constraints for part in TURN.split(line) if NEGATION.search(part))
    found = (f"tl.{name}" for part in denied for name in re.findall(r"\btl\.(\w+)", part))
    return tuple(dict.fromkeys(found))


def _texts(sections: Sequence[Section]) -> list[Text]:
    return [piece for section in sections for piece in section.pieces if isinstance(piece, Text)]


def _item(line: str) -> str:
    """A line without its bullet. A number before it stays: it is part of what is said."""
    return DASH.sub("", line, count=1).strip()


def _stage_item(piece: Text | Fence) -> tuple[str, list[int]]:
    """An item of the stage's text, and the numbers of its lines that are not blank."""
    if isinstance(piece, Text):
        return _item(piece.text), [piece.number]
    text = "\n".join(piece.lines).strip("\n")
    return (text if "\n" in text else text.strip()), piece.numbers


def _holds_code(fence: Fence) -> bool:
    return head_lines(fence.lines) < len(fence.lines)


def _is_kernel_file(fence: Fence) -> bool:
    return any(re.match(r"\s*(?:class\s+ModelNew\b|@triton\.)", line) for line in fence.lines)


def head_lines(lines: Sequence[str]) -> int:
    """How many lines at the head of code are blank or placeholders: `# <code here>`."""
    for index, line in enumerate(lines):
        if line.strip() and not PLACEHOLDER.match(line):
            return index
    return len(lines)


def _reasons(section: Section) -> Iterator[tuple[int, str]]:
    """Why lines of a section may have been left aside."""
    yield from ((number, "a heading that means nothing here") for number in section.headings)
    for piece in section.pieces:
        if isinstance(piece, Fence):
            empty = not _holds_code(piece)
            why = "a placeholder for the answer" if empty else "a block that is not today's code"
            yield from ((number, why) for number in piece.numbers)
        elif isinstance(piece, Title):
            yield piece.number, "a heading with nothing under it"
        elif section.kind == "other":
            yield piece.number, "in a section that means nothing here"


def _known(name: str) -> bool:
    try:
        find(name)
    except UnknownGpu:
        return False
    return True
