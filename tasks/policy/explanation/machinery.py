"""What of our own stands still: the database, beats, workers, their rings and journals, a provider's file."""

import shlex
from datetime import datetime, timedelta
from typing import Final

from tasks.policy.advice import asks_again, named
from tasks.policy.backlog import LATE
from tasks.policy.explanation.cause import Cause, iso, length, listed
from tasks.policy.explanation.facts import ACTIVE, BEAT, COPIED, PAUSED, REWOUND, WORKER, Facts, Process
from tasks.policy.explanation.faults import BROKER, SHARED, mended, of_an_absent_broker

TAKEN_UP_AFTER: Final = timedelta(seconds=3)  # from a claim to its start, where somebody consumes
WORK_EVERY: Final = timedelta(seconds=30)  # some periodic work is handed out every ten seconds
STATES: Final = {
    "not_adopted": ("Nobody has adopted this database, so nothing is sent from it", "evergrant db upgrade"),
    "standby": ("This database is a replica: it answers, and takes no work", None),
}


def environment_is_another(now: Facts) -> Cause | None:
    """Whoever asks is of another environment than the database: its commands would be refused."""
    asked, adopted = now.database.asked_as, now.database.environment
    if adopted is None or asked in (None, adopted):
        return None
    return Cause(
        told=f"You ask as environment {asked}, and this database is {adopted}'s: what changes anything is refused here",
        then="Those who are of its environment go on",
        remedy="ask as its environment, or name the right database in EVERGRANT_DATABASE_URL",
        command=f"export EVERGRANT_ENVIRONMENT={shlex.quote(adopted)}",
    )


def database_takes_no_write(now: Facts) -> Cause | None:
    """The database answers and takes no write: nobody can claim, store, or say that they live."""
    fault = now.database.unwritable
    if fault is None:
        return None
    return Cause(
        told=f"{fault[0].upper()}{fault[1:]}, so nothing is sent, and no process can say that it lives",
        then="It goes on by itself once that is mended",
        remedy=mended(fault).remedy,
        command=mended(fault).command,
        stops=True,
    )


def database_is_unfit(now: Facts) -> Cause | None:
    """The database is a copy, a replica, or may lack commits."""
    if now.database.state == REWOUND:
        return _rewound(now)
    if now.database.state == COPIED:
        return Cause(
            told="This database is a copy of the one that was adopted, so nothing is sent from it",
            then="Nothing is sent",
            remedy=of_a_copy(now.database.adopted_name, now.database.name),
            stops=True,
        )
    if now.database.state not in STATES:
        return None
    told, command = STATES[now.database.state]
    remedy = "let the commands name the primary in EVERGRANT_DATABASE_URL" if command is None else None
    return Cause(told=told, then="Nothing is sent", remedy=remedy, command=command, stops=True)


def of_a_copy(adopted: str | None, here: str | None) -> str:
    """What to do in a copy: mostly it is the URL that is wrong, and two that are adopted refresh the same grants."""
    same = adopted == here
    setting = "EVERGRANT_DATABASE_URL, or EVERGRANT_HOME," if same else "EVERGRANT_DATABASE_URL"
    elsewhere = ", on another server or in another folder" if same else ""
    return (
        f"point {setting} at the right one (adopted: {adopted}, this: {here}{elsewhere}); only if this copy is"
        " to take over for good, and the other one is stopped: evergrant db adopt"
    )


def _rewound(now: Facts) -> Cause:
    awaited = [f"{each.id} of {each.host}" for each in now.database.awaited]
    waits = f"until these are replayed: journal {listed(awaited)}" if awaited else "for a moment, then it goes on"
    return Cause(
        told="This database was restored or lost its primary, and may lack commits, so nothing is sent from it",
        since=now.database.incident_at,
        then=f"It waits {waits}",
        remedy="start a worker on each of those machines; go on without one that is gone" if awaited else None,
        command="evergrant db adopt" if awaited else None,
        stops=True,
    )


def disk_is_full(now: Facts) -> Cause | None:
    """The disk of the home of whoever asks has no room: what is on it fails, each in its own words."""
    if now.full_disk is None:
        return None
    return Cause(
        told=f"{now.full_disk[0].upper()}{now.full_disk[1:]}",
        then="Whatever writes there, database, broker or journal, may stand still at any moment; it goes on by itself"
        " once there is room",
        remedy="make room on that file system",
        command="evergrant doctor",
    )


def no_beat_is_alive(now: Facts) -> Cause | None:
    """Nobody claims what is due."""
    return _nobody(now, BEAT, "claims what is due")


def no_worker_is_alive(now: Facts) -> Cause | None:
    """Nobody talks to the providers."""
    return _nobody(now, WORKER, "sends anything")


def _nobody(now: Facts, kind: str, does: str) -> Cause | None:
    if now.alive(kind):
        return None
    since = now.last_seen(kind)
    never, hung = (
        ("", "; `evergrant status` names one that hangs") if since else (", and none has been for an hour", "")
    )
    remedy, command = f"start it, or `evergrant up`, which starts all{hung}", f"evergrant {kind}"
    broker = next((each.fault for each in now.alive(BEAT) if of_an_absent_broker(each.fault)), None)
    if broker is not None:
        step, command = mended(broker)
        remedy = f"see to the broker first, for a {kind} that starts waits for it: {step}"
    return Cause(
        told=f"No {kind} is alive, so nobody {does}{never}",
        since=since,
        then=f"Nothing is sent until a {kind} runs",
        remedy=remedy,
        command=command,
        stops=True,
    )


def processes_are_foreign(now: Facts) -> Cause | None:
    """Beats or workers live, and all of a kind are of another environment than the database."""
    for kind in (BEAT, WORKER):
        alive = now.alive(kind)
        if alive and not now.fit(kind):
            names = listed(sorted({str(each.environment) for each in alive}))
            return Cause(
                told=f"Every {kind} runs as environment {names}, and this database is {now.database.environment}'s:"
                " they send nothing from it",
                then="Nothing is sent",
                remedy=f"start them again with EVERGRANT_ENVIRONMENT={now.database.environment}, or with their own"
                " EVERGRANT_DATABASE_URL",
                command=f"EVERGRANT_ENVIRONMENT={shlex.quote(now.database.environment or '')} evergrant {kind}",
                stops=True,
            )
    return None


def processes_cannot_work(now: Facts) -> Cause | None:
    """All that live of a kind say that they can do nothing now: no room for a journal, no broker."""
    for kind, reason in ((BEAT, "nothing is handed out"), (WORKER, "nothing is sent")):
        alive = now.fit(kind)
        faults = [each.fault for each in alive if each.fault and not each.fault.startswith(SHARED)]
        if alive and len(faults) == len(alive):
            return Cause(
                told=_of_the_broker(faults[0], reason)
                if faults[0].startswith(BROKER)
                else f"{_every(alive)} cannot work, so {reason}: {faults[0]}",
                then="It goes on by itself once that is mended",
                remedy=mended(faults[0]).remedy,
                command=mended(faults[0]).command,
                stops=True,
            )
    return None


def _of_the_broker(fault: str, reason: str) -> str:
    """Beat is well where the broker is not, so that is not said of beat."""
    return f"{fault[0].upper()}{fault[1:]}, so {reason}"


def workers_are_deaf(now: Facts) -> Cause | None:
    """It was handed out, and the workers that live have taken nothing up since."""
    claimed, workers = now.grant.claimed_at, [each for each in now.fit(WORKER) if not each.fault]
    if claimed is None or now.grant.started_at is not None or not now.under_lease or not workers:
        return None
    last = max((each.consumed_at for each in workers if each.consumed_at), default=None)
    seen = min(each.seen_at for each in workers)
    if last is None or not takes_nothing_up(
        now.at, claimed_at=claimed, consumed_at=last, seen_at=seen, worked_at=now.worked_at
    ):
        return None
    return Cause(
        told=f"{_every(workers)} lives and takes nothing up: the last message {length(now.at - last)} ago",
        since=last,  # the claim is made anew twice a minute
        then="A worker that stays so for 90 s ends itself, to be started again; the grant is handed out anew at "
        + iso(now.grant.due_at),
        retry_at=now.grant.due_at,
        remedy="see that beat and workers have the same EVERGRANT_BROKER_URL, and that the broker answers; then start"
        f" again {listed([each.name for each in workers])}",
        command="evergrant doctor",
    )


def takes_nothing_up(
    at: datetime, *, claimed_at: datetime, consumed_at: datetime, seen_at: datetime, worked_at: datetime | None
) -> bool:
    """Whether workers that live take nothing up: what was claimed at `claimed_at` is not started.

    `consumed_at` is what they said at `seen_at`, every five seconds: what was claimed since they do not know of. A
    claim that lapses is made anew, so a young one tells nothing by itself: then it is told by when any worker has last
    carried out periodic work, `worked_at`.
    """
    if consumed_at >= claimed_at:
        return False
    idle_since = None if worked_at is None else max(worked_at, consumed_at)
    return seen_at - claimed_at >= TAKEN_UP_AFTER or (idle_since is not None and at - idle_since >= WORK_EVERY)


def open_transaction_holds_it(now: Facts) -> Cause | None:
    """It is due and not taken, and somebody's open transaction, a forgotten psql mostly, holds rows of ours."""
    if now.database.holder is None or now.grant.status != ACTIVE or now.at - now.grant.due_at < LATE:
        return None
    return Cause(
        told=f"It is due and nobody takes it, for an open transaction holds what that needs ({now.database.holder})",
        since=now.grant.due_at,
        then="Beat tries twice a second, and goes on as soon as that has ended",
        retry_at=now.at,
        remedy=now.database.holder_remedy,
        command="evergrant status",
    )


def key_is_missing(now: Facts) -> Cause | None:
    """No worker holds a key that its refresh token or its client's secret is sealed with."""
    workers = now.fit(WORKER)
    for key, what in _needed(now):
        if workers and all(_lacks(each, key) for each in workers):
            return Cause(
                told=f"No worker holds the key {key}, which {what} is sealed with, so nothing is sent",
                then="It is handed out again and again, and given back",
                remedy=_add(key, workers),
                command="evergrant keys list",
                stops=True,
            )
    return None


def some_workers_lack_a_key(now: Facts) -> Cause | None:
    """Some workers lack such a key: what they take up they give back, and it comes late."""
    workers = now.fit(WORKER)
    for key, what in _needed(now):
        lacking = [each for each in workers if _lacks(each, key)]
        if lacking and len(lacking) < len(workers):
            return Cause(
                told=f"Of {len(workers)} workers {len(lacking)} lack the key {key}, which {what} is sealed with: what"
                " they take up they give back",
                remedy=_add(key, lacking),
                command="evergrant keys list",
            )
    return None


def _needed(now: Facts) -> list[tuple[str, str]]:
    """The keys that a request for the grant needs, and what each seals."""
    found = ((now.client.secret_key_id, "its client's secret"), (now.grant.refresh_key_id, "its refresh token"))
    return [(key, what) for key, what in found if key is not None]


def _lacks(process: Process, key: str) -> bool:
    """Whether it says that it lacks a key; one of an older release says nothing, and is not blamed."""
    return process.refresh_key_ids is not None and key not in process.refresh_key_ids


def _add(key: str, workers: list[Process]) -> str:
    names = listed([each.name for each in workers])
    return (
        f"put the line of the key {key} into the file that EVERGRANT_REFRESH_TOKEN_KEYS_FILE names, or into"
        f" EVERGRANT_REFRESH_TOKEN_KEYS where that is set, in the environment of {names}, and start them again;"
        " what this shell holds is of no use to them"
    )


def provider_file_is_unusable(now: Facts) -> Cause | None:
    """The provider's file is gone or wrong, or others may write it: nobody knows where to send to."""
    if now.client.file_fault is None:
        return None
    return Cause(
        told=f"Its provider's file cannot be used: {now.client.file_fault}",
        then="It is handed out every minute, and given back",
        remedy="mend the file on every machine with a worker, and look",
        command=f"evergrant clients show {now.client.name}",
        stops=True,
    )


def refresh_token_is_missing(now: Facts) -> Cause | None:
    """It holds no refresh token, so there is nothing to renew it with."""
    if now.grant.has_refresh_token or now.grant.status not in (ACTIVE, PAUSED):
        return None
    return Cause(
        told="It holds no refresh token, so nothing can renew it",
        then="Nothing is sent",
        remedy="ask its user to connect again",
        command=asks_again(named(now.grant.ref, now.client.name), by_link=now.asks_by_link),
        stops=True,
    )


def _every(processes: list[Process]) -> str:
    return processes[0].name.capitalize() if len(processes) == 1 else f"Each of {len(processes)} {processes[0].kind}s"
