"""The pages themselves: what a browser may do with them, whose they are, in which words, and what nobody sees."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from models.states.visit import VisitReason
from tests.integration.public.browser import PUBLIC_URL, Browser
from tests.integration.public.conftest import Scene, listening
from tests.integration.public.test_connecting import back, ended, state_in, words
from tests.integration.web.asking import Answer, ask
from tests.integration.web.page import Page
from worker.web.public.colours import text_on
from worker.web.public.words import LANGUAGES, language

HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "strict-transport-security": "max-age=31536000",
}


def policy(answer: Answer) -> dict[str, str]:
    parts = [each.strip().partition(" ") for each in answer.headers["content-security-policy"].split(";")]
    return {name: value for name, _, value in parts}


def all_pages(scene: Scene) -> list[Answer]:
    """A page of each kind: to press, to wait, of an end, of nothing."""
    browser = scene.browser
    return [
        browser.open(scene.link()),
        browser.open(f"{PUBLIC_URL}/connect/nobodys"),
        browser.open(f"{PUBLIC_URL}/callback"),
        browser.open(f"{PUBLIC_URL}/elsewhere"),
        browser.open(back(browser, scene.link("b"))),
        ended(browser, scene.link("c"), scene.worker),
    ]


def test_a_browser_may_do_nothing_with_a_page_but_show_it(scene: Scene) -> None:
    for answer in all_pages(scene):
        assert HEADERS.items() <= answer.headers.items()
        assert "geolocation=()" in answer.headers["permissions-policy"]
        found = policy(answer)
        assert found["default-src"] == found["frame-ancestors"] == found["base-uri"] == "'none'"
        assert "script-src" not in found
        (nonce,) = re.findall(r"'nonce-([A-Za-z0-9_-]{20,})'", found["style-src"])
        assert f'<style nonce="{nonce}">'.encode() in answer.body
        assert {tag for tag, _ in Page(answer).tags} & {"script", "iframe", "object", "link"} == set()
        assert not any(name.startswith("on") for _, attrs in Page(answer).tags for name in attrs)
        assert 'style="' not in answer.body.decode()


def test_what_sends_a_browser_on_tells_nobody_where_it_came_from(scene: Scene) -> None:
    sent = scene.browser.press(scene.browser.open(scene.link()), follow=False)
    for answer in (sent, scene.browser.open(back(scene.browser, scene.link("b")), follow=False)):
        assert answer.status == 303
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"


def test_no_page_holds_a_ticket_a_code_or_a_state(scene: Scene) -> None:
    link = scene.link()
    opened = scene.browser.open(link)
    sent = scene.browser.press(opened, follow=False)
    callback = scene.browser.open(sent.headers["location"], follow=False).headers["location"]
    waits = scene.browser.open(callback)
    scene.worker.once()
    secrets = [link.rpartition("/")[2], state_in(sent), re.findall(r"code=([^&]+)", callback)[0]]
    secrets += list(scene.browser.cookies.values())

    for answer in (opened, waits, scene.browser.open(callback), Browser(scene.public).open(link)):
        assert not any(each.encode() in answer.body for each in secrets)


def test_a_page_is_in_the_clients_name_and_colour_with_its_logo(scene: Scene) -> None:
    answer = scene.browser.open(scene.link())
    page = Page(answer)

    assert "Acme Shop" in page.text
    assert b"--accent: #aa3300; --on-accent: #ffffff;" in answer.body
    assert [attrs["src"] for tag, attrs in page.tags if tag == "img"] == ["https://acme.example/logo.png"]
    assert policy(answer)["img-src"] == "https://acme.example/logo.png"


def test_without_a_title_a_page_speaks_for_the_client_by_its_name(scene: Scene) -> None:
    scene.harness.run("update evergrant.clients set title = null, logo_url = null, colour = null")
    answer = scene.browser.open(scene.link())

    assert "Connect shop with" in Page(answer).words
    assert "img-src" not in policy(answer)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("title", "<script>alert(1)</script>"),
        ("title", "{provider.__class__} {{ 7 * 7 }}"),
        ("logo_url", "javascript:alert(1)"),
        ("logo_url", 'https://acme.example/"onerror="alert(1)'),
        ("logo_url", "https://acme.example/a;script-src *"),
        ("logo_url", "https://acme.example/a,b;c"),
        ("colour", "#fff}</style><script>alert(1)</script>"),
        ("colour", "red"),
    ],
)
def test_what_a_client_is_called_becomes_text_and_nothing_else(scene: Scene, column: str, value: str) -> None:
    scene.harness.run(f"update evergrant.clients set {column} = :value", value=value)  # noqa: S608
    answer = scene.browser.open(scene.link())
    page = Page(answer)

    assert {tag for tag, _ in page.tags} & {"script"} == set()
    assert "49" not in page.text
    assert answer.headers["content-security-policy"].count("script-src") == 0
    assert all((attrs["src"] or "").startswith("https://acme.example/") for tag, attrs in page.tags if tag == "img")
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)


def test_nothing_that_the_provider_says_stands_on_a_page(scene: Scene) -> None:
    state = state_in(scene.browser.press(scene.browser.open(scene.link()), follow=False))
    query = f"error=%3Cimg%20src%3Dx%3E&error_description=call-me&error_uri=http%3A%2F%2Fevil.example&state={state}"

    answer = scene.browser.open(f"{PUBLIC_URL}/callback?{query}")

    assert not any(each in answer.body for each in (b"src=x", b"call-me", b"evil"))


def test_a_form_may_lead_on_to_wherever_a_provider_lets_its_users_sign_in(scene: Scene) -> None:
    """Chromium holds `form-action` against every redirect that follows."""
    sources = policy(scene.browser.open(scene.link()))["form-action"].split()
    assert sources == ["'self'", "https:", f"http://{urlsplit(scene.provider.url).netloc}"]


def test_a_screen_reader_hears_who_asks_then_what_then_what_to_press(scene: Scene) -> None:
    page = Page(scene.browser.open(scene.link()))
    order = [tag for tag, _ in page.tags if tag in ("main", "img", "h1", "p", "form", "button")]

    assert order == ["main", "p", "img", "h1", "p", "p", "form", "button"]
    assert next(attrs for tag, attrs in page.tags if tag == "html")["lang"] == "en"
    assert next(attrs for tag, attrs in page.tags if tag == "img")["alt"] == ""  # its title follows as text
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.tags


@pytest.mark.parametrize(
    ("locale", "accepted", "heading"),
    [
        ("de", "en", "Acme Shop mit The bundled"),
        ("de-AT", "en", "Acme Shop mit The bundled"),
        (None, "de-CH, en;q=0.5", "Acme Shop mit The bundled"),
        (None, "fr, de;q=0.9, en;q=0.8", "Acme Shop mit The bundled"),
        (None, "en, de;q=0.9", "Connect Acme Shop with The bundled"),
        (None, "fr", "Connect Acme Shop with The bundled"),
        (None, "de;q=0", "Connect Acme Shop with The bundled"),
        (None, ";;q=,=,de;q=x", "Connect Acme Shop with The bundled"),
        ("fr", "", "Connect Acme Shop with The bundled"),
    ],
)
def test_a_page_speaks_the_language_of_the_ticket_or_of_the_browser(
    scene: Scene, locale: str | None, accepted: str, heading: str
) -> None:
    scene.browser.language = accepted
    answer = scene.browser.open(scene.link(locale=locale))

    assert heading in words(answer)
    assert answer.headers["content-language"] == ("de" if "mit" in heading else "en")


def test_every_language_says_all_that_there_is_to_say() -> None:
    english = language(None)
    for each in LANGUAGES.values():
        assert each.sayings.keys() == english.sayings.keys()
        for name, saying in each.sayings.items():
            for part in ("heading", "text", "next"):
                said, model = getattr(saying, part), getattr(english.sayings[name], part)
                assert bool(said) == bool(model), (each.name, name)
                assert set(re.findall(r"{\w*}", said)) <= {"{title}", "{provider}"}
                said.format(title="", provider="")


def test_every_reason_has_its_saying() -> None:
    assert {str(each) for each in VisitReason} <= language(None).sayings.keys()


def test_every_saying_is_told_somewhere() -> None:
    """A word that no code says is none that anybody hears."""
    root = Path(__file__).parents[3] / "worker" / "web" / "public"
    code = "".join(path.read_text() for path in root.glob("*.py"))
    said = {name for name in language(None).sayings if f'"{name}"' in code} | {str(each) for each in VisitReason}
    assert said == language(None).sayings.keys()


@pytest.mark.parametrize(
    "colour", ["#000000", "#ffffff", "#777777", "#aa3300", "#ffff00", "#0000ff", "#767676", "#00ff00"]
)
def test_what_stands_on_a_colour_can_be_read(colour: str) -> None:
    def light(text: str) -> float:
        parts = [int(text[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        red, green, blue = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    lighter, darker = sorted((light(colour), light(text_on(colour))), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5


# The door


def raw(public: str, method: str = "GET", target: str = "/connect/x", **headers: str) -> Answer:
    return ask(public, method, target, headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_behind_a_proxy_what_did_not_come_by_tls_is_refused(public: str) -> None:
    assert raw(public).status == 400
    assert raw(public, X_Forwarded_Proto="http").status == 400
    assert raw(public, X_Forwarded_Proto="https").status == 404


def test_an_address_that_comes_too_often_is_told_to_wait_and_others_are_not(public: str) -> None:
    mine = {"X_Forwarded_Proto": "https", "X_Forwarded_For": "10.0.0.1, 203.0.113.9"}
    answers = [raw(public, **mine).status for _ in range(80)]

    assert answers[:50] == [404] * 50
    assert answers[-1] == 429
    assert raw(public, **mine).headers["refresh"] == "5"  # who came back with a code loses it else
    assert "refresh" not in raw(public, "POST", **mine).headers
    # Whoever writes the header before the proxy does hides behind nobody.
    assert raw(public, X_Forwarded_Proto="https", X_Forwarded_For="10.9.9.9, 203.0.113.9").status == 429
    assert raw(public, X_Forwarded_Proto="https", X_Forwarded_For="203.0.113.10").status == 404


def test_without_a_proxy_nobody_believes_what_a_customer_writes(harness: Any) -> None:
    with listening(public_behind_proxy=False, public_url="http://127.0.0.1:1") as public:
        answers = [raw(public, X_Forwarded_For=f"203.0.113.{n}").status for n in range(80)]
        assert answers[-1] == 429


def test_there_is_nothing_else_at_that_port(public: str) -> None:
    by_tls = {"X_Forwarded_Proto": "https"}
    for target in ("/", "/metrics", "/healthz", "/v1/grants/a/token", "/openapi.json", "/grants", "/static/fleet.css"):
        assert raw(public, "GET", target, **by_tls).status == 404
    assert raw(public, "DELETE", "/connect/x", **by_tls).status == 405
    assert raw(public, "POST", "/callback", **by_tls).status == 405
    assert raw(public, "HEAD", "/connect/x", **by_tls).status == 404


def test_the_listener_may_lie_below_a_path(harness: Any) -> None:
    with listening(public_url="https://acme.example/connect-us") as public:
        assert raw(public, "GET", "/connect-us/connect/x", X_Forwarded_Proto="https").status == 404
        answer = raw(public, "GET", "/connect-us/connect/x", X_Forwarded_Proto="https")
        assert "leads nowhere" in words(answer)
        assert "nothing here" in words(raw(public, "GET", "/connect/x", X_Forwarded_Proto="https"))
