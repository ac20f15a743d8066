"""`grants erase`: what is asked, what is told, and that it is carried out."""

from typing import Any

import settings
from models.database import transaction
from tasks import erase
from tasks.runtime.runtime import Runtime
from tests.integration.cli.evergrant import Evergrant


def end(sql: Any, ref: str) -> None:
    """What a worker does at the end of a revocation."""
    sql("update evergrant.revocations set status = 'done', evidence = 'verified' where ref = :ref", ref=ref)
    sql(
        """update evergrant.grants set status = 'revoked', sealed_refresh_token = null, sealed_access_token = null
        where ref = :ref""",
        ref=ref,
    )


def erase_now() -> None:
    """What the chore does, in a worker's process."""
    runtime = Runtime.open(settings.current())
    with transaction() as connection:
        erase.erase(connection, runtime.journal)
    runtime.close()


def test_erasing_asks_first_and_then_queues_a_revocation(temple: Evergrant, sql: Any) -> None:
    temple.take_in("customer-42")
    assert temple("grants", "erase", "customer-42").code == 2
    assert sql("select id from evergrant.revocations") == []
    told = temple("grants", "erase", "customer-42", "--yes")
    assert (told.code, told.out) == (
        0,
        "customer-42 will be erased when it is dead; revocation 1 is queued.\n",
    )
    assert temple("grants", "erase", "customer-42", "--wait", "--timeout", "0.1s", "--yes").code == 75
    assert temple("grants", "erase", "nobody", "--yes").code == 4


def test_an_erased_ref_is_unknown_and_what_was_erased_is_told_by_the_ref_that_was_typed(
    temple: Evergrant, sql: Any
) -> None:
    temple.take_in("customer-42", "customer-43")
    assert temple("grants", "erase", "customer-42", "customer-43", "--yes").code == 0
    end(sql, "customer-42")
    erase_now()
    assert temple("grants", "show", "customer-42").code == 4
    assert temple("grants", "show", "customer-43").code == 0
    (shown,) = temple("revocations", "list", "--status", "done", "--json").lines
    assert shown["ref"].startswith("erased-")
    assert temple("grants", "erase", "customer-43", "--yes", "--json").json["erased"] is False


def test_waiting_for_an_erasure_that_is_given_up_is_for_a_human(temple: Evergrant, sql: Any) -> None:
    temple.take_in("customer-42")
    temple("grants", "erase", "customer-42", "--yes")
    sql("update evergrant.revocations set status = 'dead'")
    waited = temple("grants", "erase", "customer-42", "--wait", "--yes", "--json")
    assert (waited.code, waited.error) == (3, "dead_letter")
    assert waited.json["erased"] is False
