"""A broker, as somebody who has its URL: everything may be done there."""

from urllib.parse import parse_qs, unquote, urlsplit

import redis


def connect(url: str) -> "redis.Redis":
    """A plain connection to the broker of a `redis+socket://` URL."""
    parts = urlsplit(url)
    password = None if parts.password is None else unquote(parts.password)
    return redis.Redis(unix_socket_path=parts.path, db=database_of(url), password=password)


def database_of(url: str) -> int:
    """The numbered database of such a URL."""
    return int(parse_qs(urlsplit(url).query)["virtual_host"][0])
