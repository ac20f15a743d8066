"""How web divides its connections to the database."""

import pytest

from worker.web.server import _shares


@pytest.mark.parametrize(("connections", "shares"), [(3, (1, 1, 1)), (5, (2, 1, 2)), (10, (4, 4, 2)), (1, (1, 1, 1))])
def test_nobody_waits_for_anothers_connection(connections: int, shares: tuple[int, int, int]) -> None:
    assert _shares(connections) == shares
    assert sum(shares) == max(3, connections)
