"""The source rewrites there are, in the order they are tried."""

from __future__ import annotations

from tilewright.proposers.rewrite.base import Rewrite
from tilewright.proposers.rewrite.constant_sizes import ConstantSizes
from tilewright.proposers.rewrite.even_masks import EvenMasks
from tilewright.proposers.rewrite.grouped import Grouped

REWRITES: tuple[Rewrite, ...] = (ConstantSizes(), EvenMasks(), Grouped())
