"""Reading: what happened to each grant of the crash loop, in order, and the windows that this makes."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta

from tests.crashes.fleet import Fleet
from tests.crashes.trace import Line, mark_of
from tests.model.traces.happenings import Happening, Json, Lines, Processes, of_rows
from tests.model.traces.watched import Watched
from tests.model.traces.window import KEPT_FORMER, LEAST, Row, Window

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WORDLESS = 3  # refusals in a word that nobody understands: from then on former tokens are tried


class Reading:
    """Reads what was noted, in the order in which it happened."""

    def __init__(self, fleet: Fleet, asked: dict[str, datetime], lines: Lines) -> None:
        self._fleet = fleet
        self._end_asked = asked
        self._lines = lines
        self._profiles = {member.client_id: profile for profile, member in fleet.members.items()}
        self._rows: dict[str, Json] = {}
        self._former: dict[str, dict[int, Json]] = defaultdict(dict)
        self._drained: set[int] = set()
        self._marks: dict[str, str] = {}  # sealed access token → how traces name its token set
        self._by_token: dict[tuple[str, str], str | None] = {}  # grant and refresh token's fingerprint → the same
        self._was_held: dict[str, set[str | None]] = defaultdict(set)  # by the row itself
        self._asked: dict[str, datetime] = {}  # of a grant whose end was asked for: when all see it
        self._watched: dict[str, Watched] = {}
        self._windows: list[tuple[Window, list[str]]] = []
        self._pairs: dict[tuple[str, str], list[list[str]]] = {}

    def windows(self) -> list[tuple[Window, list[str]]]:
        """All windows, each with its consent's pairs."""
        rows = list(of_rows(self._fleet))
        stored = {mark for each in rows if (mark := self._mark_of(each))}
        for happening in sorted([*rows, *Processes(self._lines, stored).happenings()]):
            getattr(self, f"_{happening.what}")(happening.at, happening.of)
        for watched in self._watched.values():
            watched.end()
        return self._windows

    def _mark_of(self, happening: Happening) -> str | None:
        row = happening.of["after"] if happening.what in ("grants", "former_tokens") else None
        if row is None:
            return None
        grant_id = row["id"] if happening.what == "grants" else row["grant_id"]
        return self._pair(grant_id, row["sealed_access_token"], row["refresh_fingerprint"])

    # Rows

    def _grants(self, at: datetime, log: Json) -> None:
        before, after = log["before"], log["after"]
        if after is None:
            self._watched.pop(before["id"], None)
            self._rows.pop(before["id"], None)
            return
        grant_id = after["id"]
        self._rows[grant_id] = after
        old, new = None if before is None else self._row(before), self._row(after)
        if old is not None and (watched := self._of(grant_id)) is not None:
            over = old.started_at is not None and new.started_at is None
            begins = new.status == "active" and new.started_at not in (None, old.started_at)
            if begins and grant_id in self._asked and at <= self._asked[grant_id]:
                watched.cut("begun at the instant at which its end was asked for")
            watched.changed(
                at,
                old,
                new,
                journal=old.started_by if over else new.started_by,
                undrained=bool(set(new.doubt_journals) - self._drained),
            )
        self._begin(grant_id)

    def _former_tokens(self, at: datetime, log: Json) -> None:
        row = log["after"] or log["before"]
        if log["after"] is None:
            self._former[row["grant_id"]].pop(row["id"], None)
            return
        self._former[row["grant_id"]][row["id"]] = row
        pair = self._pair(row["grant_id"], row["sealed_access_token"], row["refresh_fingerprint"])
        new = log["before"] is None and row["kind"] == "surplus" and pair not in self._was_held[row["grant_id"]]
        if new and (watched := self._of(row["grant_id"])) is not None:
            watched.surplus(at, self._row(self._rows[row["grant_id"]]), pair)

    def _revocations(self, at: datetime, log: Json) -> None:
        grant_id = log["after"]["grant_id"]
        self._asked[grant_id] = self._end_asked.get(self._rows[grant_id]["ref"], at)
        if (watched := self._of(grant_id)) is not None:
            watched.asked_to_end(at, self._row(self._rows[grant_id]))

    def _journals(self, at: datetime, log: Json) -> None:
        if log["after"]["drained_at"] and not log["before"]["drained_at"]:
            self._drained.add(log["after"]["id"])
            for grant_id, watched in list(self._watched.items()):
                watched.drained(at, self._row(self._rows[grant_id]), log["after"]["id"])
                self._begin(grant_id)

    # Processes

    def _sending(self, at: datetime, line: Line) -> None:
        if (watched := self._of(line["grant"])) is not None:
            row = self._rows[line["grant"]]
            token = None if self._profile(row) == "none" else self._by_token.get((row["id"], f"\\x{line['token']}"))
            watched.sends(
                at,
                self._row(row),
                line["journal"],
                claim_no=line["claim_no"],
                generation=line["generation"],
                token=token,
            )

    def _sent(self, at: datetime, line: Line) -> None:
        watched = self._of(line["grant"])
        attempt = None if watched is None else watched.attempts.get(line["journal"])
        due_at = None if attempt is None else self._row(self._rows[line["grant"]]).due_at
        if watched is not None and due_at is not None and at > due_at:
            watched.cut("frozen between the last guard and the first byte")

    def _thawed(self, _at: datetime, line: Line) -> None:
        for watched in self._watched.values():
            if line["journal"] in watched.attempts:
                watched.cut("frozen between the last guard and the last byte")

    def _written(self, at: datetime, line: Line) -> None:
        if (watched := self._of(line["grant"])) is not None:
            started_at = datetime.fromtimestamp(line["started_at"], UTC)
            row = self._row(self._rows[line["grant"]])
            watched.journaled(at, row, line["journal"], line["mark"], kept=True, started_at=started_at)

    def _marking(self, at: datetime, line: Line) -> None:
        if (watched := self._of(line["grant"])) is not None:
            watched.marked(at, self._row(self._rows[line["grant"]]), line["journal"], line["mark"])
            self._begin(line["grant"])

    def _settled(self, _at: datetime, line: Line) -> None:
        if (watched := self._of(line["grant"])) is not None:
            watched.done(line["journal"], line["claim_no"])

    def _killed(self, at: datetime, line: Line) -> None:
        for grant_id, watched in self._watched.items():
            watched.killed(at, self._row(self._rows[grant_id]), line["journal"])

    # What is looked up

    def _of(self, grant_id: str) -> Watched | None:
        if grant_id not in self._rows:
            return None
        if (found := self._watched.get(grant_id)) is None:
            row = self._rows[grant_id]
            profile, ref = self._profile(row), row["ref"]

            def close(window: Window) -> None:
                for pairs in self._consents(profile, ref):
                    if window.first.pair in pairs:
                        self._windows.append((window, pairs))

            found = self._watched[grant_id] = Watched(profile, close)
        return found

    def _profile(self, row: Json) -> str:
        return self._profiles[row["client_id"]]

    def _consents(self, profile: str, ref: str) -> list[list[str]]:
        if (profile, ref) not in self._pairs:
            found = self._fleet.members[profile].control.grants(ref)
            self._pairs[profile, ref] = [[mark_of(pair["access_token"]) for pair in each["pairs"]] for each in found]
        return self._pairs[profile, ref]

    def _begin(self, grant_id: str) -> None:
        watched, row = self._of(grant_id), self._rows[grant_id]
        seen = self._row(row)
        if watched is None or watched.window is not None or row["refusals"] or not watched.looks_quiet(seen):
            return
        former = sorted(
            (each for each in self._former[grant_id].values() if each["known_dead_at"] is None),
            key=lambda each: int(each["id"]),
        )
        if former and (watched.profile not in KEPT_FORMER or former[-1]["kind"] != "predecessor"):
            return
        before = [
            self._pair(grant_id, each["sealed_access_token"], each["refresh_fingerprint"]) for each in former[-1:]
        ]
        watched.begin(seen, before, has_more_before=len(former) > 1)

    def _row(self, row: Json) -> Row:
        pair = self._pair(row["id"], row["sealed_access_token"], row["refresh_fingerprint"])
        self._was_held[row["id"]].add(pair)
        claimed_at = _time(row["claimed_at"])
        return Row(
            claim_no=row["claim_no"],
            generation=row["generation"],
            pair=pair,
            status=row["status"],
            claimed=0 if claimed_at is None else 2 if claimed_at <= EPOCH else 1,
            started_at=_time(row["started_at"]),
            started_by=row["journal_id"],
            doubt=row["doubt_since"] is not None,
            doubt_journals=tuple(row["doubt_journals"]),
            suspect=row["suspect_at"] is not None,
            due_at=_time(row["due_at"]) or EPOCH,
            refused_alone=row["refusals"] >= WORDLESS,
            serves_until=_serves_until(row),
        )

    def _pair(self, grant_id: str, sealed: str | None, fingerprint: str | None) -> str | None:
        """How traces name the token set of which this is the sealed access token."""
        if sealed is None or sealed == "\\x":
            return None
        if sealed not in self._marks:
            data = bytes.fromhex(sealed.removeprefix("\\x"))
            token = self._fleet.vault.open(data, table="grants", row_id=grant_id, purpose="access")
            self._marks[sealed] = mark_of(token)
            if fingerprint is not None:
                self._by_token[grant_id, fingerprint] = self._marks[sealed]
        return self._marks[sealed]


def _serves_until(row: Json) -> datetime | None:
    expires_at = _time(row["access_expires_at"])
    if expires_at is None or row["rejected_at"] is not None:
        return None
    return expires_at - (LEAST if row["life"] is None else min(LEAST, _interval(row["life"]) / 4))


def _interval(text: str) -> timedelta:
    """An interval of less than a day, as jsonb has it."""
    hours, minutes, seconds = text.split(":")
    return timedelta(hours=int(hours), minutes=int(minutes), seconds=float(seconds))


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
