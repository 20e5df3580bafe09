"""Which webhooks are proven, and what is said of the others."""

from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.message import Message
from typing import Any

import httpx
import pytest

from tocsin.keys import PrivateKey
from tocsin.webhooks import (
    BadBody,
    BadTimestamp,
    MissingHeader,
    SignatureMismatch,
    WebhookError,
    WrongEndpoint,
    challenge_answer,
    new_secret,
    parse_private_key,
    parse_public_key,
    parse_secret,
    private_key_text,
    public_key_text,
    sign,
    verify,
)

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
KEY = PrivateKey.from_seed(bytes(range(32)))
OTHER_KEY = PrivateKey.from_seed(bytes(32))
SECRET, OTHER_SECRET = ("whsec_" + b64encode(bytes([n]) * 32).decode() for n in (1, 2))
BODY = b'{"type":"schedule.fired","timestamp":"2026-11-22T09:00:00.000Z","data":{"run":1}}'
HEADERS = sign("ep_1_msg_2", NOW, BODY, secrets=[SECRET], keys=[KEY])


def verified(body: bytes = BODY, headers: Any = HEADERS, **changed: Any) -> Any:
    given: dict[str, Any] = {"secret": SECRET, "public_key": KEY.public, "endpoint_id": "ep_1", "now": NOW}
    return verify(body, headers, **(given | changed))


def test_a_ring_tells_what_it_is() -> None:
    ring = verified()
    assert (ring.id, ring.endpoint_id, ring.message_id) == ("ep_1_msg_2", "ep_1", "msg_2")
    assert (ring.type, ring.data, ring.happened_at) == ("schedule.fired", {"run": 1}, "2026-11-22T09:00:00.000Z")
    assert (ring.sent_at, ring.verified, ring.body, ring.challenge) == (NOW, ("v1", "v1a"), BODY, None)


def test_either_proof_is_enough_if_only_one_is_asked_for() -> None:
    assert verified(public_key=None, endpoint_id=None).verified == ("v1",)
    assert verified(secret=None).verified == ("v1a",)


def test_both_proofs_are_needed_if_both_are_asked_for() -> None:
    for headers in (sign("ep_1_msg_2", NOW, BODY, secrets=[SECRET]), sign("ep_1_msg_2", NOW, BODY, keys=[KEY])):
        with pytest.raises(SignatureMismatch):
            verified(headers=headers)


def test_the_public_key_binds_to_the_receivers_own_endpoint() -> None:
    with pytest.raises(WrongEndpoint):
        verified(endpoint_id="ep_2")
    with pytest.raises(WrongEndpoint):
        verified(endpoint_id="ep")
    with pytest.raises(TypeError, match="endpoint_id"):
        verified(endpoint_id=None)


def test_something_must_be_verified() -> None:
    with pytest.raises(TypeError, match="secret or a public_key"):
        verify(BODY, HEADERS, now=NOW)


@pytest.mark.parametrize(
    "public_key",
    [
        public_key_text(KEY.public),
        KEY.public.jwk,
        {"keys": [{"kty": "EC", "crv": "P-256"}, OTHER_KEY.public.jwk, KEY.public.jwk]},
        [OTHER_KEY.public, public_key_text(KEY.public)],
    ],
)
def test_a_public_key_may_be_written_in_any_of_its_forms(public_key: Any) -> None:
    assert verified(public_key=public_key).verified == ("v1", "v1a")


def test_during_a_rotation_any_live_secret_and_key_will_do() -> None:
    headers = sign("ep_1_msg_2", NOW, BODY, secrets=[OTHER_SECRET, SECRET], keys=[OTHER_KEY, KEY])
    for secret, key in ((SECRET, KEY), (OTHER_SECRET, OTHER_KEY)):
        assert verified(headers=headers, secret=secret, public_key=key.public)
    assert verified(secret=[OTHER_SECRET, SECRET])


def as_message(headers: dict[str, str]) -> Message:
    message = Message()
    for name, value in headers.items():
        message[name.title()] = value
    return message


@pytest.mark.parametrize("wrap", [dict, httpx.Headers, as_message])
def test_headers_may_be_of_any_framework(wrap: Callable[[dict[str, str]], Any]) -> None:
    assert verified(headers=wrap(HEADERS))


REFUSED: list[tuple[type[WebhookError], dict[str, Any]]] = [
    (SignatureMismatch, {"body": BODY + b" "}),
    (SignatureMismatch, {"body": b""}),
    (SignatureMismatch, {"secret": OTHER_SECRET}),
    (SignatureMismatch, {"secret": []}),
    (SignatureMismatch, {"public_key": OTHER_KEY.public}),
    (SignatureMismatch, {"public_key": {"keys": []}}),
    (SignatureMismatch, {"headers": HEADERS | {"webhook-id": "ep_1_msg_3"}}),
    (SignatureMismatch, {"headers": HEADERS | {"webhook-id": "ep_1_msg_2\udcff"}}),  # bytes that are no UTF-8
    (SignatureMismatch, {"headers": HEADERS | {"webhook-timestamp": str(int(NOW.timestamp()) + 1)}}),
    (SignatureMismatch, {"headers": HEADERS | {"webhook-signature": "v1,"}}),
    (SignatureMismatch, {"headers": HEADERS | {"webhook-signature": "v1"}}),
    (SignatureMismatch, {"headers": HEADERS | {"webhook-signature": "v2,AAAA  , x,y,z"}}),
    (SignatureMismatch, {"headers": HEADERS | {"webhook-signature": "v1,ä"}}),
    (
        SignatureMismatch,
        {"headers": HEADERS | {"webhook-signature": HEADERS["webhook-signature"].replace("v1,", "v0,")}},
    ),
    (
        SignatureMismatch,
        {"headers": HEADERS | {"webhook-signature": HEADERS["webhook-signature"].replace("v1a", "v1b")}},
    ),
    (MissingHeader, {"headers": {}}),
    (MissingHeader, {"headers": HEADERS | {"webhook-id": ""}}),
    (MissingHeader, {"headers": HEADERS | {"Webhook-Id": "ep_1_msg_2"}}),  # which of the two?
    (MissingHeader, {"headers": HEADERS | {"webhook-signature": "v1,AAAA " * 2000}}),
    (BadTimestamp, {"headers": HEADERS | {"webhook-timestamp": "1795338000.0"}}),
    (BadTimestamp, {"headers": HEADERS | {"webhook-timestamp": "-1"}}),
    (BadTimestamp, {"headers": HEADERS | {"webhook-timestamp": "9" * 30}}),
    (BadTimestamp, {"headers": HEADERS | {"webhook-timestamp": "²"}}),
    (BadTimestamp, {"now": NOW + timedelta(seconds=301)}),
    (BadTimestamp, {"now": NOW - timedelta(seconds=301)}),
    (BadTimestamp, {"now": NOW + timedelta(seconds=11), "tolerance_seconds": 10}),
]


@pytest.mark.parametrize(("kind", "changed"), REFUSED)
def test_anything_else_is_refused_with_what_to_do(kind: type[WebhookError], changed: dict[str, Any]) -> None:
    with pytest.raises(kind) as refusal:
        verified(**changed)
    assert type(refusal.value) is kind
    assert str(refusal.value)


def test_five_minutes_are_tolerated_both_ways() -> None:
    for seconds in (-300, 300):
        assert verified(now=NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"1", b'{"data": 1}', b'{"type": 1}', b"\xff", b"[" * 100_000])
def test_a_signed_body_that_is_no_webhook_is_refused(body: bytes) -> None:
    headers = sign("ep_1_msg_2", NOW, body, secrets=[SECRET], keys=[KEY])
    with pytest.raises(BadBody):
        verified(body, headers)


def test_a_challenge_is_echoed() -> None:
    body = b'{"type":"endpoint.verification","timestamp":"2026-11-22T09:00:00.000Z","data":{"challenge":"abc"}}'
    ring = verified(body, sign("ep_1_msg_2", NOW, body, secrets=[SECRET], keys=[KEY]))
    assert challenge_answer(ring) == b'{"challenge": "abc"}'
    assert challenge_answer(verified()) is None


@pytest.mark.parametrize("data", [b"null", b"[]", b"{}", b'{"challenge":5}'])
def test_a_strange_challenge_is_not_echoed(data: bytes) -> None:
    body = b'{"type":"endpoint.verification","data":' + data + b"}"
    assert challenge_answer(verified(body, sign("ep_1_msg_2", NOW, body, secrets=[SECRET], keys=[KEY]))) is None


def test_keys_and_secrets_survive_their_text() -> None:
    assert parse_public_key(public_key_text(KEY.public)) == KEY.public
    assert parse_private_key(private_key_text(KEY)).seed == KEY.seed
    assert len(parse_secret(new_secret())) == 32
    assert new_secret() != new_secret()


SHORT, LONG = ("whsec_" + b64encode(bytes(length)).decode() for length in (23, 65))


@pytest.mark.parametrize("text", ["", "whsec_", SHORT, LONG, SECRET[6:], SECRET[:-1], SECRET + "\n", "whsec_ä"])
def test_odd_secrets_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"secret has|written as"):
        parse_secret(text)


@pytest.mark.parametrize(
    "text", ["whpk_", public_key_text(KEY.public)[5:], "whpk_" + b64encode(bytes(32)).decode(), "whpk_AAAA"]
)
def test_odd_public_keys_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"written as|prime order|32 bytes"):
        parse_public_key(text)


def test_a_private_key_whose_halves_do_not_belong_together_is_refused() -> None:
    with pytest.raises(ValueError, match="64 bytes"):
        parse_private_key("whsk_" + b64encode(KEY.seed + OTHER_KEY.public.raw).decode())
