"""What needs attention in a fleet: causes, each with the next step; a list of checks.

`human`: it will not mend itself. What will is told as well, for nothing that stands still is well.
"""

import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from models.states.application import KeyState
from models.states.client import ClientState
from models.states.installation import DatabaseState
from models.states.process import ProcessKind
from tasks.policy.advice import advice, advice_for, named
from tasks.policy.explanation.cause import listed
from tasks.policy.explanation.faults import BROKER, SHARED, mended
from tasks.policy.explanation.machinery import of_a_copy, takes_nothing_up
from tasks.runtime import disk
from worker.cli import locks, output, provider_files
from worker.cli.clients import drift
from worker.cli.hanging import hanging, remedy, step_before
from worker.cli.journals.list import mend
from worker.cli.tickets import attention as of_customers
from worker.cli.units import length
from worker.cli.webhooks import attention as of_webhooks

Found = Mapping[str, Any]

PASSING: Final = timedelta(minutes=10)  # what may be over by then needs nobody

# What of `database` needs a human, and what to do.
UNFIT: Final = {
    DatabaseState.NOT_ADOPTED: ("nobody has adopted this database: nothing is sent from it", "evergrant db upgrade"),
    DatabaseState.STANDBY: (
        "this database is a replica: it answers, and takes no work",
        "name the primary in EVERGRANT_DATABASE_URL",
    ),
    DatabaseState.REWOUND: ("commits may be missing: nothing is sent before all journals are", "evergrant db check"),
}


@dataclass(frozen=True, slots=True)
class Attention:
    """One thing, and what to do about it."""

    what: str
    next: str
    human: bool = True


def attention(found: Found) -> list[Attention]:
    """Everything: what needs a human before what mends itself.

    Of either causes before what comes of them, and of those what stops all before what concerns a few.
    """
    checks = (
        *(_about_disks, _about_database, _about_processes, _about_locks),
        *(_about_keys, _about_files, _about_deaf_workers, _about_journals),
        *(_about_clients, _about_secrets, _about_failing, _about_backlogs, _about_suspects),
        *(_about_confirmations, _about_held_revocations, _about_drift, _about_webhooks),
        *(_about_letters_and_grants, _about_chores),
    )
    told = [each for check in checks for each in check(found)]
    if found["lapsed"]:
        told.append(_about_lapsed(found, is_explained=bool(told)))
    told += [Attention(*each) for each in of_customers.attention(found)]
    told += _about_replaced(found)  # neither of whom explains why a token has lapsed
    return sorted(told, key=lambda each: not each.human)


def needs_human(found: Found) -> bool:
    """Whether something will not mend itself: then `status` ends with 1."""
    return any(each["human"] for each in found["attention"])


def many(count: int, noun: str) -> str:
    """A number of things."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _about_disks(found: Found) -> Iterable[Attention]:
    """On a full disk all else fails, each in its own words; a process is named where it is not the disk here."""
    here = found["full_disk"]
    if here is not None:
        yield Attention(str(here), here.step)
    for each in found["processes"]:
        free, elsewhere = each["disk_free"], here is None or each["host"] != socket.gethostname()
        if each["alive"] and free is not None and free < disk.LEAST_ROOM and elsewhere:
            yield Attention(*of_a_journals_disk(each))


def of_a_journals_disk(process: Found) -> tuple[str, str]:
    """How little room a process has for its journal, and what to do."""
    host, free = process["host"], disk.mib(process["disk_free"])
    return (
        f"{process['kind']} {process['pid']} on {host} has {free} left for its journal",
        f"make room on {host}, on the file system that `journals` in its EVERGRANT_HOME lies on",
    )


def _about_database(found: Found) -> Iterable[Attention]:
    if found["unwritable"]:
        yield Attention(f"{found['unwritable']}: nothing is sent", mended(found["unwritable"]).remedy)
    here, adopted = found["environment_here"], found["environment"]
    if here is not None and adopted is not None and here != adopted:
        # Seen from here it would be a copy, and `db adopt` would make it one of an environment that it is not of.
        yield Attention(
            f"you ask as environment {here}, and this database is {adopted}'s: what changes anything is refused",
            f"export EVERGRANT_ENVIRONMENT={adopted}",
        )
    elif found["database"] == DatabaseState.COPIED:
        yield Attention(
            "this database is a copy: nothing is sent from it",
            of_a_copy(found["database_name_adopted"], found["database_name"]),
        )
    elif found["database"] in UNFIT:
        yield Attention(*UNFIT[found["database"]])


def _about_processes(found: Found) -> Iterable[Attention]:
    alive, hung = {kind: _alive(found, kind) for kind in ProcessKind}, _hung(found)
    for kind, comes_of_it in ((ProcessKind.BEAT, "nothing is claimed"), (ProcessKind.WORKER, "nothing is sent")):
        if not alive[kind]:
            here = [each for each in hung if each["kind"] == kind]
            start = step_before(found, f"start `evergrant up` or `evergrant {kind}`")
            yield Attention(f"no {kind} is alive: {comes_of_it}", remedy(here) if here else start)
    for each in found["processes"]:
        if each in hung:
            yield Attention(_unheard(each), remedy([each]))
        elif not _is_replaced(each, alive[each["kind"]]):
            yield from _about_process(found, each)


def _hung(found: Found) -> list[Found]:
    """Who of this machine hangs; where nobody can write that they live, silence says nothing."""
    return [] if found["unwritable"] else hanging(found["processes"])


def _about_files(found: Found) -> Iterable[Attention]:
    return (Attention(*told) for told in provider_files.attention(found))


def _about_locks(found: Found) -> Iterable[Attention]:
    return (Attention(*told) for told in locks.attention(found))


def _alive(found: Found, kind: str) -> list[Found]:
    return [each for each in found["processes"] if each["kind"] == kind and each["alive"]]


def _about_chores(found: Found) -> Iterable[Attention]:
    if found["chores_overdue"] and _alive(found, ProcessKind.BEAT) and _alive(found, ProcessKind.WORKER):
        told = ", ".join(map(_last_done, found["chores_overdue"]))
        yield Attention(f"periodic work is not done: {told}", "search the workers' logs for evergrant.upkeep")


def _about_deaf_workers(found: Found) -> Iterable[Attention]:
    """Handed out, and not taken up by anybody who lives."""
    waiting, adopted = found["untaken"], found["environment"]
    workers = [each for each in _alive(found, ProcessKind.WORKER) if each["environment"] in (None, adopted)]
    workers = [each for each in workers if not each["fault"]]  # of the others it is told already why they take nothing
    last = max((each["consumed_at"] for each in workers if each["consumed_at"]), default=None)
    if not waiting["grants"] or last is None:
        return
    since, worked, seen = waiting["since"], waiting["worked_at"], min(each["seen_at"] for each in workers)
    if not takes_nothing_up(found["at"], claimed_at=since, consumed_at=last, seen_at=seen, worked_at=worked):
        return
    names = listed([f"worker {each['pid']} on {each['host']}" for each in workers])
    yield Attention(
        f"no worker takes anything up: {many(waiting['grants'], 'grant')} handed out and untouched, the last message"
        f" was taken {output.iso(last)}",
        f"see that beat and workers have the same EVERGRANT_BROKER_URL, and start again {names}",
    )


def _is_replaced(each: Found, alive: list[Found]) -> bool:
    """Whether it is silent, and another of its kind was started on its machine since."""
    return not each["alive"] and any(
        other["host"] == each["host"] and other["started_at"] > each["seen_at"] for other in alive
    )


def _about_replaced(found: Found) -> Iterable[Attention]:
    """Those who need nobody."""
    for each in found["processes"]:
        if _is_replaced(each, _alive(found, each["kind"])) and each not in _hung(found):
            yield Attention(_unheard(each), "another has taken its place: it is forgotten after an hour", human=False)


def _unheard(each: Found) -> str:
    return f"{each['kind']} {each['pid']} on {each['host']} was not heard of since {output.iso(each['seen_at'])}"


def _about_process(found: Found, each: Found) -> Iterable[Attention]:
    adopted, name = found["environment"], f"{each['kind']} {each['pid']} on {each['host']}"
    if not each["alive"]:
        yield Attention(_unheard(each), step_before(found, "start it again, or see its log"))
        return
    if adopted is not None and each["environment"] not in (None, adopted):
        yield Attention(
            f"{name} runs as environment {each['environment']}, and this database is {adopted}'s: it does nothing here",
            f"start it again with EVERGRANT_ENVIRONMENT={adopted}",
        )
    if each["fault"]:
        yield _of_a_fault(name, each["fault"])
    for what, step in each["missing_keys"]:
        yield Attention(f"{name}: {what}", step)


def _of_a_fault(name: str, fault: str) -> Attention:
    """Beat is well where the broker is not: then it is the broker that is named first."""
    step, command = mended(fault)
    if fault.startswith(SHARED):
        return Attention(fault, step)
    what = f"{fault}, so {name} hands nothing out" if fault.startswith(BROKER) else f"{name} cannot work: {fault}"
    return Attention(what, f"{step}: {command}")


def _about_letters_and_grants(found: Found) -> Iterable[Attention]:
    letters, consents = sum(found["dead_letters"].values()), found["grants"]["needs_consent"]
    if letters:
        yield Attention(f"{many(letters, 'dead letter')} open", "evergrant dead-letters list")
    if consents:
        need = "needs its user" if consents == 1 else "need their users"
        yield Attention(
            f"{many(consents, 'grant')} {need} to consent again", "evergrant grants list --status needs_consent"
        )
    if found["expiring"]:
        yield _about_ends(found, found["expiring_first"])


def _about_ends(found: Found, first: Found | None) -> Attention:
    """The one that ends, by name; of several the first end. One that has passed is told as past."""
    look = "evergrant grants list --expiring-within 14d"
    if first is None:  # connected again meanwhile, or a revocation is asked for
        return Attention(f"{many(found['expiring'], 'grant')} will end unless somebody does something", look)
    at, has_ended = output.iso(first["at"]), first["at"] <= found["at"]
    if found["expiring"] > 1:
        will = "have ended or will end" if has_ended else "will end"
        tail = f"the first {'ended ' if has_ended else ''}at {at}"
        return Attention(f"{found['expiring']} grants {will} unless somebody does something, {tail}", look)
    what = f"the {first['what'].replace('_', ' ')} of {first['ref']} of {first['client']}"
    step = f"evergrant explain {named(first['ref'], first['client'])}"
    if has_ended:
        return Attention(f"{what} has ended, at {at}: ask its user to connect again now", step)
    return Attention(f"{what} will end unless somebody does something, at {at}", step)


def _about_lapsed(found: Found, *, is_explained: bool) -> Attention:
    """The harm itself: what causes it is told as well, or somebody has to look for it."""
    return Attention(
        f"{many(found['lapsed'], 'access token')} lapsed although kept warm",
        "evergrant grants list --due-within 0s",
        human=not is_explained,
    )


def _about_journals(found: Found) -> Iterable[Attention]:
    if found["journals_waited_for"]:
        yield Attention(
            f"grants in doubt wait for {many(found['journals_waited_for'], 'journal')} that nobody holds",
            "start a worker on that machine: evergrant journals list",
        )
    for each in found["journals_damaged"]:
        yield Attention(f"journal {each['id']} of {each['host']} is damaged: {each['damage']}", mend(each["id"]))


def _about_keys(found: Found) -> Iterable[Attention]:
    return [Attention(what, step) for what, step in found["missing_keys"]]


def _about_held_revocations(found: Found) -> Iterable[Attention]:
    for each in found["revocations_held"]:
        yield Attention(
            f"{many(each['count'], 'revocation')} of {each['client']} held: {each['asked_by']} asked for very many",
            f"evergrant clients accept-revocations {each['client']}, or with --discard",
        )


def _about_secrets(found: Found) -> Iterable[Attention]:
    for each in found["secrets_refused"]:
        yield Attention(
            f"{each['name']} goes on with its former secret: the new one was refused ({each['code']})",
            f"check it at the provider, then evergrant clients set-secret {each['name']}",
        )
    for each in found["certificates_ending"]:
        yield Attention(
            f"the certificate of {each['name']} ends {output.iso(each['ends_at'])}",
            f"evergrant clients set-secret {each['name']} --private-key-file FILE --certificate-file FILE",
        )
    for each in found["application_keys_ending"]:
        ends = "ended" if each["state"] == KeyState.ENDED else "ends"
        yield Attention(
            f"the key of application {each['name']} {ends} {output.iso(each['expires_at'])}",
            f"evergrant apps rotate {each['name']} --key-file FILE",
        )


def _about_clients(found: Found) -> Iterable[Attention]:
    for each in found["clients"]:
        if each["state"] != ClientState.OPEN:
            step, human = _client_step(each, _shape(found, each))
            yield Attention(f"{each['name']} is {each['state']}: {each['reason']}", step, human)
    for each in found["clients"]:
        if each["pace"] is not None:
            yield Attention(
                f"{each['name']} goes at {each['pace']}: many are refused ({each['pace_reason']}) while others succeed",
                f"ask the provider for its limit: evergrant clients set {each['name']} --rate",
                human=False,
            )


def _about_backlogs(found: Found) -> Iterable[Attention]:
    """Grants that are due and wait for their client's rate: a human's where tokens lapse meanwhile."""
    if not _alive(found, ProcessKind.BEAT) or not _alive(found, ProcessKind.WORKER):
        return
    for each in found["clients"]:
        if each["backlog"] is not None:
            yield _of_a_backlog(each)


def _of_a_backlog(client: Found) -> Attention:
    name, turn = client["name"], client["backlog"]["last_turn_in_seconds"]
    late = length(client["lateness_seconds"])
    if turn is None:
        what = f"{name}: {client['due']} due wait, the first for {late}: as many are under way as its burst allows"
        return Attention(what, f"evergrant clients set {name} --burst N", human=client["lapsed"] > 0)
    return Attention(
        f"{name}: {client['due']} due wait for its rate of {client['pace'] or client['rate']}, the first for {late};"
        f" the last has its turn in {length(turn)}",
        f"evergrant plan --client {name}; where the provider allows more: evergrant clients set {name} --rate N/minute",
        human=client["lapsed"] > 0,
    )


def _shape(found: Found, client: Found) -> str | None:
    """Of what the valve is shut for, as its grants tell it."""
    alike = (each for each in found["causes"] if (each["client"], each["code"]) == (client["name"], client["reason"]))
    return next((each["shape"] for each in alike), None)


def _client_step(client: Found, shape: str | None) -> tuple[str, bool]:
    match client["state"]:
        case ClientState.PAUSED:
            return f"evergrant clients resume {client['name']}", True
        case ClientState.HOLDING:
            return f"evergrant clients accept-deaths {client['name']}", True
        case _:
            told = advice(client["reason"], client=client["name"], shape=shape)
            return told or f"it opens by itself; see evergrant clients show {client['name']}", told is not None


def _about_failing(found: Found) -> Iterable[Attention]:
    """Grants that fail, by their client and what they fail with."""
    for each in found["causes"]:
        told = advice_for(each["code"], ref=each["example"], client=each["client"], shape=each["shape"])
        look = f"evergrant explain {named(each['example'], each['client'])}"
        alone = " alone" if each["alone"] else ""
        yield Attention(
            f"{each['client']}: {each['grants']} failing{alone}, {each['code']} since {output.iso(each['since'])}",
            told if told and not each["alone"] else look,
            human=bool(told or each["alone"]),
        )


def _about_suspects(found: Found) -> Iterable[Attention]:
    for each in found["suspects"]:
        yield Attention(
            f"{each['client']}: {many(each['grants'], 'suspect')} since {output.iso(each['since'])}: refused once, and"
            " asked again before anybody is judged",
            f"evergrant explain {named(each['example'], each['client'])}",
            human=False,
        )


def _about_confirmations(found: Found) -> Iterable[Attention]:
    """Former refresh tokens live on while these fail; nothing lapses for it, so only what lasts is a human's."""
    for each in found["unconfirmed"]:
        yield Attention(
            f"{each['client']}: new access tokens cannot be confirmed, {each['code']} since"
            f" {output.iso(each['since'])}; former refresh tokens live on",
            f"see whether its confirm URL can be reached: evergrant clients set {each['client']} --confirm-url URL",
            human=found["at"] - each["since"] > PASSING,
        )


def _about_drift(found: Found) -> Iterable[Attention]:
    return (Attention(*told) for told in drift.attention(found["clients"]))


def _last_done(chore: Found) -> str:
    return f"{chore['name']} ({'never' if chore['done_at'] is None else 'last ' + output.iso(chore['done_at'])})"


def _about_webhooks(found: Found) -> Iterable[Attention]:
    return (Attention(*told) for told in of_webhooks.attention(found["webhooks"]))
