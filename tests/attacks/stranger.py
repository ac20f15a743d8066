"""A stranger in the same database: an open transaction that holds whatever its statements have locked."""

from types import TracebackType
from typing import Any, Self

import psycopg

from tests.acceptance.installation import Installation


class Stranger:
    """A session beside ours, inside one transaction from the beginning to the end of the context."""

    def __init__(self, installation: Installation, name: str = "shop") -> None:
        self._connection = psycopg.connect(installation.database_url, application_name=name)
        self.pid = self._connection.info.backend_pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def says(self, statement: str, *parameters: Any) -> list[Any]:
        """Carry out one statement and stay in the transaction."""
        cursor = self._connection.execute(statement.encode(), parameters)
        return cursor.fetchall() if cursor.description else []

    def still_holds(self) -> bool:
        """Whether the transaction is open still, and what it locked locked."""
        return self._connection.info.transaction_status is psycopg.pq.TransactionStatus.INTRANS and bool(
            self.says("select 1")
        )

    def gives_up(self) -> None:
        """Roll back: nothing was asked for after all, and nothing is locked any longer."""
        self._connection.rollback()
