"""A browser that runs no script: cookies by their rules, redirects, forms, and the proxy that ends TLS before it."""

import ssl
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPSConnection
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urljoin, urlsplit

from tests.integration.web.asking import Answer
from tests.integration.web.page import Page

PUBLIC_URL = "https://connect.test"
BY_TLS = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.7"}


class Browser:
    """One customer's; `public` is where the listener of `base` really stands."""

    def __init__(
        self,
        public: str,
        *,
        base: str = PUBLIC_URL,
        keeps_cookies: bool = True,
        language: str = "en",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.public = public
        self.base = base
        self.language = language
        self.cookies: dict[str, str] = {}
        self.url = ""
        self.seen: list[str] = []
        self.form_type = "application/x-www-form-urlencoded"
        self._keeps_cookies = keeps_cookies
        self._tls = tls

    def open(self, url: str, *, follow: bool = True) -> Answer:
        """Open an address as a link is opened."""
        return self._go("GET", url, None, follow=follow)

    def press(self, page: Answer, *, follow: bool = True) -> Answer:
        """Press the one button of a page that was just opened."""
        fields = {a["name"] or "": a["value"] or "" for tag, a in Page(page).tags if tag == "input"}
        return self.send(fields, follow=follow)

    def send(self, fields: Mapping[str, str], *, follow: bool = True) -> Answer:
        """Send a form to the page that is open."""
        return self._go("POST", self.url, urlencode(fields), follow=follow)

    def connect(self, link: str) -> Answer:
        """Open a link, press its button, and go wherever that leads."""
        return self.press(self.open(link))

    def _go(self, method: str, url: str, form: str | None, *, follow: bool) -> Answer:
        for _ in range(20):
            answer = self._ask(method, url, form)
            location = answer.headers.get("location")
            if location is None or not follow or not self._is_known(urljoin(url, location)):
                return answer
            method, url, form = "GET", urljoin(url, location), None
        raise AssertionError(self.seen)

    def _is_known(self, url: str) -> bool:
        """Whether a test can go there; an application's address is where it ends."""
        return url.startswith(self.base) or urlsplit(url).hostname == "127.0.0.1"

    def _ask(self, method: str, url: str, form: str | None) -> Answer:
        self.url = url
        self.seen.append(url)
        is_ours = url.startswith(self.base)
        parts = urlsplit(url)
        headers = {"Accept-Language": self.language} | (BY_TLS if is_ours else {})
        if is_ours and self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if form is not None:
            headers["Content-Type"] = self.form_type
        connection = self._connection(urlsplit(self.public).netloc if is_ours else parts.netloc, is_ours=is_ours)
        try:
            connection.request(method, parts.path + (f"?{parts.query}" if parts.query else ""), form, headers)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            if is_ours and self._keeps_cookies:
                self._keep(response.getheader("Set-Cookie"))
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def _connection(self, netloc: str, *, is_ours: bool) -> HTTPConnection:
        if is_ours and self._tls is not None:
            return HTTPSConnection(netloc, timeout=60, context=self._tls)
        return HTTPConnection(netloc, timeout=60)

    def _keep(self, header: str | None) -> None:
        for name, morsel in SimpleCookie(header or "").items():
            assert morsel["secure"], header
            assert morsel["httponly"], header
            assert morsel["samesite"] == "Lax", header
            assert morsel["path"] == "/", header
            assert not morsel["domain"], header
            self.cookies[name] = morsel.value
