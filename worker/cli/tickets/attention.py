"""What `evergrant status` tells of customers who connect: who waits and why, who could not, that nobody leads them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from models.states.visit import VisitOutcome, VisitReason
from worker.cli.output import iso

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

    from models.public_listener import PublicListener
    from models.views.visits import Hour

Told = tuple[str, str, bool]

# A worker takes a code up within a second, and a provider answers within a few.
LONG: Final = timedelta(seconds=30)

# What may be in the way of an exchange; what to do, and whether it needs a human: what stands here mends itself not.
HELD: Final[Mapping[str, tuple[str, str, bool]]] = {
    VisitReason.CLIENT_PAUSED: ("the client is paused", "evergrant clients resume {client}", True),
    VisitReason.KEYS: ("no worker has the keys for it", "evergrant doctor", True),
    VisitReason.JOURNAL_BROKEN: ("no journal can be written", "evergrant doctor", True),
    VisitReason.DATABASE_UNFIT: ("nothing is sent from this database", "evergrant db check", True),
    VisitReason.EXCHANGE_NOT_SENT: ("it could not be sent to the provider", "evergrant clients show {client}", False),
    VisitReason.STILL_REVOKING: (
        "the old consent has not ended yet",
        "evergrant revocations list --client {client} --status queued",
        False,
    ),
}
SENT: Final = ("the provider has not answered yet", "evergrant clients show {client}", False)
UNTAKEN: Final = ("no worker has taken it up", "see that beats and workers live: evergrant doctor", True)

# Why visits fail for which an operator can do something; what else there is concerns one customer alone, who may begin
# again.
REMEDIES: Final[Mapping[str, str]] = {
    VisitReason.PROVIDER_ERROR: "see what the provider takes exception to (`code`)",
    VisitReason.SCOPE_REFUSED: "ask for scopes that it grants: evergrant clients set {client} --scope SCOPE",
    VisitReason.EXCHANGE_REFUSED: "compare what it is registered as: evergrant clients show {client}",
    VisitReason.NO_REFRESH_TOKEN: "see what makes it give a refresh token: evergrant providers show PROVIDER",
    VisitReason.UNFIT: "see the workers' log for visit.failed",
    VisitReason.TOO_LATE: "see that beats and workers live: evergrant doctor",
    VisitReason.EXCHANGE_NOT_SENT: "see why the provider cannot be reached: evergrant clients show {client}",
    VisitReason.CLIENT_PAUSED: "resume the client before customers come: evergrant clients resume {client}",
    VisitReason.DATABASE_UNFIT: "evergrant db check",
    VisitReason.JOURNAL_BROKEN: "evergrant doctor",
    VisitReason.KEYS: "evergrant doctor",
}


def waiting(rows: "Sequence[RowMapping]") -> list[dict[str, Any]]:
    """Who waits for an exchange for long, as `status` shows it."""
    return [{name: row[name] for name in ("client", "held_by", "is_sent", "visits", "since")} for row in rows]


def failed(hour: "Hour") -> list[dict[str, Any]]:
    """Who could not connect within the hour; of what customers began anew nothing is told."""
    names = ("client", "reason", "visits", "last_at", "recovered")
    return [
        {name: row[name] for name in names}
        for row in hour.ended
        if row["outcome"] == VisitOutcome.FAILED and row["reason"] != VisitReason.BEGUN_AGAIN
    ]


def listener(known: "PublicListener", here: str | None) -> dict[str, Any]:
    """Where customers are led, and where this process was told that they are."""
    return {"url": known.url, "seen_at": known.seen_at, "served": known.is_served, "url_here": here}


def attention(found: Mapping[str, Any]) -> Iterator[Told]:
    """Everything, each with the next step, and whether it needs a human."""
    yield from _about_listener(found["public_listener"])
    for each in found["visits_waiting"]:
        yield _who_waits(each)
    for each in found["visits_failed"]:
        yield _who_failed(each)


def _about_listener(known: Mapping[str, Any]) -> Iterable[Told]:
    if known["served"]:
        return
    if known["url"] is not None:
        since = "long ago" if known["seen_at"] is None else iso(known["seen_at"])
        yield (
            f"no web serves the public listener {known['url']} any longer (last: {since}): links lead nowhere",
            "start `evergrant web` with EVERGRANT_PUBLIC_BIND and EVERGRANT_PUBLIC_URL",
            True,
        )
    elif known["url_here"] is not None:
        yield (
            f"EVERGRANT_PUBLIC_URL is {known['url_here']}, and no web has said that it serves a public listener",
            "start `evergrant web` with EVERGRANT_PUBLIC_BIND, too, or unset it here",
            True,
        )


def _who_waits(each: Mapping[str, Any]) -> Told:
    why, step, human = HELD.get(each["held_by"], SENT if each["is_sent"] else UNTAKEN)
    word = "" if each["held_by"] is None else f" ({each['held_by']})"
    who = f"{each['client']}: {_customers(each['visits'], 'waits', 'wait')} for an exchange since {iso(each['since'])}"
    return f"{who}: {why}{word}", step.format(client=each["client"]), human


def _who_failed(each: Mapping[str, Any]) -> Told:
    """Told for an hour; whoever came after them and connected says that it is over."""
    reason, client = VisitReason(each["reason"]), each["client"]
    listed = f"whom it concerns: evergrant tickets list --client {client} --state failed"
    what = f"{client}: {_customers(each['visits'])} could not connect within the hour, the last {iso(each['last_at'])}"
    remedy = REMEDIES.get(reason)
    step = listed if remedy is None else f"{remedy.format(client=client)}; {listed}"
    return f"{what}: {reason}, {reason.meaning}", step, remedy is not None and not each["recovered"]


def _customers(count: int, one: str = "", more: str = "") -> str:
    return f"{count} customer {one}".rstrip() if count == 1 else f"{count} customers {more}".rstrip()
