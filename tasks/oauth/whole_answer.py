"""Whole answer: what says by itself where it ends, and so is whole though its frame on the wire is not."""

import json

from tasks.oauth.provider import Provider
from tasks.oauth.token_answer import TokenSet, read_token_answer


def is_whole_token_set(body: bytes, provider: Provider) -> bool:
    """Whether a token set of this provider is there to its last byte: a form might go on."""
    if not is_whole_json(body):
        return False
    found = read_token_answer(body, paths=provider.token_set, second=provider.second_token_set)
    return isinstance(found, TokenSet)


def is_whole_json(body: bytes) -> bool:
    """Whether these bytes are one JSON object or list."""
    try:
        text = body.decode(json.detect_encoding(body), errors="replace")
        return isinstance(json.loads(text, strict=False, parse_int=float), dict | list)
    except (ValueError, RecursionError):
        return False
