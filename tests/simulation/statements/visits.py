"""The twin of what tickets and visits ask: nobody connects by a ticket in the simulation."""

from models import connect_request, visit
from tests.simulation.statements.registry import Parameters, carries_out
from tests.simulation.tables import Row, Tables


@carries_out(visit.OFFER)
def offer_visits(_: Tables, __: Parameters) -> list[Row]:
    return []


@carries_out(connect_request.OTHER_ACCOUNT_ALLOWED)
def other_account_allowed(_: Tables, __: Parameters) -> list[Row]:
    return []


@carries_out(connect_request.IS_SOMEBODY_AWAY)
def is_somebody_away(_: Tables, __: Parameters) -> list[Row]:
    return [{"exists": False}]
