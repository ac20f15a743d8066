"""What of webhooks `evergrant status` shows, and what of it needs a human."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from models.states.webhook import WebhookState
from worker.cli.output import iso
from worker.cli.webhooks.record import state

if TYPE_CHECKING:
    from sqlalchemy import RowMapping


def shown(rows: "Sequence[RowMapping]") -> list[dict[str, Any]]:
    """Every webhook in short; of its URL the host alone, for the rest of some is a secret."""
    from models.webhook import STRIKES, host_of

    return [
        {
            "id": row["id"],
            "host": host_of(row["url"]),
            "state": state(row),
            "queued": row["queued"],
            "dead": row["dead"],
            "oldest_at": row["oldest_at"],
            "failing_since": row["failing_since"] if row["failures"] >= STRIKES else None,
            "last_code": row["last_code"],
        }
        for row in rows
    ]


def attention(webhooks: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """What needs a human, each with the next step."""
    return [told for each in webhooks for told in _of(each)]


def _of(webhook: dict[str, Any]) -> list[tuple[str, str]]:
    number, name = webhook["id"], f"webhook {webhook['id']} ({webhook['host']})"
    resume = f"mend its receiver, then evergrant webhooks resume {number}"
    checks = [
        (webhook["state"] == WebhookState.GONE, f"{name} is told nothing: its receiver said 410, gone", resume),
        (
            webhook["state"] == WebhookState.UNREACHABLE,
            f"{name} is told nothing: for three days nothing reached it ({webhook['last_code']})",
            resume,
        ),
        (
            webhook["state"] == WebhookState.FOREIGN,
            f"{name} is told nothing: it was made in another environment",
            f"evergrant webhooks resume {number}, or remove {number}",
        ),
        (
            webhook["state"] == WebhookState.BEHIND,
            f"{name} is far behind: {webhook['queued']} deliveries wait for it",
            "let its receiver answer sooner, or name fewer types",
        ),
        (
            webhook["state"] == WebhookState.FAILING and webhook["failing_since"] is not None,
            f"nothing reaches {name} since {_since(webhook)} ({webhook['last_code']})",
            f"see that its receiver answers 2xx: evergrant webhooks test {number}",
        ),
        (
            webhook["dead"] > 0,
            f"{webhook['dead']} {'delivery' if webhook['dead'] == 1 else 'deliveries'} to {name} given up",
            f"evergrant webhooks deliveries --webhook {number} --status dead, then evergrant webhooks redeliver ID",
        ),
    ]
    return [(what, step) for applies, what, step in checks if applies]


def _since(webhook: dict[str, Any]) -> str:
    return iso(webhook["failing_since"]) if webhook["failing_since"] is not None else "-"
