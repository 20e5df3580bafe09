"""Keys: their names, their files, and which of them are refused."""

import base64
from pathlib import Path

import pytest

from tocsin.keys import PrivateKey, PublicKey, base64url, unbase64url
from tocsin.problems import InvalidKey

KEY = PrivateKey.from_seed(bytes(range(32)))


def test_a_key_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "key"
    KEY.save(path)
    assert PrivateKey.load(path).seed == KEY.seed
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_key_file_may_be_named_by_a_string(tmp_path: Path) -> None:
    key = PrivateKey.generate()
    key.save(str(tmp_path / "key"))
    assert PrivateKey.load(str(tmp_path / "key")).seed == key.seed


def test_a_key_file_is_never_replaced(tmp_path: Path) -> None:
    KEY.save(tmp_path / "key")
    with pytest.raises(FileExistsError):
        PrivateKey.generate().save(tmp_path / "key")
    assert PrivateKey.load(tmp_path / "key").seed == KEY.seed


def test_the_seed_is_not_in_the_representation() -> None:
    assert KEY.text not in repr(KEY)
    assert str(KEY.seed) not in repr(KEY)


@pytest.mark.parametrize("text", ["", "x", "ä", KEY.text[:-1], KEY.text + "A", KEY.public.keyid + "="])
def test_a_garbled_private_key_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match="43 base64url characters"):
        PrivateKey.from_text(text)


def test_a_public_key_is_read_from_a_jwk_or_base64url() -> None:
    assert PublicKey.parse(KEY.public.jwk) == PublicKey.parse(KEY.public.jwk["x"]) == KEY.public


REFUSED = [
    ("", "32 bytes"),
    (base64url(bytes(31)), "32 bytes"),
    (base64url(bytes(33)), "32 bytes"),
    # small order: the neutral element, a point of order 2, zero (order 4)
    (base64url(bytes([1]) + bytes(31)), "prime order"),
    (base64url(bytes([0xEC]) + b"\xff" * 30 + b"\x7f"), "prime order"),
    (base64url(bytes(32)), "prime order"),
    # not canonical: y = p + 1
    (base64url(bytes([0xEE]) + b"\xff" * 30 + b"\x7f"), "prime order"),
    # not on the curve
    (base64url(bytes([2]) + bytes(31)), "prime order"),
    # base64, not base64url; padded; trailing bits that are not zero
    (base64.b64encode(b"\xfb" * 32).decode(), "base64url"),
    (KEY.public.jwk["x"] + "=", "base64url"),
    (KEY.public.jwk["x"][:-1] + "B", "base64url"),
    ({}, "public JWK"),
    ({"kty": "EC", "crv": "P-256", "x": "AA"}, "public JWK"),
    ({"kty": "OKP", "crv": "Ed25519", "x": 5}, "public JWK"),
    (KEY.public.jwk | {"d": "secret"}, "private part"),
]


@pytest.mark.parametrize(("key", "reason"), REFUSED)
def test_a_public_key_that_two_verifiers_could_judge_differently_is_refused(key: object, reason: str) -> None:
    with pytest.raises(InvalidKey, match=reason):
        PublicKey.parse(key)  # type: ignore[arg-type]


def test_a_key_of_mixed_order_is_refused() -> None:
    from nacl.bindings import crypto_core_ed25519_add

    order_two = bytes([0xEC]) + b"\xff" * 30 + b"\x7f"
    with pytest.raises(InvalidKey, match="prime order"):
        PublicKey(crypto_core_ed25519_add(KEY.public.raw, order_two))


def test_a_signature_is_over_exactly_these_bytes() -> None:
    signature = KEY.sign(b"message")
    assert KEY.public.verify(b"message", signature)
    assert not KEY.public.verify(b"messagE", signature)
    assert not KEY.public.verify(b"message", signature[:-1])
    assert not KEY.public.verify(b"message", b"")
    assert not PrivateKey.generate().public.verify(b"message", signature)


def test_base64url_has_one_spelling() -> None:
    assert unbase64url(base64url(b"\xfb\xff")) == b"\xfb\xff"
    for text in ["-_8=", "+/8", "-_9", "-_8 ", "-_8\n", "A"]:
        with pytest.raises(InvalidKey):
            unbase64url(text)
