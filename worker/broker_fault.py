"""What is wrong with a broker: where it is, whether it hangs, and whether it takes writes, for beat and `doctor`."""

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from redis.exceptions import NoPermissionError, ResponseError
from redis.exceptions import TimeoutError as Silent

from tasks.policy.explanation.faults import BROKER, REFUSES

if TYPE_CHECKING:
    from settings import Settings

NOBODYS_LIST: Final = "evergrant:nobody"
LONGEST_REASON: Final = 200


def fault(settings: "Settings", error: Exception) -> str:
    """Say it in the words that tasks/policy/explanation/faults.py has a remedy for; no password is among them."""
    url = settings.broker_url.get_secret_value() if settings.broker_url else ""
    where = place(url)
    if (refusal := refusal_of(error)) is not None:
        return f"{REFUSES} what is written to it: {_reason(refusal)} ({where})"
    if not _hangs(error):
        return f"{BROKER} cannot be reached ({where})"
    pid = _pid_under_up(settings, url)
    whose = "" if pid is None else f", process {pid} of `evergrant up`"
    return f"{BROKER} hangs: it takes connections and does not answer ({where}{whose})"


def refusal_of(error: BaseException | None) -> BaseException | None:
    """What it has answered where it answers and refuses: its disk or its memory is full, it is a replica."""
    if error is None or isinstance(error, ResponseError):
        return error
    return refusal_of(error.__cause__)


def try_to_write(client: Any) -> None:
    """Have the broker refuse a write if it refuses any: one that changes nothing, for there is no such list.

    A user that may write into our queues only is refused for that, which says nothing of the others.

    Raises:
        ResponseError: it takes none.

    """
    try:
        client.execute_command("LPUSHX", NOBODYS_LIST, "")
    except NoPermissionError:
        return


def _reason(refusal: BaseException) -> str:
    """What it says itself; of several commands sent together redis-py tells which, with kombu's control characters."""
    said = str(refusal).rpartition("caused error: ")[2].rstrip(".")
    return "".join(each for each in said if each.isprintable())[:LONGEST_REASON]


def place(url: str) -> str:
    """Where a broker is: its socket's path, or host and port."""
    parts = urlsplit(url)
    if parts.scheme == "redis+socket":
        return parts.path
    return f"{parts.hostname or 'an unknown place'}:{parts.port or 6379}"


def _hangs(error: BaseException) -> bool:
    """Whether it was waited for in vain; kombu tells with an error of its own, which has redis' as its cause."""
    return isinstance(error, Silent | TimeoutError) or (error.__cause__ is not None and _hangs(error.__cause__))


def _pid_under_up(settings: "Settings", url: str) -> int | None:
    """Its process, where it is the one that `evergrant up` runs in this home and would start again."""
    from worker.embedded import state
    from worker.embedded.errors import EmbeddedError
    from worker.embedded.home import Home

    try:
        found = state.read(Home(settings.home.expanduser()))
    except (EmbeddedError, OSError):  # the home is another user's: it is told without
        return None
    if found is None or found.broker_url != url or "valkey" not in found.processes:
        return None
    return found.processes["valkey"].pid
