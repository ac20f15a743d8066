"""Evidence: what the traces told, kept until the verdict; and the two invariants that need no provider."""

import signal
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from tests.crashes.points import Act
from tests.crashes.processes import Child
from tests.crashes.trace import Line

ENDED_BY_SIGNAL = (-signal.SIGKILL, -signal.SIGTERM)  # an exchange has no last act; beats and workers catch SIGTERM
HALFWAY = ("request.first_byte", "request.half")
SLACK = 0.02  # seconds between the database's reading of the clock and ours


@dataclass
class Sending:
    """One request for a grant: begun when the last guard said yes, ended by an answer or by silence."""

    grant: str
    claim_no: int
    child: str
    at: float
    lease_until: float
    sent_at: float | None = None
    ended_at: float | None = None
    how: str | None = None  # what arrived
    kept: str | None = None  # mark of the token set that was journaled

    @property
    def late(self) -> bool:
        """Its process was frozen after the last guard and before the last byte, until the lease had lapsed."""
        return self.sent_at is not None and self.sent_at > self.lease_until


@dataclass
class Evidence:
    """All that the traces of the present epoch told, and marks of every token set that was ever kept."""

    sendings: dict[str, list[Sending]] = field(default_factory=lambda: defaultdict(list))
    kept: dict[str, str] = field(default_factory=dict)  # mark → grant
    stored: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # grant → when
    strikes: list[tuple[Child, Line]] = field(default_factory=list)
    struck: dict[str, Act] = field(default_factory=dict)  # by child
    killed: set[str] = field(default_factory=set)  # children that a signal ended, with no time for a last act
    consents: dict[str, str] = field(default_factory=dict)  # ref → the child that exchanges its code
    not_connected: dict[str, str] = field(default_factory=dict)  # ref → the error that the user was told
    frozen_requests: int = 0
    requests: Counter[str] = field(default_factory=Counter)

    def note(self, child: Child, line: Line) -> None:
        """Take in one line of a trace."""
        match line["what"]:
            case "sending":
                self.requests["sent"] += 1
                found = Sending(line["grant"], line["claim_no"], child.name, line["at"], line["lease_until"])
                self.sendings[line["grant"]].append(found)
            case "sent" | "ended" | "kept":
                self._note_sending(child, line)
            case "storing":
                self.stored[line["grant"]].append(line["at"])
            case "strike":
                self.strikes.append((child, line))
                self.struck[child.name] = Act(line["act"])
            case "consented":
                self.consents[line["ref"]] = child.name
            case "struck" if line["point"] in HALFWAY and line["act"] == Act.FREEZE:
                self._thawed(child, line)
            case "not_connected":
                self.not_connected[line["ref"]] = line["error"]
            case "gone" if line["exit_code"] in ENDED_BY_SIGNAL:
                self.killed.add(child.name)

    def _note_sending(self, child: Child, line: Line) -> None:
        if line["what"] == "kept":
            self.kept[line["mark"]] = line["grant"]
        ours = [each for each in self.sendings[line["grant"]] if each.child == child.name]
        same = [each for each in ours if each.claim_no == line.get("claim_no", each.claim_no)]
        if not same:
            return
        if line["what"] == "sent":
            same[-1].sent_at = line["at"]
        elif line["what"] == "ended":
            same[-1].ended_at, same[-1].how = line["at"], str(line["how"])
        else:
            same[-1].kept = line["mark"]
            same[-1].ended_at = same[-1].ended_at or line["at"]

    def _thawed(self, child: Child, line: Line) -> None:
        """The rest of its last request leaves only now."""
        ours = [each for sendings in self.sendings.values() for each in sendings if each.child == child.name]
        if ours:
            max(ours, key=lambda each: each.at).sent_at = line["at"]

    def overlaps(self) -> list[str]:
        """Grants of which two requests ran under live leases; those frozen before the first byte are counted apart."""
        found = []
        for grant, sendings in self.sendings.items():
            in_order = sorted(sendings, key=lambda each: each.at)
            for number, later in enumerate(in_order):
                if later.late:
                    self.frozen_requests += 1
                found += [
                    f"{grant}: {earlier} and {later}"
                    for earlier in in_order[:number]
                    if earlier.claim_no != later.claim_no and later.at + SLACK < self._end_of_lease(earlier)
                ]
        return found

    def _end_of_lease(self, sending: Sending) -> float:
        """It ends with the answer, with its time, or with a token set of another attempt: that one is settled."""
        ends = [at for at in self.stored[sending.grant] if at > sending.at]
        return min(sending.ended_at or sending.lease_until, sending.lease_until, *ends)

    def forget(self) -> None:
        """Begin a new epoch; processes of the old one have all ended."""
        self.sendings.clear()
        self.stored.clear()
        self.strikes.clear()
        self.struck.clear()
        self.killed.clear()
        self.consents.clear()
        self.not_connected.clear()
