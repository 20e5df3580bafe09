"""Whatever is signed verifies, and nothing else does."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.keys import PrivateKey
from tocsin.webhooks import WebhookError, parse_secret, sign, verify

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
KEY = PrivateKey.from_seed(bytes(32))
SECRET = "whsec_" + "A" * 43 + "="
GIVEN: dict[str, Any] = {"secret": SECRET, "public_key": KEY.public, "endpoint_id": "ep_1", "now": NOW}

bodies = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters='"\\')).map(
    lambda text: f'{{"type":"{text}"}}'.encode()
)


def test_the_secret_of_these_laws_is_one() -> None:
    assert len(parse_secret(SECRET)) == 32


@given(bodies)
def test_what_is_signed_verifies(body: bytes) -> None:
    assert verify(body, sign("ep_1_msg_1", NOW, body, secrets=[SECRET], keys=[KEY]), **GIVEN).body == body


@given(bodies, st.binary(), st.booleans())
def test_another_body_does_not_verify_by_either_proof(body: bytes, other: bytes, by_secret: bool) -> None:
    if other != body:
        headers = sign("ep_1_msg_1", NOW, body, secrets=[SECRET], keys=[KEY])
        proof: dict[str, Any] = {"public_key": None} if by_secret else {"secret": None}
        with pytest.raises(WebhookError):
            verify(other, headers, **GIVEN | proof)


@given(st.text(), st.text(), st.text(), st.binary())
def test_nothing_that_arrives_crashes_the_verifier(id_: str, timestamp: str, signature: str, body: bytes) -> None:
    headers = {"webhook-id": id_, "webhook-timestamp": timestamp, "webhook-signature": signature}
    with pytest.raises(WebhookError):
        verify(body, headers, **GIVEN)


@given(st.text(), st.binary())
def test_no_signature_crashes_the_verifier(signature: str, body: bytes) -> None:
    headers = {"webhook-id": "ep_1_msg_1", "webhook-timestamp": "1795338000", "webhook-signature": f"v1,{signature}"}
    with pytest.raises(WebhookError):
        verify(body, headers, **GIVEN)
