"""OAuth errors: what can go wrong before a request is made; what a provider answers is a value, never an exception.

OAuthError
├── UnknownProvider      no provider file has that name
├── ProviderFileError    a provider file, or a client's override of it, cannot be used
├── MissingSetting       this request needs a URL or a redirect URI that nobody has set
├── ProbeNotAllowed      the provider file does not say that a probe is harmless
├── LabelNotChosen       a header needs one value of a label: the grant has several, or not the one chosen
├── ClientKeyError       a private key, or its certificate, cannot be used
├── DiscoveryError       what a server says about itself cannot be had, or cannot be used
├── LabelNeeded          a revocation needs one value of a label: the grant has none, or several
└── AddressError         an address cannot be filled with a grant's labels, or leads where nothing may be sent
    ├── LabelMissing     it needs a label that the grant does not have
    ├── LabelAmbiguous   it needs one value of a label, and the grant has several
    ├── LabelUnfit       a label's value cannot stand where the address wants it
    └── HostNotAllowed   it leads to a host that the provider file does not name
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

    code = "setting_missing"  # what the last error of a grant says

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


class LabelNeeded(OAuthError):
    """A revocation says by a label whose grant ends, and the grant has no value of it, or several."""

    def __init__(self, label: str, member: str, count: int) -> None:
        self.label = label
        held = "several" if count else "none"
        super().__init__(
            f"the revocation's {member} needs one value of the label {label!r} and the grant has {held}: "
            f"give it one with `evergrant grants set REF --label {label}=VALUE`"
        )


class AddressError(OAuthError):
    """An address cannot be filled with a grant's labels, or leads where nothing may be sent: nothing is."""

    code = "address"  # what the last error of a grant says, too

    @property
    def fault(self) -> str:
        """The message without any value, for places that repeat none."""
        return str(self)


class LabelMissing(AddressError):
    """An address needs a label that the grant does not have."""

    error = code = "label_missing"

    def __init__(self, field: str, label: str) -> None:
        super().__init__(f"address {field} needs the label {label!r}, which this grant does not have")
        self.field = field
        self.label = label
        self.next = f"give it one with --label {label}=VALUE"


class LabelAmbiguous(AddressError):
    """An address needs one value of a label, and the grant has several."""

    error = code = "label_ambiguous"

    def __init__(self, field: str, label: str) -> None:
        super().__init__(f"address {field} needs one value of the label {label!r}, and this grant has several")
        self.label = label
        self.next = f"leave it one with --label {label}=VALUE"


class LabelUnfit(AddressError):
    """A label's value cannot stand where an address wants it; the message says why."""

    error = code = "label_unfit"

    def __init__(self, field: str, label: str, why: str) -> None:
        super().__init__(f"address {field} cannot be made with the label {label!r}: {why}")
        self.label = label
        self.next = f"correct it with --label {label}=VALUE"


class HostNotAllowed(AddressError):
    """An address leads to a host that the provider file does not name."""

    error = code = "host_not_allowed"

    def __init__(self, field: str, host: str, hosts: Iterable[str]) -> None:
        super().__init__(
            f"address {field} would lead to {host!r}, which is none of the provider's hosts: {', '.join(hosts)}"
        )
        self.field = field
        self.next = "correct the grant's labels, or hosts in the provider file (clients set --host)"

    @property
    def fault(self) -> str:
        """Without the host, which a label may have named."""
        return f"address {self.field} would lead to none of the provider's hosts"
