"""Source rewrites: other ways to write the same kernel, one module each."""

from tilewright.proposers.rewrite.base import Declined, Rewrite, View
from tilewright.proposers.rewrite.proposer import SourceRewrites
from tilewright.proposers.rewrite.registry import REWRITES

__all__ = ["REWRITES", "Declined", "Rewrite", "SourceRewrites", "View"]
