"""What a candidate of a run may do beside computing."""

from __future__ import annotations

from tilewright.judge.means.findings import Finding, Kind
from tilewright.judge.verdict import Outcome, Verdict
from tilewright.stages.session import allowed

GIVEN = Verdict(Outcome.CORRECT, findings=(Finding(Kind.LIBRARY, "torch.mm"), Finding(Kind.LIBRARY, "again")))


def test_the_code_as_given_may_do_anything() -> None:
    assert set(allowed("given", None)) == set(Kind)


def test_a_candidate_may_do_what_the_given_code_does_and_what_the_user_allows() -> None:
    assert allowed("block_tiling", GIVEN) == (Kind.LIBRARY,)
    assert allowed("block_tiling", GIVEN, (Kind.SIZES,)) == (Kind.LIBRARY, Kind.SIZES)
    assert allowed("algorithm", None, (Kind.SIZES,)) == (Kind.SIZES,)
    assert allowed("algorithm", None) == ()
