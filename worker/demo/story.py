"""The story of a demo: what befalls both sides at the same time, each fault announced before it happens.

First the provider keeps a replaced refresh token until the new access token is used, as Doorkeeper does: there no
answer that got lost costs anything, if one asks again and blames nobody. Then it turns strict, as RFC 9700 (section
4.14.2) wants it: a refresh token works once, and its reuse ends the grant. Answers lost on the wire, and kills
between the provider's act and the first write to a disk, are what no client can save there: they come first, where
they can be survived.
"""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from simulator.control import SimulatorControl
from worker.demo.applications import Applications
from worker.demo.installation import Installation
from worker.demo.meanwhile import SIDES, Since, both
from worker.demo.plan import LEFT, OURS, STRICT_DEADLINE_SECONDS, USUAL, Plan
from worker.demo.preparations import write_provider_file
from worker.demo.sides import HeldGrant, Sample, State, Watcher, dead_at_provider

PATIENCE_SECONDS = 20.0
OUTAGE: tuple[tuple[int, dict[str, str], float], ...] = ((504, {}, 1.0), (503, {"Retry-After": "1"}, 2.5))
"""Status, headers, and how many seconds it lasts."""
WRONG_SECRET_SECONDS = 2.0
SLOW_SECONDS = 1.4
"""How late answers are while something is killed, so that it hits requests in flight; within every deadline."""

LEAST_CALM_SECONDS = 1.5
LEFT_WHEN_DUE = 1 / 3  # of a life, see plan.py
OVERDUE_SECONDS = 2.0
"""So late may a renewal be that nothing is wrong with: both sides look every second or so."""


@dataclass
class Story:
    """One telling; `announce` shows a sentence."""

    installation: Installation
    plan: Plan
    watcher: Watcher
    applications: Applications
    announce: Callable[[str], None]
    wrong_secret: dict[str, int] = field(default_factory=dict)
    spent_before: dict[str, set[int]] = field(default_factory=dict)
    """What was spent before the provider turned strict: another use of that is no harm."""
    _began: float = field(default_factory=time.monotonic)

    @property
    def provider(self) -> SimulatorControl:
        """The provider of both sides."""
        return self.installation.provider

    def tell(self) -> None:
        """Let everything happen.

        Raises:
            Stopped: a signal came.
            NotReady: a command of ours failed.

        """
        self.all_is_well()
        self.users_revoke()
        self.killed_worker()
        self.outage()
        self.lost_broker()
        self.wrong_client_secret()
        self.hollow_revocation()
        self.provider_turns_strict()
        self.database_restart()
        self.settle()

    # The acts

    def all_is_well(self) -> None:
        """Let both sides renew in peace."""
        self.announce(f"All is well: each side keeps {self.plan.grants} grants alive.")
        self._wait_until(lambda: len(self.watcher.samples) == len(SIDES))
        self._calm_until(3)

    def users_revoke(self) -> None:
        """Let two users take their consent back: here giving up is right."""
        refs = self.plan.revoking_users
        self.announce(f"{len(refs)} users revoke their consent at the provider: these grants are to be given up.")
        self.watcher.ended = self.applications.ended = frozenset(refs)
        self.provider.revoke_as_user(*refs)
        self._calm_until(13)
        self._tell_of_both("Given up so far", self._given_up_by, "Evergrant asks once more before it gives up a grant.")

    def killed_worker(self) -> None:
        """Kill a worker of each side while answers are on their way to it."""
        self.announce(
            "kill -9 of both workers in mid-refresh. They start again; what was cut off is left alone for its lease."
        )
        since = self._since()
        with self._slow_answers() as answers:
            self._wait_until(answers.are_on_their_way)
            self._kill("worker-1", "usual-worker")
        self._get_over(23)
        self.announce(f"Both workers run again. {since.calls_in_vain()}")

    def outage(self) -> None:
        """Let the provider do what it is asked, and answer 504, then 503."""
        self.announce(
            "The provider issues the new tokens, but answers 504, then 503. Evergrant stops, and asks with single"
            " requests whether it is well again."
        )
        since, faults = self._since(), set[int]()

        def sent() -> dict[str, int]:
            return since.requests(lambda request: request["fault"] in faults)

        for status, headers, seconds in OUTAGE:
            with self._fault("status", status=status, when="after", headers=headers) as number:
                faults.add(number)
                self._wait_until(lambda: all(sent().values()))
                self.installation.rest(seconds)
        self._get_over(34)
        self.announce(f"The provider is well again. {both('Asked in vain', sent())} {since.calls_in_vain()}")

    def lost_broker(self) -> None:
        """Kill the broker and delete its data."""
        self.announce("The broker is killed, its data is deleted, and it starts empty.")
        since = self._since()
        self._kill("valkey")
        shutil.rmtree(self.installation.engines.home.valkey)
        self._get_over(39)
        self.announce(f"Both find again in their tables what the queues forgot. {since.calls_in_vain()}")

    def wrong_client_secret(self) -> None:
        """Change the secret at the provider and back."""
        self.announce("For a few seconds the client secret is wrong.")
        since = self._since()
        with self._wrong_secrets():
            self._wait_until(lambda: all(since.refused().values()))
            self.installation.rest(WRONG_SECRET_SECONDS)
        self.wrong_secret = since.refused()
        self._get_over(48)
        sent = both("Requests with the wrong one", self.wrong_secret)
        self.announce(f"The secret is right again, and no grant was blamed. {sent} {since.calls_in_vain()}")

    def hollow_revocation(self) -> None:
        """Revoke the grants of customers whose access tokens have expired."""
        self.announce(
            f"{len(LEFT)} customers who left are to be revoked. The provider answers 200 and does nothing where the"
            " access token has expired (so does Doorkeeper before 5.8.1)."
        )
        self.installation.usual_job("revoke", *LEFT)
        self.installation.command("grants", "revoke", *LEFT, "--reason", "the customer left", "--yes")
        self._wait_until(self._revoked)
        alive = {side: self.provider.summary(side)["grants"]["revoked_but_alive"] for side in SIDES}
        self.announce(both("Revoked, and still alive at the provider", alive))
        self._calm_until(54)

    def provider_turns_strict(self) -> None:
        """Let a refresh token work only once from now on."""
        self._wait_until(self._nothing_in_doubt)
        self.announce("From here on the provider is strict: a refresh token works once, its reuse ends the grant.")
        # The file first: workers read it anew once the client has changed.
        write_provider_file(self.provider.url, deadline_seconds=STRICT_DEADLINE_SECONDS)
        self.installation.command("clients", "set", "demo", "--rotation", "family")
        self.provider.configure(profile="family")
        self.spent_before = spent_pairs(self.provider, list(self.plan.lives), times=1)
        self._calm_until(58)

    def database_restart(self) -> None:
        """Stop the database as a crash would, while answers are on their way."""
        self.announce("The database is killed while new tokens are on their way, and starts again.")
        with self._slow_answers() as answers:
            self._wait_until(answers.are_on_their_way)
            self._kill("postgres")
            self.installation.rest(SLOW_SECONDS)
        self._wait_until(self._database_answers)
        self._calm_until(70)

    def settle(self) -> None:
        """Wait until nothing is open any more, and tell what the database has forgotten."""
        self._wait_until(lambda: self._nothing_in_doubt() and self._given_up())

        # Twice: a token that is renewed between the two questions of a look is spent, and its grant lives.
        looks = [
            {side: self._dead_without_reason(held) for side, held in self.watcher.held().items()} for _ in range(2)
        ]
        dead = {side: len(looks[0][side] & looks[1][side]) for side in SIDES}
        self.announce(
            f"The database is back. {both('Grants whose new token was lost with it, and that are dead now', dead)}"
            " Evergrant had written every answer to its journal first."
        )

    # How

    def _wait_until(self, done: Callable[[], bool]) -> None:
        self.installation.wait_until(done, seconds=PATIENCE_SECONDS * self.plan.pace)

    def _since(self) -> Since:
        return Since(self.provider, self.applications)

    def _get_over(self, mark: float) -> None:
        """Rest until `mark`, and until both sides are as well as before: no fault adds to the one before it.

        Where all grants still have time, our valve may be shut all the same, for minutes if the next fault comes now.
        """
        self._calm_until(mark)
        self._wait_until(lambda: self._all_in_time() and not self.watcher.is_shut)

    def _all_in_time(self) -> bool:
        return all(self._is_in_time(sample, ref) for sample in self.watcher.samples.values() for ref in sample.left)

    def _is_in_time(self, sample: Sample, ref: str) -> bool:
        """Whether a grant is fresh, and not overdue; of those that nobody keeps it is not asked."""
        if ref in self.watcher.ended or ref not in self.plan.lives:
            return True
        least_left = self.plan.lives[ref] * LEFT_WHEN_DUE - OVERDUE_SECONDS
        return sample.states[ref] is State.FRESH and sample.left[ref] >= least_left

    def _tell_of_both(self, what: str, count: Callable[[str], int], more: str) -> None:
        self.announce(f"{both(what, {side: count(side) for side in SIDES})} {more}")

    def _given_up_by(self, side: str) -> int:
        sample = self.watcher.samples.get(side)
        return sample.count(State.NEEDS_CONSENT) if sample is not None else 0

    def _dead_without_reason(self, held: list[HeldGrant]) -> set[str]:
        kept = [each for each in held if each.ref not in self.watcher.ended | set(LEFT)]
        return dead_at_provider(self.provider, kept)

    def _calm_until(self, mark: float) -> None:
        """Rest until `mark`, in seconds of a demo of the usual length; on a slow machine there is less rest."""
        left = self._began + self.plan.stretched(mark) - time.monotonic()
        self.installation.rest(max(left, LEAST_CALM_SECONDS))

    def _kill(self, *names: str) -> None:
        for name in names:
            self.installation.supervisor.process(name).kill()

    @contextmanager
    def _fault(self, act: str, **members: object) -> Iterator[int]:
        number = self.provider.add_fault(act, where="token", **members)
        try:
            yield number
        finally:
            self.provider.clear_faults(number)

    @contextmanager
    def _slow_answers(self) -> Iterator["SlowAnswers"]:
        with ExitStack() as faults:
            yield SlowAnswers(
                self.provider,
                self.plan.least_in_flight,
                {
                    side: faults.enter_context(
                        self._fault("delay", delay_seconds=SLOW_SECONDS, when="after", client_id=side)
                    )
                    for side in (USUAL, OURS)
                },
            )

    @contextmanager
    def _wrong_secrets(self) -> Iterator[None]:
        for side in (USUAL, OURS):
            self.provider.set_secret(side, "another secret")
        try:
            yield
        finally:
            for side, secret in self.installation.secrets.items():
                self.provider.set_secret(side, secret)

    def _sample_shows(self, *states: State) -> int:
        sample = self.watcher.samples.get(OURS)
        return sample.count(*states) if sample is not None else 0

    def _nothing_in_doubt(self) -> bool:
        return self._sample_shows(State.IN_DOUBT, State.SUSPECT, State.LATE) == 0

    def _given_up(self) -> bool:
        return self._sample_shows(State.NEEDS_CONSENT) >= len(self.plan.revoking_users)

    def _revoked(self) -> bool:
        return self._sample_shows(State.REVOKED) >= len(LEFT)

    def _database_answers(self) -> bool:
        return self.installation.engines.postgres.ready()


class SlowAnswers:
    """Answers that come late; tells when some of each side's are on their way. `faults`: number by side."""

    def __init__(self, provider: SimulatorControl, least: int, faults: Mapping[str, int]) -> None:
        self._provider = provider
        self._least = least
        self._faults = faults
        self._seen: list[tuple[float, Counter[str]]] = []

    def are_on_their_way(self) -> bool:
        """Whether a fault would hit some requests of both sides in flight."""
        now = time.monotonic()
        fired = {fault["number"]: fault["fired"] for fault in self._provider.faults()}
        begun = Counter({side: fired[number] for side, number in self._faults.items()})
        self._seen.append((now, begun))
        # Of what began earlier the answer may be through before anything is killed.
        before = next((count for at, count in self._seen if now - at < SLOW_SECONDS * 3 / 4), begun)
        return all(begun[side] - before[side] >= self._least for side in self._faults)


def spent_pairs(provider: SimulatorControl, refs: list[str], *, times: int) -> dict[str, set[int]]:
    """Numbers of the pairs of each side whose refresh token was spent, or presented after that, `times` or more."""
    found: dict[str, set[int]] = {USUAL: set(), OURS: set()}
    for grant in [grant for ref in refs for grant in provider.grants(ref)]:
        found[grant["client_id"]] |= {pair["pair"] for pair in grant["pairs"] if pair["spent"] >= times}
    return found
