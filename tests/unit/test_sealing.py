"""Sealing: what opens, and what does not."""

import pytest

from app.kit.sealing import BrokenSeal, Keyring, Sealed, SecretKey, UnknownSecretKey

OLD, NEW = SecretKey(bytes(32)), SecretKey(bytes(range(32)))
SECRET = b"whsec_do-not-show-me"


def test_what_was_sealed_opens_for_the_same_purpose_and_owner() -> None:
    ring = Keyring(NEW)
    assert ring.open(ring.seal(SECRET, "endpoint secret", "ep_1"), "endpoint secret", "ep_1") == SECRET


@pytest.mark.parametrize(("purpose", "owner"), [("endpoint secret", "ep_2"), ("endpoint headers", "ep_1")])
def test_a_sealed_text_that_was_moved_does_not_open(purpose: str, owner: str) -> None:
    ring = Keyring(NEW)
    with pytest.raises(BrokenSeal):
        ring.open(ring.seal(SECRET, "endpoint secret", "ep_1"), purpose, owner)


@pytest.mark.parametrize("change", [lambda t: t[:-8] + "AAAAAAA=", lambda t: t[:40], lambda t: "", lambda t: "?" + t])
def test_a_changed_text_does_not_open(change) -> None:
    ring = Keyring(NEW)
    key, text = ring.seal(SECRET, "endpoint secret", "ep_1")
    with pytest.raises(BrokenSeal):
        ring.open(Sealed(key, change(text)), "endpoint secret", "ep_1")


def test_the_same_secret_is_sealed_to_another_text_each_time() -> None:
    ring = Keyring(NEW)
    assert ring.seal(SECRET, "endpoint secret", "ep_1") != ring.seal(SECRET, "endpoint secret", "ep_1")


def test_a_key_before_opens_what_it_sealed_and_seals_nothing_more() -> None:
    sealed = Keyring(OLD).seal(SECRET, "endpoint secret", "ep_1")
    ring = Keyring(NEW, [OLD])
    assert ring.open(sealed, "endpoint secret", "ep_1") == SECRET
    assert ring.seal(SECRET, "endpoint secret", "ep_1").key == NEW.id != sealed.key


def test_a_key_that_is_not_given_is_named() -> None:
    sealed = Keyring(OLD).seal(SECRET, "endpoint secret", "ep_1")
    with pytest.raises(UnknownSecretKey, match=OLD.id):
        Keyring(NEW).open(sealed, "endpoint secret", "ep_1")


def test_a_key_is_written_and_read_in_one_way_only() -> None:
    key = SecretKey.new()
    assert SecretKey.parse(key.text + "\n").id == key.id
    for other in (key.text + "A", key.text[:-1], key.text.removeprefix("sealkey_"), "", "x", key.text + "="):
        with pytest.raises(ValueError, match="43 characters") as refused:
            SecretKey.parse(other)
        assert len(other) < 9 or other not in str(refused.value)


def test_a_key_does_not_show_itself() -> None:
    key = SecretKey.new()
    shown = f"{key!r} {key} {Keyring(key)!r}"
    assert key.text not in shown
    assert key.id in shown
