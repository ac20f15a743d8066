"""Known wrong designs, as single changes: the simulation must find each of them.

A change of SQL is made to its twin here; that the twin is what PostgreSQL does is tests/integration's business, so a
mutant of the real SQL is found there.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib import import_module
from typing import Any
from unittest.mock import patch

from models import claim, ended_attempt, second_look, token_set
from tasks.journal import Journal, Replayed
from tasks.oauth.token_answer import TokenSet
from tasks.policy import guard, outcome, pace, refusal, timing, valve, verdict
from tasks.runtime.attempt import Asked
from tasks.settling import decide, reading, settle, write
from tests.simulation.statements import HANDLERS, attempts
from tests.simulation.statements import claims as claiming
from tests.simulation.statements import settlement as settling
from tests.simulation.statements.registry import at_of, transposed
from tests.simulation.tables import Row, Tables

Patch = Any


def _statement(text: str, handler: Callable[..., Any]) -> Patch:
    return patch.dict(HANDLERS, {text: handler})


def no_claim_cas() -> list[Patch]:
    """Start takes whatever is active, whatever the claim number."""

    def mine(tables: Tables, job: Any, status: str, _at: Any) -> bool:
        grant = tables.grants.get(job[0])
        return grant is not None and grant["status"] == status

    return [patch.object(attempts, "_is_mine", mine)]


def stale_success_rejected() -> list[Patch]:
    """The textbook fencing rule: who lost the claim may not store."""
    real = decide.Decider.decide

    def decided(self: Any, arrived: Any, end: Any) -> None:
        row = self.held.get(arrived.attempt.job.grant_id)
        if row is not None and row.claim_no != arrived.attempt.job.claim_no:
            return
        real(self, arrived, end)

    return [patch.object(decide.Decider, "decide", decided)]


def replay_only_equal() -> list[Patch]:
    """A token set is stored at `generation = g` only, not at `<= g`."""
    real = decide.Decider.token_set

    def token_set(self: Any, asked: Asked, row: Any, answer: TokenSet, **also: Any) -> None:
        if row.generation < asked.generation:
            return
        real(self, asked, row, answer, **also)

    return [patch.object(decide.Decider, "token_set", token_set)]


def judged_without_generation() -> list[Patch]:
    """A verdict falls whatever became of the grant meanwhile, and whoever holds its claim."""

    def end(tables: Tables, p: Any) -> list[Row]:
        ended = []
        for values in transposed(p, *settling.ENDED):
            told = dict(zip(settling.ENDED, values, strict=True))
            grant = tables.grants.get(told["grant_id"])
            if grant is not None:
                told["generation"] = grant["generation"]
                ended.append(settling._end(tables, grant, told, at_of(tables, p)))
        return ended

    return [_statement(ended_attempt.END.text, end)]


def marked_too_early() -> list[Patch]:
    """The journal's entry is marked settled before the database has it."""
    real = settle.journal_answers

    def journal_answers(runtime: Any, group: Any) -> None:
        real(runtime, group)
        runtime.journal.mark_settled([each.position for each in group if each.position is not None])

    return [patch.object(settle, "journal_answers", journal_answers)]


def not_journaled() -> list[Patch]:
    """No journal: the answer lives in memory until the database has it."""
    return [patch.object(Journal, "append", lambda _self, _entries: [])]


def doubt_forgotten() -> list[Patch]:
    """A start forgets that the attempt before it was never ended."""
    real = attempts._begin

    def begin(tables: Tables, grant: Row, at: Any, journal_id: int) -> Row:
        tables.change(grant, started_at=None, doubt_since=None, doubt_journals=[], doubt_repeated=False)
        return real(tables, grant, at, journal_id)

    return [patch.object(attempts, "_begin", begin)]


def lapsed_counted() -> list[Patch]:
    """A lease that has lapsed still counts as under way: the burst is used up for ever."""
    real = HANDLERS[claim.LOCK_VALVE.text]

    def lock_valve(tables: Tables, p: Any) -> list[Row]:
        rows = real(tables, p) or []
        for row in rows:
            row["under_way"] = sum(
                g["client_id"] == p["client_id"] and (g["claimed_at"] is not None or g["started_at"] is not None)
                for g in tables.grants.values()
            )
        return rows

    return [_statement(claim.LOCK_VALVE.text, lock_valve)]


def definite_503() -> list[Patch]:
    """A 503 is taken for "nothing happened"."""
    real = outcome.outcome

    def read(*args: Any, **named: Any) -> Any:
        end = real(*args, **named)
        return replace(end, unknown=False) if isinstance(end, outcome.NotNow) else end

    return [patch.object(reading, "outcome", read)]


def canary_without_end() -> list[Patch]:
    """A canary leaves the valve as it was: so the next look sends another."""

    def take_canary(held: valve.Valve, *, at: Any, grant_id: Any, **_: Any) -> valve.Valve:
        return replace(valve.take(held, at=at, count=1), canary_grant_id=grant_id)

    return [patch.object(valve, "take_canary", take_canary)]


def no_witness() -> list[Patch]:
    """Two refusals are a death, whoever else succeeded."""
    return [patch.object(verdict, "CHECKS", tuple(c for c in verdict.CHECKS if c.__name__ != "has_a_witness"))]


def no_mass_guard() -> list[Patch]:
    """Half the fleet may be declared dead at once."""
    return [patch.object(verdict, "CHECKS", tuple(c for c in verdict.CHECKS if c.__name__ != "the_mass_guard_is_off"))]


def family_repeats() -> list[Patch]:
    """The previous token is tried at once, also where its reuse kills the family."""
    return [patch.object(guard, "CHECKS", tuple(c for c in guard.CHECKS if c.__name__ != "profile_forbids"))]


def no_lease_check() -> list[Patch]:
    """Nobody asks how old the attempt is before the first byte."""
    return [patch.object(guard, "CHECKS", tuple(c for c in guard.CHECKS if c.__name__ != "lease_is_too_short"))]


def drained_unread() -> list[Patch]:
    """Journals of dead processes are said to be drained without being read."""

    def read_nothing(journal: Any, _settle: Any, **_: Any) -> Any:
        return Replayed(journal.journal_id, 0, 0)

    return [patch.object(import_module("tasks.journal.replay"), "replay", read_nothing)]


def surplus_dropped() -> list[Patch]:
    """A token set for a generation that is stored already is thrown away."""

    def drop(_tables: Tables, _p: Any) -> list[Row]:
        return []

    return [_statement(token_set.ADD_SURPLUS.text, drop)]


def revocation_ignored_at_start() -> list[Patch]:
    """Start does not look whether the grant's end was asked for."""
    real = attempts._is_mine

    def mine(tables: Tables, job: Any, status: str, at: Any) -> bool:
        hidden, tables.revocations = tables.revocations, {}
        try:
            return real(tables, job, status, at)
        finally:
            tables.revocations = hidden

    return [patch.object(attempts, "_is_mine", mine)]


def every_refusal_is_ours() -> list[Patch]:
    """Each refusal that nobody understands is a bad end, three in a row shut the valve, and all are asked as ever."""
    real = reading.sign_of

    def sign_of(end: Any) -> Any:
        sign = real(end)
        return valve.Sign.BAD if sign is valve.Sign.REFUSED else sign

    return [
        *canary_may_be_failing(),
        patch.object(write, "sign_of", sign_of),
        patch.object(valve, "_is_alone", lambda _valve, _result: False),
        patch.object(refusal, "is_its_own", lambda _known: False),
    ]


def every_refusal_is_the_grants() -> list[Patch]:
    """No refusal feeds the breaker, be it that everybody is refused."""
    return [patch.object(valve, "_is_alone", lambda _valve, _result: True)]


def canary_may_be_failing() -> list[Patch]:
    """Any grant that is due may be a canary, and nobody is sought among those that succeeded last."""
    return [
        _statement(claim.WITNESS.text, lambda _tables, _p: []),
        _statement(
            claim.CANARY.text, lambda tables, p: claiming._take_due(tables, p, claiming._due_at, lambda _: True)
        ),
    ]


def strikes_not_cleared() -> list[Patch]:
    """A success is no witness: it does not end the run of those who were refused."""
    return [patch.object(valve, "_believed", lambda held: held)]


def refused_alone_feeds_the_breaker() -> list[Patch]:
    """Who is refused again and again while others succeed counts each time."""
    return [patch.object(valve, "_is_alone", lambda _valve, _result: False)]


def slow_for_the_dead() -> list[Patch]:
    """A word of which it is not known that it passes slows the client as long as it lasts."""
    return [patch.object(pace, "_passes", lambda _pace, _code, _at: True)]


def verdict_is_the_end() -> list[Patch]:
    """Nobody who was declared dead is ever asked again."""
    return [_statement(second_look.WAITING.text, lambda _tables, _p: [])]


def no_hourly() -> list[Patch]:
    """Who is refused alone is asked again as soon as ever."""

    def wait(_known: Any, life: Any, *, at: Any, at_most: Any) -> Any:
        return timing.quarter_of(life, at_most=at_most)

    return [patch.object(refusal, "wait", wait)]


MUTANTS: dict[str, Callable[[], Sequence[Patch]]] = {
    make.__name__: make
    for make in (
        no_claim_cas,
        stale_success_rejected,
        replay_only_equal,
        judged_without_generation,
        marked_too_early,
        not_journaled,
        doubt_forgotten,
        lapsed_counted,
        definite_503,
        canary_without_end,
        no_witness,
        no_mass_guard,
        family_repeats,
        no_lease_check,
        drained_unread,
        surplus_dropped,
        revocation_ignored_at_start,
        every_refusal_is_ours,
        every_refusal_is_the_grants,
        canary_may_be_failing,
        strikes_not_cleared,
        refused_alone_feeds_the_breaker,
        no_hourly,
        slow_for_the_dead,
        verdict_is_the_end,
    )
}
# What shows soonest, or alone, in another weather than that in which everything happens.
WEATHER_OF = {
    **dict.fromkeys(
        ("every_refusal_is_ours", "canary_may_be_failing", "strikes_not_cleared", "refused_alone_feeds_the_breaker",
         "no_hourly"),
        "deaths",
    ),
    **dict.fromkeys(("every_refusal_is_the_grants", "slow_for_the_dead"), "deaths_and_trouble"),
    **dict.fromkeys(("no_witness", "verdict_is_the_end"), "few_and_understood"),
}  # fmt: skip


@contextmanager
def applied(name: str) -> Iterator[None]:
    """Make the product wrong in one way."""
    with ExitStack() as stack:
        for change in MUTANTS[name]() if name else ():
            stack.enter_context(change)
        yield
