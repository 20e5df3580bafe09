"""Webhooks of other services are verified by the formats that these have published."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest

from app.subscriptions.verifying import Terms, Verified, expected, is_secret, verify

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
SECONDS = str(int(NOW.timestamp()))
BODY = b'{"id": "evt_1", "type": "charge.succeeded"}'
SECRET = "It's a Secret to Everybody"

# Standard Webhooks: the vector of the specification's own libraries (standard-webhooks/libraries, test of `sign`).
STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
STANDARD_BODY = b'{"test": 2432232314}'
STANDARD_AT = datetime.fromtimestamp(1614265330, UTC)
STANDARD = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}

# GitHub: docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries, where validation is tested.
GITHUB_BODY = b"Hello, World!"
GITHUB = {"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}


def hexed(secret: str, content: bytes) -> str:
    return hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()


def stripe(seconds: str = SECONDS, secret: str = SECRET, body: bytes = BODY) -> dict[str, str]:
    # docs.stripe.com/webhooks#verify-manually: HMAC-SHA256 by the whole secret over `{t}.{body}`, in hexadecimal.
    signature = hexed(secret, f"{seconds}.".encode() + body)
    return {"stripe-signature": f"t={seconds},v0={'6' * 64},v1={signature}"}


def test_standard_webhooks_are_verified_by_their_vector() -> None:
    verified = verify(Terms("standard-webhooks"), STANDARD_SECRET, STANDARD, STANDARD_BODY, STANDARD_AT)
    assert verified == Verified("msg_p5jXN8AQM9LWM0D4loKWxJek")


def test_headers_of_before_the_standard_are_read() -> None:
    svix = {name.replace("webhook", "svix"): value for name, value in STANDARD.items()}
    assert verify(Terms("standard-webhooks"), STANDARD_SECRET, svix, STANDARD_BODY, STANDARD_AT)


def test_one_good_signature_among_several_is_enough() -> None:
    rotated = {**STANDARD, "webhook-signature": f"v1a,x v1,AAAA {STANDARD['webhook-signature']}"}
    assert verify(Terms("standard-webhooks"), STANDARD_SECRET, rotated, STANDARD_BODY, STANDARD_AT)


def test_github_is_verified_by_its_vector() -> None:
    headers = {**GITHUB, "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958"}
    assert verify(Terms("github"), SECRET, headers, GITHUB_BODY, NOW) == Verified(
        "72d3162e-cc78-11e3-81ab-4c9367dc0958"
    )


def test_stripe_is_verified_and_known_by_its_event() -> None:
    assert verify(Terms("stripe"), SECRET, stripe(), BODY, NOW) == Verified("evt_1")


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"id": 7}', b"\xff", b'{"id": ""}'])
def test_a_body_without_an_id_is_verified_all_the_same(body: bytes) -> None:
    assert verify(Terms("stripe"), SECRET, stripe(body=body), body, NOW) == Verified(None)


@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_a_plain_hmac_is_verified_as_it_is_written(encoding: str) -> None:
    raw = hmac.digest(SECRET.encode(), BODY, "sha256")
    written = raw.hex() if encoding == "hex" else base64.b64encode(raw).decode()
    terms = Terms("hmac-sha256", "x-shop-hmac", encoding, "v0=")
    assert verify(terms, SECRET, {"x-shop-hmac": f"v0={written}"}, BODY, NOW) == Verified(None)
    assert verify(terms, SECRET, {"x-shop-hmac": written}, BODY, NOW) is None


GOOD = [
    pytest.param(Terms("standard-webhooks"), STANDARD_SECRET, STANDARD, STANDARD_BODY, STANDARD_AT, id="standard"),
    pytest.param(Terms("stripe"), SECRET, stripe(), BODY, NOW, id="stripe"),
    pytest.param(Terms("github"), SECRET, GITHUB, GITHUB_BODY, NOW, id="github"),
    pytest.param(Terms("hmac-sha256"), SECRET, {"x-signature": hexed(SECRET, BODY)}, BODY, NOW, id="hmac"),
]
Request = tuple[Terms, str, dict[str, str], bytes, datetime]


@pytest.mark.parametrize(("terms", "secret", "headers", "body", "now"), GOOD)
def test_whatever_is_altered_is_refused(
    terms: Terms, secret: str, headers: dict[str, str], body: bytes, now: datetime
) -> None:
    assert verify(terms, secret, headers, body, now)
    for place in range(len(body)):
        altered = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        assert verify(terms, secret, headers, altered, now) is None
    for name, value in headers.items():
        for changed in ("", value[:-2], value + "0", value.upper() + "!", "é", "=", ",", "t=,v1=", "sha256=", "v1,"):
            assert verify(terms, secret, {**headers, name: changed}, body, now) is None, (name, changed)
        assert (
            verify(terms, secret, {other: text for other, text in headers.items() if other != name}, body, now) is None
        )
    other = STANDARD_SECRET.replace("M", "N") if terms.scheme == "standard-webhooks" else f"{secret}!"
    assert verify(terms, other, headers, body, now) is None
    assert verify(terms, None, headers, body, now) is None


@pytest.mark.parametrize("off", [timedelta(seconds=301), timedelta(seconds=-301), timedelta(days=365)])
def test_what_was_signed_long_ago_or_ahead_is_refused(off: timedelta) -> None:
    assert verify(Terms("stripe"), SECRET, stripe(), BODY, NOW + off) is None
    assert verify(Terms("standard-webhooks"), STANDARD_SECRET, STANDARD, STANDARD_BODY, STANDARD_AT + off) is None


@pytest.mark.parametrize("seconds", ["", "-1", "1e9", "9" * 40, " 1", "nan", "\u0661"])
def test_a_time_that_is_none_is_refused(seconds: str) -> None:
    assert verify(Terms("stripe"), SECRET, stripe(seconds), BODY, NOW) is None


def test_nothing_is_verified_where_nothing_was_asked() -> None:
    assert verify(Terms("none"), None, {}, b"", NOW) == Verified(None)


def test_what_is_expected_names_the_headers_and_no_secret() -> None:
    for terms in (Terms("standard-webhooks"), Terms("stripe"), Terms("github"), Terms("hmac-sha256", "x-own")):
        assert SECRET not in expected(terms)
        assert "inbox's secret" in expected(terms)


@pytest.mark.parametrize(
    ("scheme", "text", "good"),
    [
        ("standard-webhooks", STANDARD_SECRET, True),
        ("standard-webhooks", "whsec_short", False),
        ("standard-webhooks", SECRET, False),
        ("stripe", "whsec_test_secret", True),
        ("github", "short", False),
        ("hmac-sha256", "", False),
    ],
)
def test_a_secret_is_of_its_scheme(scheme: str, text: str, good: bool) -> None:
    assert is_secret(scheme, text) is good
