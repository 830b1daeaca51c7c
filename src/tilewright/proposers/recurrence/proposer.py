"""The recurrence compiler as a proposer of the `algorithm` stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tilewright.candidate import Candidate
from tilewright.proposers.base import Proposals, Situation
from tilewright.proposers.recurrence.ir import Declined, Network

MOST_CANDIDATES = 4
WORTH_TRYING = 2.0  # times the time expected of the best plan; the expectation is off by less


class RecurrenceCompiler:
    """Derives, from the reference itself, a file that runs its time loops in persistent kernels."""

    name = "recurrence compiler"
    stages = frozenset({"algorithm"})
    winners = 1
    portable = False

    def propose(self, situation: Situation) -> Proposals:
        """One candidate for each plan that fits the target, the one expected to be fastest first.

        Raises:
            ProblemError: the reference does not run.
        """
        # These load torch, which a run without this stage does without.
        from tilewright.proposers.recurrence.emit.dense import worthwhile
        from tilewright.proposers.recurrence.emit.module import module
        from tilewright.proposers.recurrence.emit.sizes import free_sizes, limited
        from tilewright.proposers.recurrence.plan.choice import plans
        from tilewright.proposers.recurrence.work import network_of

        problem, gpu, precision = situation.problem, situation.gpu, situation.precision
        notes: list[str] = []
        candidates: dict[str, Candidate] = {}

        def add(text: str, described: str, found: Sequence[str]) -> None:
            candidate = Candidate(
                text,
                situation.stage.name,
                self.name,
                f"{' '.join(found)} {described}",
                situation.best.id if situation.best else None,
                {"plan": described, "dialect": situation.dialect, "precision": precision},
            )
            candidates.setdefault(candidate.id, candidate)

        try:
            network = network_of(problem)
            if not network.recurrences and situation.plan is None:
                products = worthwhile(network, gpu, precision)
                sizes = free_sizes(problem, network, network_of)
                described = f"{len(products)} matrix product{'s' * (len(products) != 1)}, one kernel each"
                no_loop = ("No loop over time.",)
                said = (*no_loop, f"Plan for {gpu.name}: {described}.")
                add(module(network, problem, (), gpu, precision, said, sizes), described, no_loop)
                return Proposals(tuple(candidates.values()))
            found, reasons = plans(network, gpu, precision, situation.dialect, situation.plan)
            notes += reasons
            sizes = free_sizes(problem, network, network_of)
            for plan in found[:MOST_CANDIDATES]:
                if plan.expected_us > WORTH_TRYING * found[0].expected_us:
                    notes.append(f"not tried: {plan.described}: about {plan.expected_us:.0f} us (estimated)")
                    continue
                facts = (*loops(network), f"Plan for {gpu.name}: {plan.described}.")
                free = frozenset.intersection(*(emitted.free for _, emitted in plan.groups))
                taken = limited(sizes, network, free)
                text = module(plan.network, problem, plan.groups, gpu, precision, facts, taken)
                add(text, plan.described, loops(network))
        except Declined as declined:
            at = f" ({problem.path}:{declined.line})" if declined.line else ""
            notes.append(f"{self.name} declined: {declined.reason}{at}")
        if not candidates and not any("declined" in note for note in notes):
            tried = (
                f"the plan {situation.plan}, the only one allowed, does not take"
                if situation.plan
                else "no plan takes"
            )
            notes.append(f"{self.name} declined: {tried} this network on {gpu.name}")
        return Proposals(tuple(candidates.values()), tuple(dict.fromkeys(notes)))

    def finish(self, situation: Situation, winners: Sequence[Candidate]) -> Proposals:
        """Nothing to add: each candidate is a whole plan."""
        return Proposals(())


def loops(network: Network) -> tuple[str, ...]:
    """A sentence for each kind of loop: "6 loops of 512 steps over 10 rows, carrying [256] and [256], …"."""
    kinds: Counter[str] = Counter()
    for recurrence in network.recurrences:
        states = " and ".join(f"[{state.width}]" for state in recurrence.states)
        products = len(recurrence.products)
        kinds[
            f"of {recurrence.steps} steps over {recurrence.batch} rows, carrying {states}, with "
            f"{products} matrix product{'s' * (products != 1)} a step"
        ] += 1
    return tuple(f"{n} loop{'s' * (n != 1)} {kind}." for kind, n in kinds.items())
