"""What can go wrong between the authorize URL and a stored grant; each class says what to do next.

ConnectError
├── NoCallback        this is no callback URL
├── StateUnknown      the state was not made here for this client, or is too old
├── StateForAnother   the state was made for another ref
├── StateUsed         the callback was used already
├── ClientPaused      an operator stopped everything that is sent for the client
├── DatabaseUnfit     the database is a copy, or has lost commits
├── StillRevoking     the old consent must have ended first
├── Denied            the user or the provider said no (RFC 6749 §4.1.2.1)
├── ExchangeRefused   the token endpoint said no (RFC 6749 §5.2)
├── ExchangeNotSent   the provider could not be reached; the same callback may be tried again
└── ExchangeUnclear   the provider may have taken the code, and no token set came
"""


class ConnectError(Exception):
    """A user could not be connected."""


class NoCallback(ConnectError):
    """It holds no state, or neither a code nor an error: give the whole URL that the user came back to."""


class StateUnknown(ConnectError):
    """The state was not made here for this client, or is older than 15 minutes: begin again."""


class StateForAnother(ConnectError):
    """The state was made for another ref: a forwarded link would store one user's grant under another's name."""

    def __init__(self, ref: str) -> None:
        super().__init__(ref)
        self.ref = ref


class StateUsed(ConnectError):
    """The callback was used already, and a code is exchanged once: begin again."""


class ClientPaused(ConnectError):
    """An operator stopped everything that is sent for this client: resume it first."""


class DatabaseUnfit(ConnectError):
    """This database is a copy that nobody adopted, or has lost commits: nothing is sent from it."""

    def __init__(self, state: str) -> None:
        super().__init__(state)
        self.code = state


class StillRevoking(ConnectError):
    """A revocation of this ref has not ended, and it would kill a new consent, too: wait for it."""

    def __init__(self, revocation_id: int) -> None:
        super().__init__(str(revocation_id))
        self.revocation_id = revocation_id


class Denied(ConnectError):
    """The user, or the provider on the user's behalf, said no."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(f"{code}: {description}" if description else code)
        self.code = code


class ExchangeRefused(ConnectError):
    """The provider refused the code or our credentials."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class ExchangeNotSent(ConnectError):
    """The provider could not be reached or asked to wait; the same callback may be tried again."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class ExchangeUnclear(ConnectError):
    """The provider may have taken the code, and no token set came: begin again."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code
