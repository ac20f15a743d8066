"""What the commands on dead letters share: how one is shown, chosen and missed."""

from typing import TYPE_CHECKING, Any

import click

from worker.cli.failures import ExitCode, Failure
from worker.cli.output import Column

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

COLUMNS = [
    Column("id", number=True),
    Column("ref"),
    Column("client", spare=2),
    Column("kind", spare=4),
    Column("cause"),
    Column("attempts", spare=5, number=True),
    Column("dead_at", spare=1),
    Column("detail", spare=6),
    Column("resolution", spare=3),
]

cause_option = click.option("--cause", metavar="C", help="Such as revoked_or_expired or gave_up.")


def record(row: "RowMapping") -> dict[str, Any]:
    """A dead letter as JSON and tables show it."""
    names = (
        "id",
        "kind",
        "ref",
        "client",
        "cause",
        "detail",
        "attempts",
        "first_failed_at",
        "dead_at",
        "resolved_at",
        "resolution",
        "rule",
        "looks",
        "look_at",
    )
    return {name: row[name] for name in names}


def chosen_among(found: Any, ids: tuple[int, ...]) -> "list[RowMapping]":
    """Those of the ids, or all where no id is given.

    Raises:
        Failure: an id is not among the open letters.

    """
    rows = [row for row in found if not ids or row["id"] in ids]
    missing = sorted(set(ids) - {row["id"] for row in rows})
    if missing:
        raise unknown(missing)
    return rows


def unknown(ids: list[int]) -> Failure:
    """The failure of naming letters that are not there."""
    return Failure(
        code="unknown_dead_letter",
        message=f"There is no open dead letter {', '.join(map(str, ids))}",
        next_step="see `evergrant dead-letters list`",
        exit_code=ExitCode.NOT_FOUND,
    )
