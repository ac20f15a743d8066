"""A webhook and a delivery as commands show them, and what is typed to name one."""

from typing import TYPE_CHECKING, Any

import click

from models.states.webhook import WebhookPause, WebhookState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import RowMapping

id_argument = click.argument("id", metavar="ID", type=click.IntRange(min=1, max=2**63 - 1))


def record_of(row: "RowMapping") -> dict[str, Any]:
    """A webhook for a program."""
    return {
        "id": row["id"],
        "url": row["url"],
        "state": state(row),
        "types": row["types"],
        "clients": row["clients"] if row["is_of_clients"] else None,
        "environment": row["environment"],
        "allow_private": row["allow_private"],
        "queued": row["queued"],
        "dead": row["dead"],
        "oldest_at": row["oldest_at"],
        "failures": row["failures"],
        "failing_since": row["failing_since"],
        "last_code": row["last_code"],
        "last_http_status": row["last_http_status"],
        "last_success_at": row["last_success_at"],
        "retry_at": row["retry_at"],
        "paused_at": row["paused_at"],
        "former_secret_until": row["former_secret_until"],
        "created_at": row["created_at"],
        "created_by": row["created_by"],
    }


def state(row: "RowMapping") -> WebhookState:
    """How it goes with a webhook."""
    checks = [
        (row["paused_reason"] == WebhookPause.OPERATOR, WebhookState.PAUSED),
        (row["paused_reason"] == WebhookPause.GONE, WebhookState.GONE),
        (row["paused_reason"] == WebhookPause.UNREACHABLE, WebhookState.UNREACHABLE),
        (row["is_foreign"], WebhookState.FOREIGN),
        (row["stopped_at"] is not None, WebhookState.BEHIND),
        (row["failures"] > 0, WebhookState.FAILING),
    ]
    return next((word for applies, word in checks if applies), WebhookState.OPEN)


def known_types(given: "Iterable[str]") -> list[str] | None:
    """Types that were typed, each once and in their order; None: none was."""
    return list(dict.fromkeys(given)) or None
