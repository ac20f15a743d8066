"""Grant: one consent of one user, the row that is kept alive."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class Grant(Base):
    """One consent: the token set it holds, its generation, and when work on it is due.

    The clause of each column is its line in docs/reference/states.md.
    """

    __tablename__ = "grants"
    __table_args__ = (
        Index(
            "uq_grants_client_id_ref",
            "client_id",
            "ref",
            unique=True,
            postgresql_where=text("status not in ('revoking', 'revoked')"),
        ),
        Index("ix_grants_due", "client_id", "due_at", postgresql_where=text("status = 'active'")),
        Index(
            "ix_grants_under_way",
            "client_id",
            "due_at",
            postgresql_where=text("claimed_at is not null or started_at is not null"),
        ),
        Index(
            "ix_grants_failing",
            "client_id",
            "due_at",
            postgresql_where=text("status = 'active' and failures > 0"),
        ),
        Index(
            "ix_grants_suspects",
            "client_id",
            postgresql_where=text("status = 'active' and suspect_at is not null"),
        ),
        Index(
            "ix_grants_in_doubt",
            "client_id",
            "due_at",
            postgresql_where=text("status = 'active' and doubt_since is not null"),
        ),
        Index(
            "ix_grants_doubt_journals",
            "doubt_journals",
            postgresql_using="gin",
            postgresql_where=text("doubt_since is not null"),
        ),
        Index(None, "ref"),
        Index(None, "refresh_fingerprint"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, doc="chosen before the row is made, and bound into its seals")
    client_id: Mapped[int] = mapped_column(ForeignKey("evergrant.clients.id"), doc="the client that it was given to")
    ref: Mapped[str] = mapped_column(doc="the name that applications know it by; one living row a client and ref")
    status: Mapped[str] = mapped_column(doc="where it stands: the only column that says so")
    reason: Mapped[str | None] = mapped_column(
        doc="why it needs consent, or is paused where that was not simply an operator's wish; else null"
    )
    generation: Mapped[int] = mapped_column(
        doc="the number of the token set held: +1 with each that is stored; 0 while there is none"
    )
    labels: Mapped[dict[str, list[str]]] = mapped_column(
        doc="what applications sort it by; URLs of a provider may name them"
    )
    keep: Mapped[str | None] = mapped_column(doc="`warm` or `on-demand`; null: as its client says")
    scope: Mapped[str | None] = mapped_column(doc="what the provider said last that it covers")
    sealed_refresh_token: Mapped[bytes | None] = mapped_column(doc="of the token set held; null: shredded")
    sealed_access_token: Mapped[bytes | None] = mapped_column(
        doc="of the token set held; null: shredded, or an import that brought none"
    )
    refresh_fingerprint: Mapped[bytes | None] = mapped_column(
        doc="keyed, of the refresh token: recognises a pair without opening a seal, also when it is shredded"
    )
    access_expires_at: Mapped[datetime | None] = mapped_column(
        doc="when the access token held ends, by the start of the request that brought it"
    )
    older_access_ends_at: Mapped[datetime | None] = mapped_column(
        doc="the last end of the access tokens that were replaced: until then a revocation may miss one"
    )
    refresh_expires_at: Mapped[datetime | None] = mapped_column(
        doc="the end of the refresh token held, as the provider or its file says; null: nobody does"
    )
    consent_expires_at: Mapped[datetime | None] = mapped_column(
        doc="from then on only its user can renew it, however often it is refreshed; null: nobody says so"
    )
    life: Mapped[timedelta | None] = mapped_column(doc="how long the access token held lives from its beginning")
    due_at: Mapped[datetime] = mapped_column(
        doc="the instant from which it may be claimed; under a lease, the lease's end"
    )
    claim_no: Mapped[int] = mapped_column(
        doc="+1 with whatever makes older claims void; who shows another number is stale"
    )
    claimed_at: Mapped[datetime | None] = mapped_column(
        doc="set: claimed and not started yet, or as if, while another attempt is under way"
    )
    started_at: Mapped[datetime | None] = mapped_column(doc="set: an attempt began, and nobody has ended it")
    journal_id: Mapped[int | None] = mapped_column(doc="the journal that would hold the answer of that attempt")
    doubt_since: Mapped[datetime | None] = mapped_column(
        doc="start of the attempt on this generation with whose unknown outcome the doubt began; null: there is none"
    )
    doubt_journals: Mapped[list[int]] = mapped_column(
        doc="the journals that may hold the answers of such attempts, and are not read to their end"
    )
    doubt_repeated: Mapped[bool] = mapped_column(doc="an attempt after the one that doubt_since names has ended")
    ever_in_doubt: Mapped[bool] = mapped_column(
        doc="since it was connected: a lost answer may hold a living pair that nobody knows"
    )
    predecessors_dropped: Mapped[bool] = mapped_column(
        doc="a pair that may live fell out of the former tokens, of which a number is kept"
    )
    suspect_at: Mapped[datetime | None] = mapped_column(
        doc="when its refresh token was refused first; null: it was not, since the last success"
    )
    failures: Mapped[int] = mapped_column(
        Integer, doc="attempts that failed since the last success; refused tokens are none"
    )
    attempts: Mapped[int] = mapped_column(
        Integer, doc="that ended without a token set since the last one, whatever the reason"
    )
    failing_since: Mapped[datetime | None] = mapped_column(doc="the first of those failures")
    failing_for: Mapped[timedelta] = mapped_column(
        doc="how much of that time counts: only that in which other grants of the client succeeded"
    )
    refusals: Mapped[int] = mapped_column(Integer, doc="in one word that nobody understands, since the last success")
    refused_since: Mapped[datetime | None] = mapped_column(
        doc="the first of them; before refreshed_at: of no account any more"
    )
    refused_code: Mapped[str | None] = mapped_column(doc="the word")
    last_error_code: Mapped[str | None] = mapped_column(doc="how the last attempt that brought no token set ended")
    last_error_http_status: Mapped[int | None] = mapped_column(
        Integer, doc="the HTTP status of its answer, if there was one"
    )
    last_error_at: Mapped[datetime | None] = mapped_column(doc="when it ended")
    last_error_rule: Mapped[str | None] = mapped_column(
        doc="which `[[answers]]` of the provider file read it, if one did"
    )
    last_error_shape: Mapped[str | None] = mapped_column(
        doc="of a word of the provider's that may not be told, its length and a keyed hash; of a certificate, why it"
        " was refused: ended, other_name, unknown_issuer"
    )
    spent_refused_at: Mapped[datetime | None] = mapped_column(
        doc="when the refresh token that its pair came of was refused, though it should have lived: "
        "if the pair works, its provider has changed"
    )
    asked_at: Mapped[datetime | None] = mapped_column(doc="the last answer or silence of the provider about it")
    rejected_at: Mapped[datetime | None] = mapped_column(
        doc="an application was refused with the access token held: that is as good as its end"
    )
    refreshed_at: Mapped[datetime | None] = mapped_column(
        doc="start of the request that was answered with the token set held; null: it was imported"
    )
    refreshed_credentials_no: Mapped[int | None] = mapped_column(
        Integer, doc="the client's credentials under which that succeeded"
    )
    created_at: Mapped[datetime] = mapped_column(doc="when its user consented, or it was imported")
