"""`evergrant plan`: does each client's fleet fit its rate, and what of it where it does not."""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from models.states.client import Keep
from worker.cli import output, session
from worker.cli.arguments import Duration
from worker.cli.commands import Command
from worker.cli.failures import ExitCode, misuse
from worker.cli.glance import ENDING
from worker.cli.output import Column, json_option
from worker.cli.units import length
from worker.cli.units import rate as written

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

    from tasks.oauth.provider import Provider
    from tasks.policy.plan import Load, Plan

COLUMNS = [
    Column("client"),
    Column("fits"),
    Column("grants", number=True),
    Column("on_demand", spare=7, number=True),
    Column("life", spare=1),
    Column("refreshes_per_minute", "needs /min", number=True),
    Column("allowed_per_minute", "may /min", number=True),
    Column("share", spare=2, number=True),
    Column("left_per_minute", "left /min", spare=3, number=True),
    Column("refresh_all", "refresh all", spare=4),
    Column("outage_margin", "rides out", spare=5),
    Column("runway", spare=6),
]
LENGTHS = ("life", "renewed_every", "late_by", "outage_margin", "refresh_all", "runway")


@click.command(
    "plan",
    cls=Command,
    changes=False,
    example="""
    evergrant plan
    evergrant plan --client temple --grants 5000
    evergrant plan --grants 5000 --rate 100/minute --life 2h
    """,
)
@click.option("--client", metavar="NAME", help="One client; without it all of them.")
@click.option("--grants", type=click.IntRange(0, 10**8), metavar="N", help="As if it had N grants.")
@click.option("--rate", metavar="N/minute", help="As if this were its rate, such as 100/minute, or none.")
@click.option("--life", type=Duration(), help="As if access tokens lived so long.")
@json_option
def plan_(*, client: str | None, as_json: bool, **supposed: Any) -> None:
    """Can a client keep its grants alive within its rate.

    Says what they need and may have, what is left for API calls, how long it takes to refresh all after an outage, and
    how long an outage may be that nobody notices. With --grants, --rate and --life together and no --client nothing is
    looked at: it only calculates. Exits 1 where a fleet does not fit.
    """
    if client is None and None not in supposed.values():
        records = [_record("-", _load(_provider(supposed), 0, 0, **supposed), None)]
    else:
        records = list(_looked_at(client, supposed))
    shown = records if as_json else [_readable(each) for each in records]
    output.rows(shown, COLUMNS, as_json=as_json, nothing="There is no client yet; add one with `clients add`.")
    bad = [each for each in shown if not each["fits"]]
    for each in [] if as_json else bad:
        click.echo(_advice(each))
    if bad:
        raise click.exceptions.Exit(ExitCode.FAILED)


def looked_at() -> list[dict[str, Any]]:
    """How each client's fleet fits its rate."""
    return list(_looked_at(None, {"grants": None, "rate": None, "life": None}))


def _looked_at(client: str | None, supposed: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What the database holds, with what is supposed in its place.

    Raises:
        UnknownClient: there is none of that name.
        Failure: something is supposed, and of which client is not said.

    """
    from models.views import fleet, listing
    from tasks.runtime.registration import resolve

    settings = session.prepared()
    with session.reading() as connection:
        if client is not None:
            listing.client_by_name(connection, client)
        rows = [row for row in fleet.kept(connection) if client in (None, row["name"])]
        now = {row["name"]: row for row in fleet.by_client(connection)}
    if len(rows) != 1 and any(each is not None for each in supposed.values()):
        raise misuse(
            message=f"There are {len(rows)} clients, and --grants, --rate and --life are about one",
            next_step="add --client NAME, or give all three to calculate without any",
        )
    for row in rows:
        provider = resolve(row["provider"], row["overrides"] | _overrides(supposed), settings)
        load = _load(
            provider, row["warm"], row["on_demand"], **supposed, keep=row["keep"], life_seen=_life(row), idle=_idle(row)
        )
        untouched = all(each is None for each in supposed.values())
        yield _record(row["name"], load, now[row["name"]] if untouched else None)


def _life(row: "RowMapping") -> tuple[float, int]:
    """How often a second the known lives end, and of how many grants the life is not known."""
    return row["per_second"], row["unknown_life"]


def _idle(row: "RowMapping") -> timedelta | None:
    """Half of the life that the refresh tokens of grants on demand have: by then they are renewed; None: unknown."""
    return timedelta(seconds=row["known_idle"] / row["idle_per_second"] / 2) if row["idle_per_second"] else None


def _overrides(supposed: dict[str, Any]) -> dict[str, Any]:
    """What is supposed, as a provider file says it.

    Raises:
        Failure: the rate or the life cannot be used.

    """
    from tasks.oauth.fields import requests_per_minute

    said: dict[str, Any] = {}
    if supposed["rate"] is not None:
        try:
            said["rate"] = requests_per_minute(supposed["rate"])
        except ValueError as error:
            raise misuse(message=str(error), next_step="correct --rate") from None
    if supposed["life"] is not None:
        if not supposed["life"]:
            raise misuse(message="An access token lives longer than nothing", next_step="correct --life")
        said["default_life_seconds"] = supposed["life"].total_seconds()
    return said


def _provider(supposed: dict[str, Any]) -> "Provider":
    from tasks.oauth.provider import Provider

    return Provider.checked("the command line", {"name": "supposed"} | _overrides(supposed))


def _load(
    provider: "Provider",
    warm: int,
    on_demand: int,
    *,
    grants: int | None,
    rate: str | None,
    life: timedelta | None,
    keep: str = Keep.WARM,
    life_seen: tuple[float, int] = (0.0, 0),
    idle: timedelta | None = None,
) -> "Load":
    from tasks.oauth.rotation import Rotation
    from tasks.oauth.shapes import LifeFrom
    from tasks.policy.plan import Load

    del rate  # it is the provider's by now
    default = timedelta(seconds=provider.default_life_seconds)
    if life is None and (ends := life_seen[0] + life_seen[1] / default.total_seconds()):
        life = timedelta(seconds=warm / ends)
    if grants is not None:
        warm, on_demand = (grants, 0) if keep == Keep.WARM else (0, grants)
    by_file = None if provider.refresh_idle_days is None else timedelta(days=provider.refresh_idle_days) / 2
    return Load(
        warm=warm,
        life=life or default,
        rate_per_minute=provider.rate,
        on_demand=on_demand,
        idle=min(filter(None, (timedelta(days=provider.idle_refresh_days), by_file, idle))),
        confirms=provider.rotation is Rotation.ON_USE and provider.confirm_url is not None,
        introspects=provider.life_from is LifeFrom.INTROSPECTION,
    )


def _record(name: str, load: "Load", now: "RowMapping | None") -> dict[str, Any]:
    from tasks.policy.plan import plan

    found: Plan = plan(load)
    return {
        "client": name,
        "fits": found.fits,
        "grants": load.warm + load.on_demand,
        "on_demand": load.on_demand,
        "life_seconds": _seconds(load.life),
        "rate": written(load.rate_per_minute),
        "refreshes_per_minute": round(found.refreshes_per_minute, 2),
        "on_demand_per_minute": round(found.on_demand_per_minute, 4),
        "confirms_per_minute": round(found.confirms_per_minute, 2),
        "introspections_per_minute": round(found.introspections_per_minute, 2),
        "allowed_per_minute": _rounded(found.allowed_per_minute, 2),
        "share": _rounded(found.share, 3),
        "left_per_minute": _rounded(found.left_per_minute, 2),
        "renewed_every_seconds": _seconds(found.renewed_every),
        "late_by_seconds": _seconds(found.late_by),
        "stale_share": round(found.stale_share, 3),
        "outage_margin_seconds": _seconds(found.outage_margin),
        "refresh_all_seconds": _seconds(found.refresh_all),
        "runway_seconds": _seconds(now["runway"]) if now else None,
        "ending": {name: now[f"ending_{name}"] for name in ENDING} if now else None,
    }


def _seconds(span: timedelta | None) -> float | None:
    return None if span is None else round(span.total_seconds(), 1)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _readable(record: dict[str, Any]) -> dict[str, Any]:
    """The same with lengths and shares as people write them."""
    lengths = {name: length(record[f"{name}_seconds"]) for name in LENGTHS}
    shares = {"share": _percent(record["share"]), "stale": _percent(record["stale_share"])}
    unlimited = {} if record["rate"] else {"allowed_per_minute": "no limit"}
    return record | lengths | shares | unlimited


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.0%}"


def _advice(record: dict[str, Any]) -> str:
    """What happens, and what to do about it."""
    name, every, late = (output.cell(record[key]) for key in ("client", "renewed_every", "late_by"))
    stale = f", and {record['stale']} of the time without a living token" if record["stale_share"] else ""
    return (
        f"{name}: too many for {record['rate']}; each is renewed every {every}, {late} too late{stale}. "
        "Keep some on demand (`grants set REF --keep on-demand`), or ask the provider for a higher rate."
    )
