"""Signatures of Standard Webhooks, as its own vector and its own library have them."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from tasks.telling.signature import BadSecret, headers, key_of

# The example of the specification's reference implementation.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"test": 2432232314}'


def test_the_vector_of_the_specification() -> None:
    made = headers([SECRET], message_id="msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp=1614265330, body=BODY)
    assert made == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(st.binary(min_size=24, max_size=64), st.text())
def test_the_official_library_finds_the_same_signature(key: bytes, text: str) -> None:
    from datetime import UTC, datetime

    secret, body = "whsec_" + base64.b64encode(key).decode(), text.encode("utf-8", "replace")
    at = datetime(2026, 11, 26, 12, tzinfo=UTC)
    made = headers([secret], message_id="evt_1", timestamp=int(at.timestamp()), body=body)
    assert made["webhook-signature"] == Webhook(secret).sign("evt_1", at, body.decode())


def test_two_secrets_make_two_signatures_the_new_one_first() -> None:
    other = "whsec_" + base64.b64encode(b"x" * 32).decode()
    both = headers([other, SECRET], message_id="evt_1", timestamp=1, body=BODY)["webhook-signature"]
    apart = [
        headers([each], message_id="evt_1", timestamp=1, body=BODY)["webhook-signature"] for each in (other, SECRET)
    ]
    assert both.split(" ") == apart


@pytest.mark.parametrize("length", [0, 23, 65])
def test_a_secret_of_another_length_is_none(length: int) -> None:
    with pytest.raises(BadSecret):
        key_of("whsec_" + base64.b64encode(b"x" * length).decode())
