"""What can go wrong between the authorize URL and a stored grant; each class says what to do next.

ConnectError
├── NoUser            the client's grants have no user who could be sent anywhere
├── NoCallback        this is no callback URL
├── RefTooLong        there is no room for the name of the second grant
├── RedirectUnfit     it carries a value that cannot be kept
├── StateUnknown      the state was not made here for this client, or is too old
├── StateForAnother   the state was made for another ref
├── AnotherIssuer     another server than the client's sent this callback (RFC 9207)
├── StateUsed         the callback was used already
├── ClientPaused      an operator stopped everything that is sent for the client
├── DatabaseUnfit     the database is a copy, or has lost commits
├── StillRevoking     the old consent must have ended first
├── Denied            the user or the provider said no (RFC 6749 §4.1.2.1)
├── ExchangeRefused   the token endpoint said no (RFC 6749 §5.2)
│   ├── CodeRefused   the code was used, or is too old, as the provider's file reads it
│   ├── UserRefused   the user, or an administrator there, must do something first
│   └── ScopeRefused  the scopes that were asked for
├── ExchangeNotSent   the provider could not be reached; the same callback may be tried again
├── ExchangeUnclear   the provider may have taken the code, and no token set came
├── CredentialsHeld     nothing may be sent for the client now
├── CredentialsRefused  the token endpoint said no to the client's own credentials (RFC 6749 §4.4)
└── CredentialsUnheard  it said nothing to them that can be used
"""

from models.errors import Told


class ConnectError(Told):
    """A user could not be connected."""


class NoUser(ConnectError):
    """Grants of {client} have no user who could be sent anywhere: its own credentials are all that they need."""

    error = "no_user"
    next = "run `evergrant grants connect {ref} --client {client}`, which asks at once"

    def __init__(self, client: str, ref: str) -> None:
        super().__init__(client=client, ref=ref)


class NoCallback(ConnectError):
    """This is no callback URL: it holds no state, or neither a code nor an error."""

    error = "no_callback"
    next = "give the whole URL that the user came back to"


class RefTooLong(ConnectError):
    """One consent becomes two grants at this provider, and {ref} is longer than 255 characters."""

    error = "ref_too_long"
    next = "choose a shorter ref"

    def __init__(self, ref: str) -> None:
        super().__init__(ref=ref)


class RedirectUnfit(ConnectError):
    """The redirect carries a value for the label {label} that cannot be kept ({why}).

    Nothing was sent.
    """

    error = "redirect_unfit"
    next = "look at keep_from_redirect and hosts in the provider file, then begin again"

    def __init__(self, label: str, why: str) -> None:
        super().__init__(label=label, why=why)
        self.code = why


class StateUnknown(ConnectError):
    """The state in this callback was not made here for this client, or is older than 15 minutes."""

    error = "state_unknown"
    next = "begin again with `evergrant grants connect` or `authorize-url`"


class StateForAnother(ConnectError):
    """The state in this callback was made for another ref, {ref}.

    A forwarded link would store one user's grant under another's name.
    """

    error = "state_for_another"
    next = "name that ref, or begin again for this one"

    def __init__(self, ref: str) -> None:
        super().__init__(ref=ref)
        self.ref = ref


class AnotherIssuer(ConnectError):
    """This callback {told}, and the client's issuer is {issuer} (RFC 9207).

    Another server may have sent the user here with a code of somebody else's. Nothing was sent.
    """

    error = "another_issuer"
    next = "begin again; if the provider has changed, read its document anew with `evergrant clients set --issuer`"

    def __init__(self, named: str | None, issuer: str) -> None:
        super().__init__(told="names no issuer" if named is None else f"comes from {named!r}", issuer=issuer)


class StateUsed(ConnectError):
    """This callback was used already, and a code is exchanged once."""

    error = "state_used"
    next = "begin again with `evergrant grants connect` or `authorize-url`"


class ClientPaused(ConnectError):
    """This client is paused by an operator, so nothing is sent for it."""

    error = "client_paused"
    next = "resume it with `evergrant clients resume`, then use the same callback URL"


class DatabaseUnfit(ConnectError):
    """Nothing is sent from this database, because it is {state}: a copy, or one that has lost commits."""

    error = "database_unfit"
    next = "see `evergrant db check`, then use the same callback URL"

    def __init__(self, state: str) -> None:
        super().__init__(state=state)
        self.code = state


class StillRevoking(ConnectError):
    """Revocation {revocation_id} of this ref has not ended, and it would kill a new consent, too."""

    error = "still_revoking"
    next = "wait for it: `evergrant revocations show {revocation_id}`"

    def __init__(self, revocation_id: int) -> None:
        super().__init__(revocation_id=revocation_id)
        self.revocation_id = revocation_id


class Denied(ConnectError):
    """The user or the provider said no ({reason})."""

    error = "denied"
    next = "ask the user, then begin again with `evergrant grants connect`"

    def __init__(self, code: str, description: str) -> None:
        super().__init__(reason=f"{code}: {description}" if description else code)
        self.code = code


class ExchangeRefused(ConnectError):
    """The provider refused to exchange the code ({code})."""

    error = "exchange_refused"
    next = "check the client's id, secret and redirect URI with `evergrant clients show`, then begin again"

    def __init__(self, code: str) -> None:
        super().__init__(code=code)
        self.code = code


class CodeRefused(ExchangeRefused):
    """The provider takes this code no longer ({code}): it was used, or is too old."""

    next = "begin again with `evergrant grants connect` or `authorize-url`, and come back within a minute or so"


class UserRefused(ExchangeRefused):
    """The provider wants something of the user, or of an administrator there, first ({code})."""

    next = "ask the user to see to it there, then begin again with `evergrant grants connect`"


class ScopeRefused(ExchangeRefused):
    """The provider refuses the scopes that were asked for ({code})."""

    next = "see which the client may have there, set them with `evergrant clients set`, then begin again"


class ExchangeNotSent(ConnectError):
    """The provider could not be asked ({code}).

    The same callback may be tried again.
    """

    error = "exchange_not_sent"
    next = "run `evergrant grants exchange` with the same callback URL, or begin again"

    def __init__(self, code: str) -> None:
        super().__init__(code=code)
        self.code = code


class CredentialsReplaced(ExchangeNotSent):
    """The provider refused a secret of the client's that is not in force any more ({code}).

    It did not look at the code, which is as good as before.
    """


class ExchangeUnclear(ConnectError):
    """The provider may have taken the code, and no token set came ({code})."""

    error = "exchange_unclear"
    next = "begin again with `evergrant grants connect` or `authorize-url`"

    def __init__(self, code: str) -> None:
        super().__init__(code=code)
        self.code = code


class CredentialsHeld(ConnectError):
    """Nothing may be sent for this client now ({code})."""

    error = "credentials_held"
    next = "see `evergrant clients show` and `evergrant db check`, then connect again"

    def __init__(self, code: str) -> None:
        super().__init__(code=code)
        self.code = code


class CredentialsRefused(ConnectError):
    """The provider refuses this client's own credentials ({code})."""

    error = "credentials_refused"
    next = "check the client's id, secret and scopes with `evergrant clients show`, then connect again"

    def __init__(self, code: str) -> None:
        super().__init__(code=code)
        self.code = code


class CredentialsUnheard(ConnectError):
    """The provider gave no token set, and no reason that can be used ({code})."""

    error = "credentials_unheard"
    next = "connect again later"

    def __init__(self, code: str) -> None:
        super().__init__(code=code)
        self.code = code
