"""Write the Grafana board of a fleet: board.json beside this file.

    python deploy/grafana/generate.py

A test sees that the board is what this file says, that each metric of docs/reference/metrics.md is shown, and that none
is asked for that nobody tells. Series of one fleet may come from several webs: so each is taken over all of them.
"""
# ruff: noqa: INP001  # a script, not a package

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

BOARD: Final = Path(__file__).with_name("board.json")
SOURCE: Final = {"type": "prometheus", "uid": "${source}"}
MINE: Final = 'client=~"$client"'
WIDTH, HEIGHT = 8, 8  # of Grafana's 24 columns
SMALL = 3, 4


@dataclass(frozen=True)
class Panel:
    """One picture: what is asked, and how its series are called. `worry`: from this value on it is red."""

    title: str
    told: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    worry: float | None = None
    small: bool = False
    stacked: bool = False


def _fleet(metric: str, by: str = "client") -> str:
    chosen = MINE if by.startswith("client") else ""
    return f"max by ({by}) ({metric}{{{chosen}}})" if chosen else f"max by ({by}) ({metric})"


def _rate(metric: str, by: str, *, of_clients: bool = False) -> str:
    return f"sum by ({by}) (rate({metric}{{{MINE if of_clients else ''}}}[$__rate_interval]))".replace("{}", "")


def _quantile(which: float, metric: str, by: str, *, of_clients: bool = False) -> str:
    return f"histogram_quantile({which}, {_rate(metric + '_bucket', f'le, {by}', of_clients=of_clients)})"


def _glance(title: str, query: str, told: str, *, worry: float | None = None, unit: str = "short") -> Panel:
    return Panel(title, told, [(query, "")], unit=unit, worry=worry, small=True)


ROWS: Final[Sequence[tuple[str, Sequence[Panel]]]] = [
    (
        "At a glance",
        [
            _glance(
                "Fit to send",
                'max(evergrant_database_answers) * max(evergrant_database_state{state="fit"})',
                "1: the database answers, and is the one that was adopted.",
            ),
            _glance("Workers", 'max(evergrant_processes_alive{kind="worker"})', "That live, on all machines."),
            _glance("Beats", 'max(evergrant_processes_alive{kind="beat"})', "That live, on all machines."),
            _glance("Webs", 'max(evergrant_processes_alive{kind="web"})', "That live, on all machines."),
            _glance(
                "Lapsed", f"sum({_fleet('evergrant_lapsed')})", "Kept warm, and yet their access token ended.", worry=1
            ),
            _glance(
                "Runway",
                f"min({_fleet('evergrant_runway_seconds')})",
                "Until the first access token ends, if all stood still.",
                unit="s",
            ),
            _glance(
                "Dead letters", f"sum({_fleet('evergrant_dead_letters_open', 'cause')}) or vector(0)", "Open.", worry=1
            ),
            _glance(
                "Valves shut", f"sum({_fleet('evergrant_valve_shut')})", "Clients for which nothing is sent.", worry=1
            ),
        ],
    ),
    (
        "Tokens: how much time there is",
        [
            Panel(
                "Runway",
                "Until the first access token ends, if all stood still.",
                [(_fleet("evergrant_runway_seconds"), "{{client}}")],
                unit="s",
            ),
            Panel(
                "Ending soon",
                "Access tokens kept warm that end within so long, if all stood still.",
                [(_fleet("evergrant_access_tokens_ending", "client, within"), "{{client}} within {{within}}")],
            ),
            Panel(
                "Lapsed",
                "Kept warm, and yet ended: somebody reads a token that is stale.",
                [(_fleet("evergrant_lapsed"), "{{client}}")],
                worry=1,
            ),
            Panel(
                "Due, and under way",
                "What may be claimed now, and what has a live lease.",
                [(_fleet("evergrant_due"), "{{client}} due"), (_fleet("evergrant_under_way"), "{{client}} under way")],
            ),
            Panel(
                "How late",
                "How long the oldest due grant has waited; how late refreshes begin, the worst of a hundred.",
                [
                    (_fleet("evergrant_lateness_seconds"), "{{client}} oldest due"),
                    (
                        _quantile(0.99, "evergrant_refresh_lateness_seconds", "client", of_clients=True),
                        "{{client}} p99",
                    ),
                ],
                unit="s",
            ),
            Panel(
                "Life left when renewed",
                "What was left of the access token when the next was stored: the worst of a hundred, and the middle.",
                [
                    (
                        _quantile(0.01, "evergrant_life_left_at_commit_seconds", "client", of_clients=True),
                        "{{client}} p1",
                    ),
                    (
                        _quantile(0.5, "evergrant_life_left_at_commit_seconds", "client", of_clients=True),
                        "{{client}} p50",
                    ),
                ],
                unit="s",
            ),
        ],
    ),
    (
        "Refreshes",
        [
            Panel(
                "By outcome",
                "What came of them.",
                [(_rate("evergrant_refreshes_total", "outcome", of_clients=True), "{{outcome}}")],
                unit="ops",
                stacked=True,
            ),
            Panel(
                "By client",
                "That brought a token set.",
                [
                    (
                        _rate("evergrant_refreshes_total", "client", of_clients=True).replace(
                            MINE, f'{MINE},outcome="refreshed"'
                        ),
                        "{{client}}",
                    )
                ],
                unit="ops",
            ),
            Panel(
                "Claims",
                "Jobs that beats have claimed.",
                [(_rate("evergrant_claims_total", "kind"), "{{kind}}")],
                unit="ops",
            ),
            Panel("Failing", "The last attempt failed.", [(_fleet("evergrant_failing"), "{{client}}")]),
            Panel(
                "Held back",
                "Valves that are shut; clients that go slower than they may.",
                [
                    (_fleet("evergrant_valve_shut"), "{{client}} shut"),
                    (_fleet("evergrant_pace_halved"), "{{client}} pace halved"),
                ],
            ),
            Panel(
                "Looks of beats",
                "Times that they looked for what is due.",
                [(_rate("evergrant_looks_total", "result"), "{{result}}")],
                unit="ops",
            ),
        ],
    ),
    (
        "Grants",
        [
            Panel(
                "By status",
                "Of the clients chosen.",
                [(f"sum by (status) ({_fleet('evergrant_grants', 'client, status')})", "{{status}}")],
            ),
            Panel(
                "Asked again before anybody believes it",
                "Refused once; outcome unknown; verdicts that wait for a human.",
                [
                    (_fleet("evergrant_suspects"), "{{client}} suspects"),
                    (_fleet("evergrant_in_doubt"), "{{client}} in doubt"),
                    (_fleet("evergrant_deaths_held"), "{{client}} deaths held"),
                ],
            ),
            Panel(
                "Need somebody",
                "Consents lost; that end soon; profiles that the provider contradicts.",
                [
                    (
                        _fleet("evergrant_grants", "client, status").replace(MINE, f'{MINE},status="needs_consent"'),
                        "{{client}} needs consent",
                    ),
                    (_fleet("evergrant_grants_expiring"), "{{client}} expiring"),
                    (_fleet("evergrant_rotation_drift"), "{{client}} drift"),
                ],
            ),
            Panel(
                "Dead letters", "Open ones.", [(_fleet("evergrant_dead_letters_open", "cause"), "{{cause}}")], worry=1
            ),
            Panel(
                "Journals and chores",
                "Journals that are waited for or damaged; periodic work that is overdue.",
                [
                    ("max(evergrant_journals_waited_for)", "waited for"),
                    ("max(evergrant_journals_damaged)", "damaged"),
                    ("max(evergrant_chores_overdue)", "chores overdue"),
                ],
                worry=1,
            ),
            Panel(
                "The database",
                "In which state it is, and whether it answers.",
                [
                    (_fleet("evergrant_database_state", "state"), "{{state}}"),
                    ("max(evergrant_database_answers)", "answers"),
                ],
            ),
        ],
    ),
    (
        "Revocations and notices",
        [
            Panel(
                "Revocations open",
                "`held`: a limit holds them; `dead`: given up on.",
                [(_fleet("evergrant_revocations_open", "status"), "{{status}}")],
            ),
            Panel(
                "From request to end",
                "The worst of twenty.",
                [(_quantile(0.95, "evergrant_revocation_seconds", "evidence", of_clients=True), "{{evidence}} p95")],
                unit="s",
            ),
            Panel(
                "Notices of providers",
                "What they have told by themselves.",
                [(_rate("evergrant_notices_total", "client, outcome", of_clients=True), "{{client}} {{outcome}}")],
                unit="ops",
            ),
        ],
    ),
    (
        "Being told",
        [
            Panel(
                "Webhooks: what waits",
                "Deliveries that wait, and that were given up in 30 days; open 0: nothing is sent to it.",
                [
                    (_fleet("evergrant_webhook_queued", "webhook"), "{{webhook}} queued"),
                    (_fleet("evergrant_webhook_dead", "webhook"), "{{webhook}} given up"),
                    ("min by (webhook) (evergrant_webhook_open)", "{{webhook}} open"),
                ],
            ),
            Panel(
                "Webhooks: how late",
                "How long the oldest has waited; from an event to the answer, the worst of a hundred.",
                [
                    (_fleet("evergrant_webhook_lag_seconds", "webhook"), "{{webhook}} oldest"),
                    (_quantile(0.99, "evergrant_webhook_delivery_seconds", "webhook"), "{{webhook}} p99"),
                ],
                unit="s",
            ),
            Panel(
                "Webhooks: tries",
                "Tries a second, by how they ended.",
                [(_rate("evergrant_webhook_deliveries_total", "webhook, outcome"), "{{webhook}} {{outcome}}")],
            ),
        ],
    ),
    (
        "Customers who connect",
        [
            Panel(
                "How visits ended",
                "Within the last hour, by outcome and reason.",
                [
                    (
                        f"sum by (outcome, reason) ({_fleet('evergrant_visits_ended', 'client, outcome, reason')})",
                        "{{outcome}} {{reason}}",
                    )
                ],
                stacked=True,
            ),
            Panel(
                "Who waits",
                "Customers who wait for their exchange; listener served 0: no web leads customers any longer.",
                [
                    (_fleet("evergrant_visits_waiting"), "{{client}} waiting"),
                    ("max(evergrant_public_listener_served)", "listener served"),
                ],
            ),
            Panel(
                "How long they wait",
                "The first of those who wait; from return to end within the last hour, the worst of twenty.",
                [
                    (_fleet("evergrant_visits_lag_seconds"), "{{client}} first"),
                    (
                        _fleet("evergrant_visit_seconds", "client, quantile").replace(MINE, f'{MINE},quantile="0.95"'),
                        "{{client}} p95",
                    ),
                ],
                unit="s",
                worry=30,
            ),
        ],
    ),
    (
        "Doors",
        [
            Panel(
                "Requests to web",
                "By the status of the answer.",
                [(_rate("evergrant_web_requests_total", "status"), "{{status}}")],
                unit="reqps",
                stacked=True,
            ),
            Panel(
                "How long they took",
                "The worst of twenty; waiting for a token included.",
                [(_quantile(0.95, "evergrant_web_request_seconds", "route"), "{{route}} p95")],
                unit="s",
            ),
            Panel(
                "Connections",
                "With a key and without; requests that wait for a token set now.",
                [
                    ("sum by (key) (evergrant_web_connections)", "key {{key}}"),
                    ("sum(evergrant_web_waiting)", "waiting"),
                ],
            ),
            Panel(
                "Cut off",
                "Connections that were closed by us, by why.",
                [(_rate("evergrant_web_connections_closed_total", "cause"), "{{cause}}")],
                unit="cps",
            ),
            Panel(
                "Messages refused",
                "What somebody else wrote into our queues.",
                [(_rate("evergrant_messages_refused_total", "reason"), "{{reason}}")],
                unit="ops",
            ),
        ],
    ),
    (
        "Processes (workers and beats)",
        [
            Panel("Alive", "By kind.", [(_fleet("evergrant_processes_alive", "kind"), "{{kind}}")]),
            Panel(
                "CPU",
                "Cores that each uses.",
                [('rate(process_cpu_seconds_total{job=~"evergrant.*"}[$__rate_interval])', "{{instance}}")],
            ),
            Panel(
                "Memory",
                "Resident.",
                [('process_resident_memory_bytes{job=~"evergrant.*"}', "{{instance}}")],
                unit="bytes",
            ),
            Panel(
                "Open files",
                "Of those that each may have.",
                [
                    ('process_open_fds{job=~"evergrant.*"}', "{{instance}}"),
                    ('process_max_fds{job=~"evergrant.*"}', "{{instance}} may"),
                ],
            ),
        ],
    ),
]


def _panel(panel: Panel, *, number: int, at: dict[str, int]) -> dict[str, Any]:
    steps = [{"color": "green", "value": None}]
    steps += [] if panel.worry is None else [{"color": "red", "value": panel.worry}]
    custom = {"fillOpacity": 20, "stacking": {"mode": "normal"}} if panel.stacked else {"fillOpacity": 0}
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    return {
        "id": number,
        "type": "stat" if panel.small else "timeseries",
        "title": panel.title,
        "description": panel.told,
        "datasource": SOURCE,
        "gridPos": at,
        "fieldConfig": {"defaults": defaults | ({} if panel.small else {"custom": custom}), "overrides": []},
        "options": {"reduceOptions": {"calcs": ["lastNotNull"]}} if panel.small else {"tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": query, "legendFormat": legend}
            for i, (query, legend) in enumerate(panel.queries)
        ],
    }


def _panels() -> Iterator[dict[str, Any]]:
    numbers, y = count(1), 0
    for title, panels in ROWS:
        at = {"x": 0, "y": y, "w": 24, "h": 1}
        yield {"id": next(numbers), "type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": at}
        y += 1
        width, height = SMALL if panels[0].small else (WIDTH, HEIGHT)
        for i, panel in enumerate(panels):
            place = {"x": i * width % 24, "y": y + i * width // 24 * height, "w": width, "h": height}
            yield _panel(panel, number=next(numbers), at=place)
        y += -(-len(panels) * width // 24) * height


def board() -> dict[str, Any]:
    """The board as Grafana imports it: it asks for the data source, and offers the clients to choose from."""
    source = {"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    client = {
        "name": "client",
        "type": "query",
        "label": "Client",
        "datasource": SOURCE,
        "query": "label_values(evergrant_grants, client)",
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
    return {
        "uid": "evergrant",
        "title": "Evergrant",
        "description": "A fleet of OAuth grants, and how much time there is.",
        "tags": ["evergrant"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [source, client]},
        "panels": [*_panels()],
    }


def page() -> str:
    """The file."""
    return json.dumps(board(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    BOARD.write_text(page(), encoding="utf-8")
