"""Fixtures: an installation of real processes, as the acceptance tests have it."""

from tests.acceptance.conftest import installation, one_machine, swift

__all__ = ["installation", "one_machine", "swift"]
