"""Chromium as a customer has it, driven by Playwright. The machine brings it: without one such tests are skipped."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

NAMES: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
# Sites that browsers keep apart as they do those of the internet.
SITES: Final = "--host-resolver-rules=MAP *.test 127.0.0.1"
# All of them are this machine, and what guards that from the internet's pages would stop an attacker in our place.
AS_OUTSIDE: Final = "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests"
PATIENCE_MS: Final = 60_000
BLOCKED: Final = 2


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run it without a window; a customer is a context of it."""
    found = program()
    if found is None:
        pytest.skip(f"needs Chromium, and none of {', '.join(NAMES)} is on the path: install Debian's `chromium`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=[SITES, AS_OUTSIDE])
        yield browser
        browser.close()


def program() -> str | None:
    """The Chromium of this machine."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def customer(browser: Browser, **more: Any) -> BrowserContext:
    """A browser of somebody's own, who takes our certificate for good; `more`: Playwright's options of a context."""
    context = browser.new_context(**{"ignore_https_errors": True, "locale": "en-GB", **more})
    context.set_default_timeout(PATIENCE_MS)
    return context


@contextmanager
def without_cookies(browser: Browser, folder: Path) -> Iterator[BrowserContext]:
    """A browser whose user has forbidden all cookies in its settings."""
    preferences = {"profile": {"default_content_setting_values": {"cookies": BLOCKED}}}
    (folder / "Default").mkdir(parents=True)
    (folder / "Default" / "Preferences").write_text(json.dumps(preferences), encoding="utf-8")
    context = browser.browser_type.launch_persistent_context(
        folder, executable_path=program(), args=[SITES, AS_OUTSIDE], ignore_https_errors=True, locale="en-GB"
    )
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()
