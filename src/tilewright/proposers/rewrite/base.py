"""The interface of a source rewrite, and what it may look at."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from tilewright.gpu.model import Gpu
from tilewright.kernelfile import Kernel, KernelFile
from tilewright.kernelfile.scopes import FunctionNode
from tilewright.launches.model import Launch, Recording
from tilewright.proposers.edit import Edits, PlaceNotFound, edit


class Declined(Exception):
    """A rewrite does not apply to a kernel, or could change what it computes; the message says why."""


class Inapplicable(Declined):
    """There is nothing in a kernel that a rewrite could change; nobody needs to be told."""


@dataclass(frozen=True)
class View:
    """What a rewrite may look at.

    Args:
        file: the file to rewrite, as parsed.
        recording: the launches of one forward of it at the problem's sizes.
        gpu: the target.
        precision: what matrix products may be computed in: "float32", "tf32", "float16", "bfloat16".
    """

    file: KernelFile
    recording: Recording
    gpu: Gpu
    precision: str = "float32"

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.file.source)

    def node(self, kernel: Kernel) -> FunctionNode:
        """The function of a kernel or helper as a syntax tree."""
        for node in ast.walk(self.tree):
            if isinstance(node, FunctionNode) and node.lineno == kernel.line:
                return node
        raise Declined(f"line {kernel.line} holds no function")

    def launches(self, kernel: Kernel) -> tuple[Launch, ...]:
        """The recorded launches of a kernel.

        Raises:
            Declined: the forward does not launch it.
        """
        found = tuple(launch for launch in self.recording.launches if launch.kernel == kernel.name)
        if not found:
            raise Inapplicable("the forward does not launch it")
        return found

    def edited(self, edits: Edits) -> str:
        """The file's text with edits made.

        Raises:
            Declined: a place could not be edited.
        """
        try:
            return edit(self.file.source, edits)
        except PlaceNotFound as error:
            raise Declined(str(error)) from None


class Rewrite(Protocol):
    """One way to write the same kernel, with the condition under which it computes the same.

    `name` says what is done, as half a sentence; `stages` are those of the catalogue that it belongs to.
    """

    name: str
    stages: frozenset[str]

    def choices(self, view: View, kernel: Kernel) -> Sequence[str]:
        """The ways to do it here, the likeliest first.

        Raises:
            Declined: it cannot be done, or would not be safe.
        """
        ...

    def apply(self, view: View, kernel: Kernel, choice: str) -> str:
        """The file's text with this kernel rewritten.

        Raises:
            Declined: it cannot be done, or would not be safe.
        """
        ...
