"""Whatever is signed verifies, and nothing else does."""

from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.keys import PrivateKey
from tocsin.problems import BadRequest, Unauthorized
from tocsin.signatures import Request, joined, parse, sign, verify

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)

visible = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40)
nonces = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=8, max_size=128)
keys = st.binary(min_size=32, max_size=32).map(PrivateKey.from_seed)
requests = st.builds(
    Request,
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    authority=visible.map(str.lower),
    path=visible.map(lambda text: "/" + text),
    query=visible | st.just(""),
    fields=st.dictionaries(st.sampled_from(["idempotency-key", "if-match", "if-none-match", "accept"]), visible),
    body=st.binary(max_size=200),
)


def signed(request: Request, key: PrivateKey, nonce: str) -> Request:
    added = sign(request, key, created=NOW, expires=NOW + timedelta(seconds=60), nonce=nonce)
    return replace(request, fields={**request.fields, **joined(added.items())})


@given(requests, keys, nonces)
def test_what_is_signed_verifies(request: Request, key: PrivateKey, nonce: str) -> None:
    signature = verify(signed(request, key, nonce), key.public, now=NOW)
    assert (signature.nonce, signature.keyid) == (nonce, key.public.keyid)


@given(requests, requests, keys, nonces, st.sampled_from(["method", "authority", "path", "query", "body"]))
def test_any_altered_part_is_refused(request: Request, other: Request, key: PrivateKey, nonce: str, part: str) -> None:
    before, after = getattr(request, part), getattr(other, part)
    if before != after:
        altered = replace(signed(request, key, nonce), **{part: after})
        with pytest.raises(Unauthorized):
            verify(altered, key.public, now=NOW)


@given(requests, keys, nonces, st.integers(0, 511))
def test_any_flipped_bit_of_the_signature_is_refused(request: Request, key: PrivateKey, nonce: str, bit: int) -> None:
    arrived = signed(request, key, nonce)
    value = bytearray(parse(arrived).value)
    value[bit // 8] ^= 1 << bit % 8
    altered = {**arrived.fields, "signature": f"sig=:{b64encode(value).decode()}:"}
    with pytest.raises(Unauthorized):
        verify(replace(arrived, fields=altered), key.public, now=NOW)


@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=200))
def test_no_header_crashes_the_parser(signature_input: str, signature: str, digest: str) -> None:
    fields = {"signature-input": signature_input, "signature": signature, "content-digest": digest}
    request = Request("POST", "relay.example", "/", "", fields, b"{}")
    with pytest.raises((Unauthorized, BadRequest)):
        parse(request)


@given(st.text(st.sampled_from('sig=()"@method;tag=\\,:1A tocsin-v1'), max_size=80))
def test_no_near_miss_crashes_the_parser(text: str) -> None:
    request = Request(
        "GET", "relay.example", "/", "", {"signature-input": f'sig=({text});tag="tocsin-v1"', "signature": text}
    )
    with pytest.raises((Unauthorized, BadRequest)):
        parse(request)
