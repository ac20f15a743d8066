"""`grants import --probe`: of a batch of lines, those whose refresh tokens live."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from sqlalchemy import RowMapping

from models.states.client import Keep
from settings import Settings
from tasks.policy.ends import ends
from tasks.policy.life import Finding
from tasks.policy.outcome import ABOUT_THE_TOKEN
from tasks.probes.imported import ImportedTokenProbe, ProbedToken, ProbeHeld
from worker.cli.failures import ExitCode, Failure
from worker.cli.imports.batches import Intake, Tally
from worker.cli.imports.lines import Bad, Offered
from worker.cli.runtime import opened

UNANSWERED = 3  # in a row: then the provider is away, and the other lines are not to blame
ENOUGH = 3  # lines that are all dead: rather the wrong client than so many dead grants


@dataclass(frozen=True, slots=True)
class Refreshed:
    """A line whose token the provider refreshed instead of telling whether it lives."""

    offered: Offered
    probed_token: ProbedToken = field(repr=False)


@dataclass(slots=True)
class Sifted:
    """What came of a batch; `stop`: why no further line may be asked about."""

    kept: list[Offered] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    refreshed: Refreshed | None = None
    stop: Failure | None = None


class Sieve:
    """Keeps what lives."""

    def __init__(self, probe: ImportedTokenProbe) -> None:
        self.probe = probe
        self.asked = 0
        self.dead = 0
        self.unanswered = 0

    def sift(self, batch: Sequence[Offered], wanted: set[int]) -> Sifted:
        """Ask about the wanted lines of a batch, one after the other; the others are kept unasked."""
        found = Sifted()
        for each in batch:
            if each.line not in wanted:
                found.kept.append(each)
            else:
                self._ask(each, found)
            if found.stop is not None:
                break
        return found

    def keep(self, refreshed: Refreshed, intake: Intake, tally: Tally) -> list[Bad]:
        """Store a pair that the provider gave unasked, in a dry run as well: it is the only one that lives."""
        bad = replace(intake, dry_run=False).take([_renewed(refreshed, intake)], tally)
        if not bad:
            self.probe.settled(refreshed.probed_token)
        return bad

    def advice(self) -> str:
        """What to do about the lines that cannot be used."""
        if self.asked >= ENOUGH and self.dead == self.asked:
            return "every refresh token was refused: see that they are this client's, and that its secret is right"
        return "mend those, or connect their users again, and import again; refs that exist are skipped"

    def _ask(self, each: Offered, found: Sifted) -> None:
        try:
            probed_token = self.probe.ask(each.refresh_token, ref=each.ref, labels=each.labels)
        except ProbeHeld as error:
            found.stop = _held(str(error))
            return
        self.asked += 1
        self.unanswered = self.unanswered + 1 if _is_unanswered(probed_token) else 0
        match probed_token.finding:
            case Finding.ALIVE:
                found.kept.append(each)
            case Finding.DEAD:
                self.dead += 1
                found.bad.append(Bad(each.line, "its refresh token is dead, or another client's", each.ref))
            case Finding.REFRESHED:
                found.refreshed, found.stop = Refreshed(each, probed_token), _taken_for_a_refresh(each)
            case Finding.MISCONFIGURED:
                found.stop = _refused(probed_token.code)
            case _:
                reason = f"the provider did not say whether its refresh token lives ({probed_token.code})"
                found.bad.append(Bad(each.line, reason, each.ref))
                found.stop = _away(probed_token.code) if self.unanswered >= UNANSWERED else None


@contextmanager
def sieve_of(row: RowMapping, settings: Settings) -> Iterator[Sieve]:
    """A sieve that asks a client's provider.

    Raises:
        Failure: the client has no secret.
        ProbeNotAllowed: the provider file does not say that a probe is harmless.

    """
    if not row["has_secret"]:
        raise Failure(
            code="no_secret",
            message=f"{row['name']} has no secret, and without it a living refresh token may look dead",
            next_step=f"store it with `evergrant clients set-secret {row['name']} --client-secret-file FILE`",
        )
    with opened(settings) as runtime:
        yield Sieve(ImportedTokenProbe(runtime, row["id"]))


def _is_unanswered(probed_token: ProbedToken) -> bool:
    """Whether nobody answered; who has a word about the token is there, and says it in a way of its own."""
    return probed_token.finding is Finding.UNCLEAR and probed_token.code not in ABOUT_THE_TOKEN


def _renewed(refreshed: Refreshed, intake: Intake) -> Offered:
    """A line with the pair that took the place of its own."""
    offered, probed_token = refreshed.offered, refreshed.probed_token
    assert probed_token.token_set is not None  # noqa: S101  # it was refreshed
    reckoned = ends(
        probed_token.token_set,
        intake.provider,
        grant_id=probed_token.grant_id,
        started_at=probed_token.started_at,
        on_demand=intake.keep == Keep.ON_DEMAND,
    )
    return replace(
        offered,
        refresh_token=probed_token.token_set.refresh_token or offered.refresh_token,
        access_token=probed_token.token_set.access_token,
        expires_at=probed_token.started_at + reckoned.life,
        life=reckoned.life,
        refresh_expires_at=reckoned.refresh_expires_at,
        consent_expires_at=reckoned.consent_expires_at,
    )


def _taken_for_a_refresh(each: Offered) -> Failure:
    return Failure(
        code="probe_refreshed",
        message=f"The provider refreshed {each.ref} (line {each.line}) instead of answering; its new pair is stored",
        next_step="set `probe = false` in the provider file, and import the rest without --probe",
    )


def _refused(code: str) -> Failure:
    return Failure(
        code="probe_misconfigured",
        message=f"The provider refuses this client's credentials ({code})",
        next_step="check its id and secret, then import again; refs that exist are skipped",
    )


def _away(code: str) -> Failure:
    return Failure(
        code="probe_unclear",
        message=f"The provider gives no answer that says anything ({code})",
        next_step="import again later; refs that exist are skipped",
        exit_code=ExitCode.TRY_AGAIN,
    )


def _held(why: str) -> Failure:
    return Failure(
        code="probe_busy",
        message=f"Nothing may be sent for this client now ({why})",
        next_step="see `evergrant clients show`, then import again; refs that exist are skipped",
        exit_code=ExitCode.TRY_AGAIN,
    )
