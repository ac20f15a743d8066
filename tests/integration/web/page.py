"""A page of web as a program that runs no script sees it."""

from html.parser import HTMLParser

from tests.integration.web.asking import Answer, Web

LONG_AGO = "2026-01-01T00:00:00Z"


class Page(HTMLParser):
    """Its tags, its text, its links."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        assert answer.headers["content-type"].startswith("text/html"), answer.body
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(answer.body.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.text += " " if tag == "dd" else ""

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def words(self) -> str:
        return " ".join(self.text.split())

    def links(self) -> list[str]:
        return [attrs["href"] or "" for tag, attrs in self.tags if tag == "a"]

    def refs(self) -> list[str]:
        return [link.rpartition("/")[2] for link in self.links() if link.startswith("/grants/")]


def see(web: Web, path: str, status: int = 200) -> Page:
    answer = web.ops(path)
    assert answer.status == status, answer.body
    return Page(answer)
