"""Which signed requests are accepted, and what the refusals of the others say."""

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tocsin.keys import PrivateKey
from tocsin.problems import InvalidSignature, MalformedSignature, MissingSignature, Problem, SignatureExpired
from tocsin.signatures import Request, Signature, authority_of, joined, parse, sign, verify

KEY = PrivateKey.from_seed(bytes(range(32)))
NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
BODY = b'{"cron": "0 9 * * *"}'
WRITE = Request.of("POST", "https://relay.example/v1/schedules?a=1", {"Idempotency-Key": "once-1"}, BODY)
READ = Request.of("GET", "https://relay.example/v1/schedules")


def signed(request: Request = WRITE, *, created: int = 0, expires: int = 60, nonce: str = "nonce-123") -> Request:
    added = sign(
        request,
        KEY,
        created=NOW + timedelta(seconds=created),
        expires=NOW + timedelta(seconds=expires),
        nonce=nonce,
    )
    return with_fields(request, added)


def with_fields(request: Request, more: Mapping[str, str]) -> Request:
    return replace(request, fields={**request.fields, **joined(more.items())})


def accepted(request: Request) -> Signature:
    return verify(request, KEY.public, now=NOW, authorities={"relay.example"})


def refused(request: Request, kind: type[Problem] = InvalidSignature) -> Problem:
    with pytest.raises(kind) as refusal:
        accepted(request)
    assert type(refusal.value) is kind
    return refusal.value


@pytest.mark.parametrize("request_", [READ, WRITE, replace(WRITE, body=b""), replace(READ, path="/%C3")])
def test_what_was_signed_is_accepted(request_: Request) -> None:
    signature = accepted(signed(request_))
    assert signature.keyid == KEY.public.keyid
    assert signature.nonce == "nonce-123"
    assert signature.nonce_until == NOW + timedelta(seconds=120)


def test_the_base_is_the_profile_line_by_line() -> None:
    arrived = signed()
    assert parse(arrived).base.split("\n") == [
        '"@method": POST',
        '"@authority": relay.example',
        '"@path": /v1/schedules',
        '"@query": ?a=1',
        f'"content-digest": {arrived.fields["content-digest"]}',
        '"idempotency-key": once-1',
        '"@signature-params": ("@method" "@authority" "@path" "@query" "content-digest" "idempotency-key")'
        f';created={int(NOW.timestamp())};expires={int(NOW.timestamp()) + 60};nonce="nonce-123"'
        f';keyid="{KEY.public.keyid}";alg="ed25519";tag="tocsin-v1"',
    ]


def test_a_read_without_query_signs_a_question_mark_and_no_digest() -> None:
    arrived = signed(READ)
    assert '"@query": ?\n' in parse(arrived).base
    assert "content-digest" not in arrived.fields


CHANGED: list[tuple[str, Callable[[Request], Request]]] = [
    ("@method", lambda r: replace(r, method="PUT")),
    ("@path", lambda r: replace(r, path="/v1/schedules/")),
    ("@query", lambda r: replace(r, query="")),
    ("@authority", lambda r: replace(r, authority="other.example")),
    ("content-digest", lambda r: replace(r, body=BODY + b" ")),
    ("content-digest", lambda r: replace(r, body=b"")),
    ("idempotency-key", lambda r: with_fields(r, {"Idempotency-Key": '"once-1"'})),
]


@pytest.mark.parametrize(("component", "change"), CHANGED)
def test_a_refusal_names_the_component_that_differed(component: str, change: Callable[[Request], Request]) -> None:
    # "@query" became "?" from "?a=1", which nothing can guess; the base is there to compare.
    guessable = component != "@query"
    problem = refused(change(signed()))
    assert problem.extras["component"] == (component if guessable else None)
    assert problem.extras["signature_base"].startswith('"@method": ')
    assert problem.status == 401


MISTAKES = [
    ("@query", {"query": "a=1"}, '"@query": ?a=1', '"@query": a=1'),
    ("@authority", {}, '"@authority": relay.example', '"@authority": relay.example:443'),
    ("@path", {"path": "/a%20b"}, '"@path": /a%20b', '"@path": /a b'),
    ("@method", {}, '"@method": GET', '"@method": get'),
]


@pytest.mark.parametrize(("component", "request_", "right", "wrong"), MISTAKES)
def test_a_clients_usual_mistake_is_recognised(
    component: str, request_: dict[str, Any], right: str, wrong: str
) -> None:
    arrived = signed(replace(READ, **request_))
    base = parse(arrived).base
    assert right in base
    value = KEY.sign(base.replace(right, wrong).encode())
    problem = refused(with_signature(arrived, value))
    assert problem.extras["component"] == component


def with_signature(request: Request, value: bytes) -> Request:
    return with_fields_replaced(request, {"signature": f"sig=:{b64encode(value).decode()}:"})


def with_fields_replaced(request: Request, fields: Mapping[str, str | None]) -> Request:
    kept = {**request.fields, **fields}
    return replace(request, fields={name: value for name, value in kept.items() if value is not None})


@pytest.mark.parametrize("name", ["Idempotency-Key", "If-Match", "If-None-Match"])
def test_a_header_that_must_be_covered_cannot_be_added_or_taken_away_later(name: str) -> None:
    problem = refused(with_fields(signed(READ), {name: "x"}))
    assert problem.extras["component"] == name.lower()
    assert f'"{name.lower()}": x' in problem.extras["signature_base"]
    arrived = signed(with_fields(READ, {name: "x"}))
    assert refused(with_fields_replaced(arrived, {name.lower(): None})).extras["component"] == name.lower()


def test_conditions_are_covered_after_the_idempotency_key_in_a_fixed_order() -> None:
    conditions = {"If-None-Match": "*", "If-Match": '"3"'}
    assert parse(signed(with_fields(WRITE, conditions))).base.split("\n")[5:8] == [
        '"idempotency-key": once-1',
        '"if-match": "3"',
        '"if-none-match": *',
    ]


def test_a_body_that_nobody_digested_is_refused() -> None:
    assert refused(replace(signed(READ), body=BODY)).extras["component"] == "content-digest"


def test_another_key_does_not_verify() -> None:
    with pytest.raises(InvalidSignature, match="thumbprint"):
        verify(signed(), PrivateKey.generate().public, now=NOW)


TIMES = [
    # created, expires, accepted
    (0, 60, True),
    (60, 120, True),  # the client's clock is a minute ahead
    (61, 121, False),
    (-119, -59, True),  # nearly a minute behind
    (-120, -60, False),  # from now on its nonce may be forgotten
    (0, 300, True),
    (0, 301, False),
    (0, 0, False),
    (0, -1, False),
]


@pytest.mark.parametrize(("created", "expires", "good"), TIMES)
def test_time_has_a_minute_of_slack_and_a_signature_five_minutes_of_life(
    created: int, expires: int, good: bool
) -> None:
    arrived = signed(created=created, expires=expires)
    if good:
        accepted(arrived)
    else:
        refused(arrived, SignatureExpired)


def test_other_signatures_beside_ours_are_ignored() -> None:
    arrived = signed()
    both = with_fields_replaced(
        arrived,
        {
            "signature-input": f'bot=("@authority");created=1;tag="web-bot-auth", {arrived.fields["signature-input"]}',
            "signature": f"bot=:AAAA:, {arrived.fields['signature']}",
        },
    )
    accepted(both)


INPUT = signed().fields["signature-input"]
SIGNATURE = signed().fields["signature"]
HEADERS: list[tuple[type[Problem], dict[str, str | None]]] = [
    (MissingSignature, {"signature-input": None}),
    (MissingSignature, {"signature": None}),
    (MissingSignature, {"signature-input": ""}),
    (MissingSignature, {"signature-input": INPUT.replace("tocsin-v1", "web-bot-auth")}),
    (MissingSignature, {"signature-input": "sig=1"}),
    (MalformedSignature, {"signature-input": "sig=("}),
    (MalformedSignature, {"signature-input": 'sig=1;tag="tocsin-v1"'}),
    (MalformedSignature, {"signature-input": 'sig=(1 2);tag="tocsin-v1"'}),
    (MalformedSignature, {"signature-input": 'sig=(:AAAA: token);tag="tocsin-v1"'}),
    (MalformedSignature, {"signature-input": INPUT + ', b=("@method");tag="tocsin-v1"'}),
    (MalformedSignature, {"signature-input": f"{INPUT}, {INPUT}"}),  # the same label twice
    (MalformedSignature, {"signature-input": INPUT + ";created=1"}),  # the same parameter twice
    (MalformedSignature, {"signature-input": INPUT + ";extra=1"}),
    (MalformedSignature, {"signature-input": INPUT + ";x" * 4000}),
    (MalformedSignature, {"signature-input": "ä"}),
    (MalformedSignature, {"signature-input": INPUT.replace("ed25519", "hmac-sha256")}),
    (MalformedSignature, {"signature-input": INPUT.replace('"ed25519"', "ed25519")}),
    (MalformedSignature, {"signature-input": INPUT.replace("created=1", "created=1.")}),
    (MalformedSignature, {"signature-input": INPUT.replace("created=", "created=-")}),
    (MalformedSignature, {"signature-input": INPUT.replace("created=", "created=99999")}),
    (MalformedSignature, {"signature-input": INPUT.replace('nonce="nonce-123"', 'nonce="short"')}),
    (MalformedSignature, {"signature-input": INPUT.replace('nonce="nonce-123"', f'nonce="{"n" * 129}"')}),
    (MalformedSignature, {"signature-input": INPUT.replace(';nonce="nonce-123"', "")}),
    (MalformedSignature, {"signature": "sig=1"}),
    (MalformedSignature, {"signature": "sig=:AAAA:"}),
    (MalformedSignature, {"signature": "other" + SIGNATURE}),
    (MalformedSignature, {"content-digest": "sha-256=("}),
    (InvalidSignature, {"content-digest": "sha-256"}),
    (InvalidSignature, {"signature-input": INPUT.replace('"@query" ', "")}),
    (InvalidSignature, {"signature-input": INPUT.replace('"@query"', '"@query";req')}),
    (InvalidSignature, {"signature-input": INPUT.replace('"@method" "@authority"', '"@authority" "@method"')}),
    (InvalidSignature, {"signature-input": INPUT.replace('"@method"', '"@method" "@method"')}),
    (InvalidSignature, {"signature-input": INPUT.replace("nonce-123", "nonce-124")}),
    (InvalidSignature, {"content-digest": "sha-512=:AAAA:"}),
    (InvalidSignature, {"content-digest": "sha-256=1"}),
    (InvalidSignature, {"content-digest": "sha-256=:AAAA:"}),
    (InvalidSignature, {"content-digest": None}),
]


@pytest.mark.parametrize(("kind", "fields"), HEADERS)
def test_odd_headers_are_refused_and_never_crash(kind: type[Problem], fields: dict[str, str | None]) -> None:
    refused(with_fields_replaced(signed(), fields), kind)


@pytest.mark.parametrize("path", ["/ä", "/a\nb", "/a\x7f", "/\x00"])
def test_a_component_that_cannot_stand_in_a_base_is_refused(path: str) -> None:
    refused(replace(signed(), path=path), MalformedSignature)


@pytest.mark.parametrize(
    ("host", "scheme", "authority"),
    [
        ("Relay.Example", "https", "relay.example"),
        ("relay.example:443", "https", "relay.example"),
        ("relay.example:80", "http", "relay.example"),
        ("relay.example:80", "https", "relay.example:80"),
        ("[::1]:8080", "http", "[::1]:8080"),
    ],
)
def test_an_authority_is_lower_case_without_the_default_port(host: str, scheme: str, authority: str) -> None:
    assert authority_of(host, scheme) == authority


def test_a_request_is_read_from_its_url() -> None:
    request = Request.of("GET", "HTTPS://user@Relay.Example:443?x=1&x=2", [("A", "1 "), ("a", "2")])
    assert (request.authority, request.path, request.query, request.scheme) == (
        "relay.example",
        "/",
        "x=1&x=2",
        "https",
    )
    assert request.fields == {"a": "1, 2"}
