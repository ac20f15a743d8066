"""Credentials: a client's secret, and the one before or after it, while it is not known which of them is good.

A new secret is proven by its first success, and then the former one is shredded. Where it is refused first, the two
change places: what worked works on, and the newer one is tried again now and then, by one request, until it succeeds or
an operator gives another. Each change is one UPDATE that asks for the number of the credentials that it is about, so of
many workers that see the same one makes it, and workers use it from their next start on.
"""

from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from models import event
from models.states.event import EventType

# Soon, for whoever mended something at the provider; ever more seldom, for some lock a client out that is wrong often.
FIRST_TRIAL_AFTER = timedelta(minutes=3)
LONGEST_TRIAL_WAIT = timedelta(hours=1)

# What is kept beside the new one is the last that is known to be good: the present one, unless nothing has ever
# succeeded under it; then what was kept before. One that was refused is not kept.
SET = text("""
update evergrant.clients c set
    sealed_former_secret = kept.sealed,
    former_secret_at = case when kept.sealed is not null then clock_timestamp() end,
    secret_refused_at = null, secret_refused_code = null,
    credentials_no = c.credentials_no + (c.sealed_client_secret is not null)::int,
    sealed_client_secret = :sealed, updated_at = clock_timestamp()
from evergrant.clients before
join evergrant.valves v on v.client_id = before.id
cross join lateral (
    select case
        when cast(:at_once as boolean) then null
        when before.secret_refused_at is not null or v.credentials_proven_no = before.credentials_no
        then before.sealed_client_secret
        else before.sealed_former_secret
    end as sealed
) kept
where c.id = :id and before.id = c.id
returning c.sealed_former_secret is not null
""")

FALL_BACK = text("""
update evergrant.clients c set
    sealed_client_secret = c.sealed_former_secret, sealed_former_secret = c.sealed_client_secret,
    secret_refused_at = clock_timestamp(), secret_refused_code = :code,
    credentials_no = c.credentials_no + 1, updated_at = clock_timestamp()
where c.id = :id and c.credentials_no = :credentials_no
    and c.sealed_former_secret is not null and c.secret_refused_at is null
    and not exists (
        select from evergrant.valves v where v.client_id = c.id and v.credentials_proven_no = c.credentials_no
    )
returning c.credentials_no
""")

PROVEN = text("""
update evergrant.clients set sealed_former_secret = null, former_secret_at = null
where id = :id and credentials_no = :credentials_no and sealed_former_secret is not null and secret_refused_at is null
returning id
""")

# By a grant in trouble only where nobody is well: nothing has succeeded under what is used now, or since its trouble
# began, or for a day.
BEGIN_TRIAL = text("""
update evergrant.clients c set secret_refused_at = clock_timestamp()
where c.id = :id and c.sealed_former_secret is not null and c.secret_refused_at <= clock_timestamp()
    - greatest(:first, least((clock_timestamp() - c.former_secret_at) / 4, :longest))
    and (cast(:in_trouble_since as timestamptz) is null or exists (
        select from evergrant.valves v
        where v.client_id = c.id and (
            v.credentials_proven_no is distinct from c.credentials_no
            or coalesce(v.last_success_at, '-infinity')
                < greatest(cast(:in_trouble_since as timestamptz), clock_timestamp() - interval '1 day')
        )
    ))
returning c.id
""")

END_TRIAL = text("""
update evergrant.clients set
    sealed_client_secret = sealed_former_secret, sealed_former_secret = null, former_secret_at = null,
    secret_refused_at = null, secret_refused_code = null,
    credentials_no = credentials_no + 1, updated_at = clock_timestamp()
where id = :id and sealed_former_secret = :tried and secret_refused_at is not null
returning credentials_no
""")


def set_secret(connection: Connection, client_id: int, sealed: bytes, *, at_once: bool = False) -> bool:
    """Store a sealed secret; returns whether the one before is kept until this one is proven.

    `at_once`: it is not, for it must not be used any more.
    """
    return bool(connection.execute(SET, {"id": client_id, "sealed": sealed, "at_once": at_once}).scalar_one())


def fall_back(connection: Connection, client_id: int, *, credentials_no: int, code: str) -> int | None:
    """Go back to the former secret, for the new one was refused with `code` before anything succeeded under it.

    Returns the number of what is used from now on; None: others are in force by now, or nothing is kept.
    """
    wanted = {"id": client_id, "credentials_no": credentials_no, "code": code}
    now_used: int | None = connection.execute(FALL_BACK, wanted).scalar()
    if now_used is not None:
        event.of_client(connection, client_id, EventType.CLIENT_SECRET_REFUSED, reason=code)
    return now_used


def proven(connection: Connection, client_id: int, *, credentials_no: int) -> bool:
    """Shred the former secret, for something has succeeded under the new one; False: there was none to shred."""
    wanted = {"id": client_id, "credentials_no": credentials_no}
    shredded = connection.execute(PROVEN, wanted).scalar() is not None
    if shredded:
        event.of_client(connection, client_id, EventType.CLIENT_SECRET_PROVEN)
    return shredded


def begin_trial(connection: Connection, client_id: int, *, in_trouble_since: datetime | None = None) -> bool:
    """Take the one trial of a refused secret that may be made now; False: it is not time yet, or somebody has it.

    `in_trouble_since`: since when the grant fails, or is suspect, that is to make it: others who are well go before.
    """
    wanted = {"id": client_id, "first": FIRST_TRIAL_AFTER, "longest": LONGEST_TRIAL_WAIT}
    return connection.execute(BEGIN_TRIAL, {**wanted, "in_trouble_since": in_trouble_since}).scalar() is not None


def end_trial(connection: Connection, client_id: int, *, tried: bytes) -> int | None:
    """Use the secret that was tried, for it succeeded; returns the number of the credentials that it makes.

    None: an operator has changed something meanwhile.
    """
    made: int | None = connection.execute(END_TRIAL, {"id": client_id, "tried": tried}).scalar()
    if made is not None:
        event.of_client(connection, client_id, EventType.CLIENT_SECRET_PROVEN)
    return made
