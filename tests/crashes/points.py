"""The fail-points: every step of the path at which a process is struck, and what may strike it there."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Act(StrEnum):
    """What happens to a process at a fail-point."""

    KILL = "kill"  # SIGKILL to itself, at that very instruction
    FREEZE = "freeze"  # SIGSTOP until its lease has lapsed, then SIGCONT
    DATABASE = "database"  # its database connections are ended; at a COMMIT: carried out, and answered by a reset
    WIRE = "wire"  # its connection to the provider breaks


class Process(StrEnum):
    """Whose step it is."""

    BEAT = "beat"
    WORKER = "worker"
    EXCHANGE = "exchange"  # an operator's `grants exchange`


@dataclass(frozen=True)
class Point:
    """One step."""

    name: str
    process: Process
    step: str  # what has just happened, or is about to
    acts: tuple[Act, ...]


_ANY: Final = (Act.KILL, Act.FREEZE, Act.DATABASE)
_WIRE: Final = (*_ANY, Act.WIRE)

BEAT: Final = {
    "claim.updated": "rows are claimed, not committed",
    "claim.commit_sent": "COMMIT of the claim is sent, its answer unread",
    "claim.committed": "the claim is committed, nothing published",
    "publish.sent": "the message is with the broker",
}
OPEN: Final = {
    "open.updated": "a journal has its number and its folder, the number is not committed",
    "open.commit_sent": "COMMIT of the number is sent, its answer unread",
    "open.committed": "the number is committed, the worker has done nothing yet",
}
START: Final = {
    "start.updated": "the attempt is started, not committed",
    "start.commit_sent": "COMMIT of the start is sent, its answer unread",
    "start.committed": "the start is committed",
    "connect.before": "no connection to the provider yet",
}
WIRE: Final = {
    "guard.passed": "the last guard has said yes, no byte is sent",
    "request.first_byte": "one byte of the request is sent",
    "request.half": "half the request is sent",
    "request.whole": "the whole request is sent: the provider acts now",
    "answer.arrived": "the provider has acted and answered, not a byte is read",
    "answer.head": "the answer's head is read, its body not",
    "answer.half": "half the answer's body is read",
}
SETTLE: Final = {
    "answer.read": "the answer is read whole, not journaled",
    "journal.written": "the answer is written to the journal, not synced",
    "journal.synced": "the answer is on the platter, not parsed",
    "settle.before": "decided, and nothing written to the database",
    "settle.updated": "the token set is in the row, not committed",
    "settle.commit_sent": "COMMIT of the token set is sent, its answer unread",
    "settle.committed": "the token set is committed, the journal has no mark",
    "mark.written": "the journal has its mark",
    "ack.before": "the task has ended, the broker does not know",
    "ack.after": "the message is acknowledged",
    "confirm.before": "about to use a new access token, so that its predecessor dies",
    "confirm.used": "the new access token was used, which is not noted",
}
DRAIN: Final = {
    "drain.before": "about to settle what another's journal holds",
    "drain.commit_sent": "COMMIT of what was replayed is sent, its answer unread",
    "drain.replayed": "replayed and committed, that journal has no mark",
    "drain.recorded": "the register says drained, the journal does not",
    "shred.before": "about to shred an old journal",
    "shred.between": "a segment's key is shredded, its records are there",
    "shred.after": "an old journal is gone",
}
REVOKE: Final = {
    "revoke.begun": "a revocation was started",
    "revoke.freshen": "about to refresh a pair whose access token has expired",
    "revoke.present": "about to use the access tokens, so that predecessors die",
    "revoke.branch": "about to revoke one pair",
    "revoke.revoked": "the provider has revoked the pair, nobody has looked",
    "revoke.looked": "the pair is seen to be dead",
    "revoke.end_noted": "the end is noted in the journal, not in the database",
    "revoke.updated": "the end is in the database, not committed",
    "revoke.commit_sent": "COMMIT of the end is sent, its answer unread",
    "revoke.ended": "the end is committed",
    "revoke.again": "about to queue the revocation again",
}
EXCHANGE: Final = {
    "exchange.before": "a code has come back, nothing was done",
    "exchange.taken": "the one use of the state is committed, the code is not sent",
    "exchange.answered": "the provider has exchanged the code, the answer is not journaled",
    "exchange.kept": "the answer is on the platter, there is no row",
    "exchange.updated": "the row is made, not committed",
    "exchange.commit_sent": "COMMIT of the row is sent, its answer unread",
    "exchange.committed": "the row is committed, the journal has no mark",
}


def _points() -> dict[str, Point]:
    groups = (
        (BEAT, Process.BEAT, _ANY),
        (OPEN, Process.WORKER, (Act.KILL, Act.FREEZE)),  # without a database no worker starts
        (START, Process.WORKER, _ANY),
        (WIRE, Process.WORKER, _WIRE),
        (SETTLE, Process.WORKER, _ANY),
        (DRAIN, Process.WORKER, _ANY),
        (REVOKE, Process.WORKER, _ANY),
        (EXCHANGE, Process.EXCHANGE, _ANY),
    )
    return {name: Point(name, process, step, acts) for steps, process, acts in groups for name, step in steps.items()}


POINTS: Final = _points()
# A journal is drained only if somebody died with an answer in it: so one is killed there first.
NEEDS_A_FULL_JOURNAL: Final = frozenset(name for name in DRAIN if name.startswith("drain."))
FULL_JOURNAL: Final = ("journal.synced", Act.KILL)
