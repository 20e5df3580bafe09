"""Published vectors of RFC 9421, RFC 9530 and Web Bot Auth, and an independent signer of our profile."""

from base64 import b64decode
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import http_sf
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from http_message_signatures.algorithms import ED25519  # pyright: ignore[reportPrivateImportUsage]
from http_message_signatures.resolvers import HTTPSignatureKeyResolver
from http_message_signatures.signatures import HTTPMessageSigner, HTTPMessageVerifier

from tocsin.keys import PrivateKey, unbase64url
from tocsin.signatures import Request, content_digest, sign, signature_base, verify

# RFC 9421, appendix B.1.4
TEST_KEY = PrivateKey.from_seed(unbase64url("n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU"))
# RFC 9421, appendix B.2
TEST_REQUEST = Request.of(
    "POST",
    "https://example.com/foo?param=Value&Pet=dog",
    {
        "Host": "example.com",
        "Date": "Tue, 20 Apr 2021 02:07:55 GMT",
        "Content-Type": "application/json",
        "Content-Digest": "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJ"
        "wew==:",
        "Content-Length": "18",
    },
    b'{"hello": "world"}',
)


def base_of(request: Request, signature_input: str) -> str:
    parsed = cast(dict[str, Any], http_sf.parse(signature_input.encode(), tltype="dictionary"))
    [(members, parameters)] = parsed.values()
    return signature_base(request, members, http_sf.ser([(members, parameters)]))


def test_rfc_9421_b_2_6() -> None:
    base = base_of(
        TEST_REQUEST,
        'sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length")'
        ';created=1618884473;keyid="test-key-ed25519"',
    )
    assert base.split("\n") == [
        '"date": Tue, 20 Apr 2021 02:07:55 GMT',
        '"@method": POST',
        '"@path": /foo',
        '"@authority": example.com',
        '"content-type": application/json',
        '"content-length": 18',
        '"@signature-params": ("date" "@method" "@path" "@authority" "content-type" "content-length")'
        ';created=1618884473;keyid="test-key-ed25519"',
    ]
    expected = "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw=="
    assert TEST_KEY.sign(base.encode()) == b64decode(expected)
    assert TEST_KEY.public.verify(base.encode(), b64decode(expected))


@pytest.mark.parametrize(
    ("component", "url", "value"),
    [  # RFC 9421, sections 2.2.1 to 2.2.7
        ("@method", "https://www.example.com/path?param=value", "POST"),
        ("@target-uri", "https://www.example.com/path?param=value", "https://www.example.com/path?param=value"),
        ("@authority", "https://www.example.com/path?param=value", "www.example.com"),
        ("@scheme", "http://www.example.com/path?param=value", "http"),
        ("@request-target", "https://www.example.com/path?param=value", "/path?param=value"),
        ("@path", "https://www.example.com/path?param=value", "/path"),
        (
            "@query",
            "https://www.example.com/path?param=value&foo=bar&baz=bat%2Dman",
            "?param=value&foo=bar&baz=bat%2Dman",
        ),
        ("@query", "https://www.example.com/path?queryString", "?queryString"),
        ("@query", "https://www.example.com/path", "?"),
    ],
)
def test_derived_components_have_the_values_of_the_rfc(component: str, url: str, value: str) -> None:
    base = signature_base(Request.of("POST", url), [(component, {})], "()")
    assert base == f'"{component}": {value}\n"@signature-params": ()'


# draft-meunier-web-bot-auth-architecture, appendix; the key is RFC 9421's
WEB_BOT_AUTH: list[tuple[dict[str, str], str, str]] = [
    (
        {},
        'sig1=("@authority");created=1735689600;keyid="poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U";alg="ed25519"'
        ';expires=4889289600;nonce="zIW8+cdmA3vdYagbxojpONwa/l0EKJ/O3/wD486VvsQjO/RxPaSt6ZxvQaMcQzNnqKN/mQ6hpGiFro2L2qkz5A=="'
        ';tag="web-bot-auth"',
        "QKN4fTdIYfh82fvoZCQiQA1weuozfCS/Led2zTMbewMMqH8PI2Wsy/5c4ao6B6D09nraNQdBNOADg8aM1MqfCg==",
    ),
    (
        {"Signature-Agent": 'agent2="https://signature-agent.test"'},
        'sig2=("@authority" "signature-agent";key="agent2");created=1735689600'
        ';keyid="poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U";alg="ed25519";expires=4889289600'
        ';nonce="n9p433xm+NJ3ph3upfBIGmsuwHw387YV7Q/F+6BSpGCVjYCqQw6rznNA8PVVLySrAWsv0hQtFioQb6E1YsauiA=="'
        ';tag="web-bot-auth"',
        "RdNFx5Bj6au3YgAMQL/RzmUlZE8QZLIaXGRpw985hWnwPfMxT228NMk6ehRS1PSl4e8PhbNZACSanGdhEwYCCg==",
    ),
]


@pytest.mark.parametrize(("headers", "signature_input", "signature"), WEB_BOT_AUTH)
def test_web_bot_auth(headers: dict[str, str], signature_input: str, signature: str) -> None:
    request = Request.of("GET", "https://example.com/path/to/resource", headers)
    base = base_of(request, signature_input)
    assert TEST_KEY.public.verify(base.encode(), b64decode(signature))
    assert TEST_KEY.sign(base.encode()) == b64decode(signature)


def test_rfc_9530_content_digest() -> None:
    assert content_digest(b'{"hello": "world"}') == "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"


class OneKey(HTTPSignatureKeyResolver):
    def resolve_private_key(self, key_id: str) -> Any:
        return Ed25519PrivateKey.from_private_bytes(TEST_KEY.seed)

    def resolve_public_key(self, key_id: str) -> Any:
        return self.resolve_private_key(key_id).public_key()


PROFILE = ("@method", "@authority", "@path", "@query")


def right_now() -> datetime:
    """The other library reads the machine's clock, so these signatures are made at its time."""
    return datetime.now(UTC)


@pytest.mark.parametrize(
    ("method", "url", "headers", "body"),
    [
        ("GET", "https://relay.example/v1/schedules?limit=5", {}, None),
        ("POST", "https://relay.example/v1/schedules", {"Idempotency-Key": "once-1"}, b'{"a": 1}'),
        ("DELETE", "http://127.0.0.1:8080/v1/schedules/sch_1", {"Idempotency-Key": "once-2"}, None),
    ],
)
def test_an_independent_signer_is_understood(
    method: str, url: str, headers: dict[str, str], body: bytes | None
) -> None:
    now = right_now()
    message = SimpleNamespace(method=method, url=url, headers=dict(headers))
    components = [*PROFILE, *(["content-digest"] if body else []), *(["idempotency-key"] if headers else [])]
    HTTPMessageSigner(signature_algorithm=ED25519, key_resolver=OneKey()).sign(
        message,
        key_id=TEST_KEY.public.keyid,
        created=now,
        expires=now + timedelta(seconds=60),
        nonce="nonce-of-theirs",
        tag="tocsin-v1",
        covered_component_ids=components,
        body=body,
    )
    request = Request.of(method, url, message.headers, body or b"")
    assert verify(request, TEST_KEY.public, now=now).nonce == "nonce-of-theirs"


def test_an_independent_verifier_understands_us() -> None:
    now = right_now()
    url, body = "https://relay.example/v1/schedules?limit=5", b'{"a": 1}'
    request = Request.of("POST", url, {"Idempotency-Key": "once-1"}, body)
    headers = {"Idempotency-Key": "once-1"} | sign(
        request, TEST_KEY, created=now, expires=now + timedelta(seconds=60), nonce="nonce-of-ours"
    )
    message = SimpleNamespace(method="POST", url=url, headers=headers)
    verifier = HTTPMessageVerifier(signature_algorithm=ED25519, key_resolver=OneKey())
    [result] = verifier.verify(message, expect_tag="tocsin-v1", body=body)
    assert result.nonce == "nonce-of-ours"
