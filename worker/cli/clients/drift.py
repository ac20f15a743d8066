"""What is told of a client's drift: what contradicted its rotation profile, when, and what came of it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tasks.policy.drift import TOLD, Drift
from worker.cli.output import iso


def drift_of(kept: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """A client's drift as JSON shows it, the newest last."""
    found = [{"what": what, "told": TOLD[Drift(what)], **evidence} for what, evidence in (kept or {}).items()]
    return sorted(found, key=lambda each: each["seen_at"])


def sentence(each: Mapping[str, Any]) -> str:
    """One of them for a human."""
    return f"{each['told']} ({_change(each)}, {iso(datetime.fromisoformat(each['seen_at']))}, grant {each['grant_id']})"


def _change(each: Mapping[str, Any]) -> str:
    if each["what"] == Drift.SHORTER_LIFE:
        return f"{each['from']:g} s to {each['to']:g} s"
    return f"{each['from']} to {each['to']}" if each["to"] else f"it stays {each['from']}"


def next_step(name: str, drift: list[dict[str, Any]]) -> str:
    """What a human does about it."""
    if drift[-1]["what"] == Drift.SHORTER_LIFE:
        return f"nothing, if the provider says so; evergrant clients set {name} --rotation PROFILE closes it"
    return (
        f"ask the provider, or evergrant clients probe-rotation {name} --ref REF; then "
        f"evergrant clients set {name} --rotation PROFILE"
    )


def attention(clients: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """What needs a human, each with the next step."""
    return [
        (f"{each['name']} has changed: {sentence(each['drift'][-1])}", next_step(each["name"], each["drift"]))
        for each in clients
        if each["drift"]
    ]
