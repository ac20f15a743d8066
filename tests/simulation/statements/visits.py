"""The twin of models/visit.py: nobody connects in the simulation, so nothing is ever offered."""

from models import visit
from tests.simulation.statements.registry import Parameters, carries_out
from tests.simulation.tables import Row, Tables


@carries_out(visit.OFFER)
def offer_visits(_: Tables, __: Parameters) -> list[Row]:
    return []
