"""The same installations as in tests/acceptance."""

from tests.acceptance.conftest import installation, one_machine, swift

__all__ = ["installation", "one_machine", "swift"]
