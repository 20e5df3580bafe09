"""Secrets at rest: sealed by libsodium's secretbox, under a key that is not in the database.

>>> ring = Keyring(SecretKey.new())
>>> sealed = ring.seal(b"whsec_", "endpoint secret", "ep_1")
>>> ring.open(sealed, "endpoint secret", "ep_1")
b'whsec_'

What is sealed says inside what it is for and whose, so that a text that is moved to another row does not open there.
Beside it stands the id of the key that sealed it, so that keys can follow one another.
"""

import hashlib
import os
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from typing import NamedTuple, Self

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

__all__ = ["BrokenSeal", "Keyring", "SealError", "Sealed", "SecretKey", "UnknownSecretKey"]

prefix = "sealkey_"
context_bytes = 16


class SealError(Exception):
    """Something sealed does not open here."""


class UnknownSecretKey(SealError):
    """It was sealed with a key that this process has not been given."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"sealed with the key {key_id}, which is not given here")
        self.key_id = key_id


class BrokenSeal(SealError):
    """It was changed, or it is another's, or sealed for another purpose."""


class SecretKey:
    """The 32 bytes that seal. Shown by its id only; `text` is the key itself."""

    def __init__(self, raw: bytes) -> None:
        if len(raw) != SecretBox.KEY_SIZE:
            raise ValueError(f"a secret key has {SecretBox.KEY_SIZE} bytes")
        self.box = SecretBox(raw)
        self.id = hashlib.sha256(b"tocsin secret key\n" + raw).hexdigest()[:12]

    @classmethod
    def new(cls) -> Self:
        return cls(os.urandom(SecretBox.KEY_SIZE))

    @classmethod
    def parse(cls, text: str) -> Self:
        """The key that `text` wrote; ValueError, which does not repeat it, if it is none."""
        text = text.strip()
        try:
            key = cls(urlsafe_b64decode(text.removeprefix(prefix) + "="))
        except ValueError:
            key = None
        # One spelling only: with another one, the same key would seem to be two.
        if key is None or key.text != text:
            raise ValueError(f"a secret key is {prefix} and 43 characters; `tocsin new-secret-key` makes one") from None
        return key

    @property
    def text(self) -> str:
        """Whoever has it opens what it sealed."""
        return prefix + urlsafe_b64encode(bytes(self.box)).rstrip(b"=").decode()

    def __repr__(self) -> str:
        return f"SecretKey(id={self.id!r})"


class Sealed(NamedTuple):
    """A sealed text, and the id of the key that opens it."""

    key: str
    text: str


class Keyring:
    """The key that seals, and those before it, which still open what they sealed."""

    def __init__(self, current: SecretKey, before: Iterable[SecretKey] = ()) -> None:
        self._current = current
        self._keys = {key.id: key for key in (*before, current)}

    @property
    def current(self) -> str:
        """The id of the key that seals."""
        return self._current.id

    def knows(self, key_id: str) -> bool:
        """Whether what this key sealed opens here."""
        return key_id in self._keys

    def seal(self, secret: bytes, purpose: str, owner: str) -> Sealed:
        """Seal this for one purpose and one owner. The same again is another text: each has a nonce of its own."""
        return Sealed(self.current, b64encode(self._current.box.encrypt(_context(purpose, owner) + secret)).decode())

    def open(self, sealed: Sealed, purpose: str, owner: str) -> bytes:
        """What was sealed for this purpose and owner. Raises SealError."""
        if (key := self._keys.get(sealed.key)) is None:
            raise UnknownSecretKey(sealed.key)
        context = _context(purpose, owner)
        try:
            opened = key.box.decrypt(b64decode(sealed.text, validate=True))
        except (CryptoError, ValueError):
            raise BrokenSeal(f"the sealed {purpose} of {owner} has been changed") from None
        if opened[:context_bytes] != context:
            raise BrokenSeal(f"what stands for the {purpose} of {owner} was sealed as something else")
        return opened[context_bytes:]

    def __repr__(self) -> str:
        return f"Keyring(current={self.current!r}, keys={sorted(self._keys)!r})"


def _context(purpose: str, owner: str) -> bytes:
    """In front of what is sealed, as secretbox has no associated data; of fixed length, so that its end is plain."""
    return hashlib.blake2b(f"{purpose}\0{owner}".encode(), digest_size=context_bytes).digest()
