"""`evergrant grants`: the group, and how a grant is shown."""

from typing import TYPE_CHECKING, Any

import click

from models.states.grant import GrantStatus, PauseReason
from worker.cli.advice import advice
from worker.cli.arguments import named
from worker.cli.commands import Group, Late

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

SECTIONS = {
    "Connect": {
        "connect": Late("worker.cli.connect:connect", "Lead a user through the code flow on this machine."),
        "authorize-url": Late("worker.cli.connect:authorize_url", "Print the URL that a user must visit."),
        "exchange": Late("worker.cli.connect:exchange", "Finish a code flow with the URL that the user came back to."),
        "import": Late("worker.cli.imports:import_", "Take over grants from JSON Lines."),
    },
    "Look": {
        "list": Late("worker.cli.grant_lists:list_", "List grants."),
        "show": Late("worker.cli.grant_lists:show", "Show one grant and what to do about it."),
        "history": Late("worker.cli.history:history", "Show what happened to a ref's grants."),
        "token": Late("worker.cli.grant_token:token", "Print a fresh access token."),
        "probe": Late(
            "worker.cli.grant_probe:probe_", "Ask the provider whether refresh tokens live, without consuming them."
        ),
    },
    "Change": {
        "export": Late("worker.cli.export:export", "Hand a client's grants over to another home."),
        "refresh": Late("worker.cli.grant_work:refresh", "Ask for an early refresh."),
        "pause": Late("worker.cli.grant_work:pause", "Stop refreshing grants."),
        "resume": Late("worker.cli.grant_work:resume", "Go on refreshing paused grants."),
        "set": Late("worker.cli.grant_work:set_", "Change a grant's labels, or how it is kept."),
        "revoke": Late("worker.cli.grant_work:revoke", "Kill grants at the provider, for good."),
        "erase": Late("worker.cli.erase:erase", "Kill grants at the provider, and forget whose they were."),
    },
}


@click.group(cls=Group, sections=SECTIONS)
def grants() -> None:
    """The grants that are kept alive."""


def record(row: "RowMapping") -> dict[str, Any]:
    """A grant as JSON and tables show it."""
    return {
        "ref": row["ref"],
        "client": row["client"],
        "status": row["status"],
        "reason": row["reason"],
        "next": next_step(row),
        "generation": row["generation"],
        "scope": row["scope"],
        "labels": row["labels"],
        "access_expires_at": row["access_expires_at"],
        "due_at": row["due_at"] if row["status"] == GrantStatus.ACTIVE else None,
        "failures": row["failures"],
        "last_error": last_error(row),
        "created_at": row["created_at"],
        "refreshed_at": row["refreshed_at"],
    }


def last_error(row: "RowMapping") -> dict[str, Any] | None:
    """What went wrong last, or None."""
    if row["last_error_at"] is None:
        return None
    return {
        "code": row["last_error_code"],
        "http_status": row["last_error_http_status"],
        "at": row["last_error_at"],
    }


def next_step(row: "RowMapping") -> str | None:
    """What a human should do about a grant; None where nothing is to be done."""
    grant = named(row["ref"], row["client"])
    match row["status"]:
        case GrantStatus.NEEDS_CONSENT:
            return f"ask the user to connect again: evergrant grants connect {grant}"
        case GrantStatus.PAUSED if row["reason"] == PauseReason.HANDED_OVER:
            return f"another home keeps it; to take it back: evergrant grants resume {grant}"
        case GrantStatus.PAUSED:
            return f"evergrant grants resume {grant}"
        case GrantStatus.ACTIVE if row["failures"]:
            return advice(row["last_error_code"], client=row["client"])
        case _:
            return None
