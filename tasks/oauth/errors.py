"""OAuth errors: what can go wrong before a request is made; what a provider answers is a value, never an exception.

OAuthError
├── UnknownProvider      no provider file has that name
├── ProviderFileError    a provider file, or a client's override of it, cannot be used
├── MissingSetting       this request needs a URL or a redirect URI that nobody has set
├── ProbeNotAllowed      the provider file does not say that a probe is harmless
├── LabelNotChosen       a header needs one value of a label: the grant has several, or not the one chosen
├── ClientKeyError       a private key, or its certificate, cannot be used
└── DiscoveryError       what a server says about itself cannot be had, or cannot be used
"""

from collections.abc import Iterable


class OAuthError(Exception):
    """A request cannot be made as things are set; the message says what to change."""

    error = "provider"  # the code for programs, as models/errors.py has it
    next = "correct that and run it again"


class UnknownProvider(OAuthError):
    """No provider file has that name; the message lists those that exist."""

    error = "unknown_provider"
    next = "see `evergrant providers list --all`"

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"there is no provider {name!r}; known are: {', '.join(known)}")


class ProviderFileError(OAuthError):
    """A provider file, or a client's override of it, cannot be used; every reason is named."""

    def __init__(self, where: str, reasons: Iterable[str]) -> None:
        self.reasons = list(reasons)
        super().__init__(f"{where}: {'; '.join(self.reasons)}")


class MissingSetting(OAuthError):
    """This request needs a setting that neither the provider file nor the client has."""

    def __init__(self, provider: str, setting: str) -> None:
        self.setting = setting
        option = setting.replace("_", "-")
        super().__init__(
            f"provider {provider!r} has no {setting}: write it into the provider file, "
            f"or set it for this client with --{option}"
        )


class ProbeNotAllowed(OAuthError):
    """The provider file does not say that a refresh with a never-granted scope consumes nothing."""

    def __init__(self, provider: str) -> None:
        super().__init__(
            f"provider {provider!r} does not allow probes: set `probe = true` in its file only where "
            "a refresh with an unknown scope is known to consume nothing"
        )


class LabelNotChosen(OAuthError):
    """A label has several values and none was chosen, or one that the grant does not have; the message lists them."""

    def __init__(self, label: str, header: str, values: Iterable[str]) -> None:
        self.label = label
        self.values = list(values)
        choice = f"choose among: {', '.join(self.values)}" if self.values else "the grant has none"
        super().__init__(f"header {header} needs one value of the label {label!r}; {choice}")


class ClientKeyError(OAuthError):
    """A private key, or its certificate, cannot be used; the message says what it is and what is needed."""

    error = "private_key"
    next = "name a file with the right key; `evergrant clients generate-key` makes one"


class DiscoveryError(OAuthError):
    """What a server says about itself (RFC 8414) cannot be had, or cannot be used."""

    error = "discovery"
    next = "check --issuer, or say each address with its own option"
