"""Registrations: which provider files are relied on."""

from pathlib import Path

import pytest

from settings import Settings
from tasks.oauth.errors import ProviderFileError
from tasks.runtime.registration import resolve


@pytest.mark.parametrize("place", ["acme.toml", "."])
def test_a_provider_file_that_others_may_write_is_refused(tmp_path: Path, place: str) -> None:
    """Whoever writes it says where refresh tokens are sent."""
    (tmp_path / "acme.toml").write_text('title = "Acme"\ntoken_url = "https://acme.example/token"\n')
    settings = Settings(providers=tmp_path, home=tmp_path)
    assert resolve("acme", {}, settings).title == "Acme"
    (tmp_path / place).chmod(0o757)

    with pytest.raises(ProviderFileError, match="is open to other users; run chmod o-w"):
        resolve("acme", {}, settings)
    assert resolve("generic", {}, settings).title
