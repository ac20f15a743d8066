"""What a person is told of the database and its rows: each class says what is wrong, what to do next, and a code.

Told
├── DatabaseNotConfigured   no database is known
├── NotUpgraded             the database lacks tables of this release
├── NewerDatabase           a newer release was here
├── ForeignEnvironment      it belongs to another environment than ours
├── NotTheOwner             only the owner of the schema can hand out rights to it
├── UnknownRef              no grant has one of these refs
├── AmbiguousRef            several clients have a grant of this ref
├── UnknownClient           there is no client of this name
├── ClientExists            there is one already
├── UnknownTicket           there is no ticket of this id
├── UnknownWebhook          there is no webhook of this id
├── WebhookExists           this URL is told already
├── WebhookPaused           nothing is sent to it
├── UnknownDelivery         there is no delivery of this id
├── UnknownApplication      there is no application of this name
└── ApplicationExists       there is one already

What is wrong with keys and sealed bytes is drawn in models/sealing/keys.py.
"""

from collections.abc import Sequence
from uuid import UUID


class Told(Exception):
    """Something cannot be done, and a person is told why and what to do.

    The first sentence of the docstring of each class below is its message; `next` says what to do, and `error` is for
    programs: lower case, never changed once released. Both texts may hold facts, `{ref}`, which the class is given.
    """

    error: str
    next: str

    def __init__(self, **facts: object) -> None:
        sentence = " ".join((type(self).__doc__ or "").split("\n\n")[0].split())
        super().__init__(sentence.removesuffix(".").format(**facts))
        self.next = type(self).next.format(**facts)


class DatabaseNotConfigured(Told):
    """No database is known."""

    error = "no_database"
    next = "start `evergrant up`, or set EVERGRANT_DATABASE_URL"


class NotUpgraded(Told):
    """The database lacks tables of this release."""

    error = "schema_behind"
    next = "run `evergrant db upgrade`"


class NewerDatabase(Told):
    """The database was upgraded by a newer release of Evergrant."""

    error = "database_newer"
    next = "install that release here, too"

    def __init__(self, revision: str) -> None:
        super().__init__()
        self.revision = revision


class ForeignEnvironment(Told):
    """This database is of the environment {here!r} and EVERGRANT_ENVIRONMENT says {ours!r}, so nothing is changed."""

    error = "foreign_environment"
    next = "export EVERGRANT_ENVIRONMENT={here}, or name the right database in EVERGRANT_DATABASE_URL"

    def __init__(self, here: str, ours: str) -> None:
        super().__init__(here=here, ours=ours)


class NotTheOwner(Told):
    """Only the owner of the schema `evergrant` can hand out rights to it."""

    error = "not_permitted"
    next = 'run it with the owner\'s EVERGRANT_DATABASE_URL, or `evergrant db roles | psql "$OWNER_DSN"`'


class UnknownRef(Told):
    """There is no grant {refs}."""

    error = "unknown_ref"
    next = "see `evergrant grants list`"

    def __init__(self, refs: Sequence[str]) -> None:
        super().__init__(refs=", ".join(map(repr, refs)))
        self.refs = list(refs)


class AmbiguousRef(Told):
    """The ref {ref!r} belongs to several clients: {clients}."""

    error = "ambiguous_ref"
    next = "add --client NAME"

    def __init__(self, ref: str, clients: Sequence[str]) -> None:
        super().__init__(ref=ref, clients=", ".join(clients))
        self.ref = ref
        self.clients = list(clients)


class UnknownClient(Told):
    """There is no client {name!r}{others}."""

    error = "unknown_client"
    next = "see `evergrant clients list`"

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(name=name, others=_others(known))
        self.name = name
        self.known = list(known)


class ClientExists(Told):
    """There is a client {name!r} already."""

    error = "client_exists"
    next = "choose another name, or change it with `evergrant clients set`"

    def __init__(self, name: str) -> None:
        super().__init__(name=name)


class UnknownTicket(Told):
    """There is no ticket {id}."""

    error = "unknown_ticket"
    next = "see `evergrant tickets list`"

    def __init__(self, ticket_id: UUID) -> None:
        super().__init__(id=ticket_id)


class UnknownWebhook(Told):
    """There is no webhook {id}."""

    error = "unknown_webhook"
    next = "see `evergrant webhooks list`"

    def __init__(self, webhook_id: int) -> None:
        super().__init__(id=webhook_id)


class WebhookExists(Told):
    """This URL is told already: it is webhook {id}."""

    error = "webhook_exists"
    next = "remove it first with `evergrant webhooks remove {id}`, or name another URL"

    def __init__(self, webhook_id: int) -> None:
        super().__init__(id=webhook_id)


class WebhookPaused(Told):
    """Webhook {id} is paused ({reason})."""

    error = "webhook_paused"
    next = "let it be told again with `evergrant webhooks resume {id}`"

    def __init__(self, webhook_id: int, reason: str) -> None:
        super().__init__(id=webhook_id, reason=reason)


class UnknownDelivery(Told):
    """There is no delivery {ids}."""

    error = "unknown_delivery"
    next = "see `evergrant webhooks deliveries`; what was delivered is forgotten after 7 days"

    def __init__(self, ids: Sequence[int]) -> None:
        super().__init__(ids=", ".join(map(str, ids)))


class UnknownApplication(Told):
    """There is no application {name!r}{others}."""

    error = "unknown_application"
    next = "see `evergrant apps list`"

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(name=name, others=_others(known))
        self.name = name
        self.known = list(known)


class ApplicationExists(Told):
    """There is an application {name!r} already."""

    error = "application_exists"
    next = "choose another name, or remove it first with `evergrant apps remove`"

    def __init__(self, name: str) -> None:
        super().__init__(name=name)


def _others(known: Sequence[str]) -> str:
    return f"; there are: {', '.join(known)}" if known else ""
