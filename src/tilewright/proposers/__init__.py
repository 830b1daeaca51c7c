"""Everything that can suggest a candidate. One folder each, one small interface: `base.Proposer`."""

from __future__ import annotations

from tilewright.proposers.base import Proposer
from tilewright.proposers.recurrence.proposer import RecurrenceCompiler
from tilewright.proposers.rewrite import SourceRewrites
from tilewright.proposers.tune import LaunchTuning

PROPOSERS: tuple[Proposer, ...] = (RecurrenceCompiler(), SourceRewrites(), LaunchTuning())
