"""What a command that changes something notes in the audit: that it begins, what it tells, and how it ends.

No command calls this but those that hand out tokens: `Command` begins and ends an entry around each that does not say
`changes=False`, and `output.done` notes what is told.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from worker.cli.failures import ExitCode, Failure

if TYPE_CHECKING:
    from models.sealing.vault import Vault
    from worker.audit.trail import Trail

# Of what is printed: everything else may be long, or a secret.
TOLD = (
    *("client", "ref", "generation", "id", "status", "state", "how", "ring", "revocation", "erased", "redriven"),
    *("discarded", "asked", "handed_over", "left", "sealed", "imported", "replaced", "skipped", "bad", "dry_run"),
    *("finding", "revision", "removed", "applied", "expires_at"),
)


class Entry:
    """One command's lines."""

    def __init__(self, trail: "Trail", context: click.Context, *, who: str) -> None:
        from worker.audit import trail as audit

        self._trail = trail
        self._group, what = context.command_path.split()[1], " ".join(context.command_path.split()[1:])
        self._common = {
            "by": "cli",
            "what": what,
            "request": audit.number(),
            "who": who,
            "peer": audit.of_this_process(),
        }
        self._told = False

    def begin(self, parameters: Mapping[str, Any], options: list[str]) -> None:
        """Note what was typed: the names of what is meant, and of the options the names alone.

        Raises:
            Failure: it cannot be noted, so nothing is done.

        """
        from worker.audit.trail import BEGUN, AuditUnwritable

        members = self._named(parameters) | {"options": options or None}
        try:
            self._trail.write(self._common | members, outcome=BEGUN)
        except AuditUnwritable as error:
            raise _unwritable(error, "Nothing was done, for", "then run it again") from None

    def about(self, refs: list[str]) -> None:
        """Note refs that were read from elsewhere."""
        self.begin({"refs": refs}, [])

    def tell(self, members: Mapping[str, Any]) -> None:
        """Note what is about to be printed.

        Raises:
            Failure: it cannot be noted.

        """
        self._write({**self._common, **members}, "ok")
        self._told = True

    def end(self, outcome: str) -> None:
        """Note how it ended, unless it went well and that was told already."""
        if outcome != "ok" or not self._told:
            self._write(self._common, outcome)

    def record(self, record: Mapping[str, Any]) -> None:
        """Note of a record that is printed, as JSON has it, what may be told."""
        members = {name: record[name] for name in TOLD if record.get(name) is not None}
        members = {name: len(value) if isinstance(value, list) else value for name, value in members.items()}
        if isinstance(record.get("may"), list):
            members["may"] = ",".join(record["may"])
        self.tell(self._subject(record.get("name")) | members)

    def _named(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """What was typed, as far as it is known here: a secret may have been typed in its place."""
        typed = {
            "refs": _listed(parameters.get("refs") or parameters.get("ref")),
            "client": _listed(parameters.get("client") or parameters.get("clients")),
            **{member: [str(name)] for member, name in self._subject(parameters.get("name")).items()},
        }
        known = _known([each for texts in typed.values() for each in texts])
        told = {name: [_recognized(each, known) for each in texts] for name, texts in typed.items() if texts}
        ids = _listed(parameters.get("ids") or parameters.get("id"))
        return {name: texts if name == "refs" else ",".join(texts) for name, texts in told.items()} | (
            {"ids": [each if each.isdecimal() else _recognized(each, set()) for each in ids]} if ids else {}
        )

    def _subject(self, name: object) -> dict[str, Any]:
        """What the `name` of a command or of a record names."""
        member = {"apps": "application", "clients": "client"}.get(self._group)
        return {member: name} if member and name is not None else {}

    def _write(self, members: Mapping[str, Any], outcome: str) -> None:
        from worker.audit.trail import AuditUnwritable

        try:
            self._trail.write(members, outcome=outcome)
        except AuditUnwritable as error:
            raise _unwritable(
                error, "What came of it is not shown, for", "and look what was done before you run it again"
            ) from None


_entries: list[Entry] = []


@contextmanager
def noted(context: click.Context) -> Iterator[None]:
    """Note that a command begins, and how it ends.

    Raises:
        Failure: that it begins cannot be noted.

    """
    import settings
    from worker.audit.trail import AuditUnwritable, Trail

    found = settings.current()
    try:
        trail = Trail.of(found)
    except AuditUnwritable as error:
        raise _unwritable(error, "Nothing was done, for", "then run it again") from None
    if trail is None:
        yield
        return
    entry = Entry(trail, context, who=found.who)
    entry.begin(context.params, _options(context))
    _entries.append(entry)
    try:
        yield
    except BaseException as error:
        with suppress(Failure):  # that it began was noted; what it ended with is told
            entry.end(_outcome(error))
        raise
    else:
        entry.end("ok")
    finally:
        _entries.remove(entry)


def of_refs(refs: list[str]) -> None:
    """Note refs that a command has read from standard input."""
    for entry in _entries:
        entry.about(refs)


def of_record(record: Mapping[str, Any]) -> None:
    """Note a record that is about to be printed.

    Raises:
        Failure: it cannot be noted, so it is not printed.

    """
    for entry in _entries:
        entry.record(record)


def of_tokens(vault: "Vault", *, client: str, ref: str, generation: int | None, **tokens: str | None) -> None:
    """Note tokens that are about to be handed out, `access_token` and `refresh_token`: as keyed hashes.

    Raises:
        Failure: it cannot be noted, so nothing is handed out.

    """
    if not _entries:
        return
    from worker.audit.trail import hashed

    hashes = {
        name: hashed(vault, token, purpose=name.removesuffix("_token"))
        for name, token in tokens.items()
        if token is not None
    }
    for entry in _entries:
        entry.tell({"client": client, "ref": ref, "generation": generation, **hashes})


def _options(context: click.Context) -> list[str]:
    """The options that were given, by name."""
    return [
        each.opts[-1].lstrip("-")
        for each in context.command.params
        if isinstance(each, click.Option) and context.get_parameter_source(each.name) == ParameterSource.COMMANDLINE
    ]


def _outcome(error: BaseException) -> str:
    if isinstance(error, click.exceptions.Exit):
        return "ok" if error.exit_code == ExitCode.DONE else "failed"
    if isinstance(error, BrokenPipeError):
        return "broken_pipe"
    from worker.cli.translations import translate

    return translate(error).code


def _listed(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list | tuple) else [str(value)] if value else []


def _known(texts: list[str]) -> set[str]:
    """Which of them are names of ours; none where the database cannot say, which the command itself will tell."""
    if not texts:
        return set()
    try:
        from models.views import listing
        from worker.cli import session

        with session.reading() as connection:
            return listing.known(connection, texts)
    except Exception:  # noqa: BLE001
        return set()


def _recognized(text: str, known: set[str]) -> str:
    from worker.audit.trail import unknown

    return text if text in known or text == "-" else unknown(text)


def _unwritable(reason: Exception, told: str, next_step: str) -> Failure:
    return Failure(
        code="audit_unwritable",
        message=f"{told} the audit cannot be written ({reason})",
        next_step=f"see that EVERGRANT_AUDIT_FILE can be written, {next_step}",
        exit_code=ExitCode.TRY_AGAIN,
    )
