"""Registrations: which provider files are relied on."""

import os
import time
from pathlib import Path

import pytest

from settings import Settings
from tasks.oauth.errors import ProviderFileError, UnknownProvider
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


def test_a_provider_file_is_read_anew_once_it_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To read one costs a millisecond, so it is remembered: but as it stands there now, however soon it was changed."""
    settings = Settings(providers=tmp_path, home=tmp_path)
    file = tmp_path / "acme.toml"

    def written(title: str) -> str | None:
        file.write_text(f'title = "{title}"\ntoken_url = "https://acme.example/token"\n')
        os.utime(file, (1, 1))  # as a copy, or an image, has it
        return resolve("acme", {}, settings).title

    assert written("Acme") == "Acme"
    assert resolve("acme", {}, settings) is not resolve("acme", {}, settings)
    later = time.time() + 60
    monkeypatch.setattr("time.time", lambda: later)
    assert resolve("acme", {}, settings) is resolve("acme", {}, settings)
    assert resolve("acme", {"title": "Ours"}, settings).title == "Ours"
    assert resolve("acme", {}, settings).title == "Acme"
    assert [written("Acmf"), written("Acmg")] == ["Acmf", "Acmg"]
    file.unlink()
    with pytest.raises(UnknownProvider):
        resolve("acme", {}, settings)
