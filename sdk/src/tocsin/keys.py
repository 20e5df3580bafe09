"""Ed25519 keys: what an agent is.

>>> key = PrivateKey.from_seed(bytes(32))
>>> key.public.keyid
'9ZP03Nu8GrXPAUkbKNxHOKBzxPX83SShgFkRNK-f2lw'
>>> key.public.verify(b"hello", key.sign(b"hello"))
True

An agent's `keyid` is the RFC 7638 thumbprint of its public JWK, so it can be computed by anybody who has the key.
A public key is refused unless it is the canonical encoding of a point of prime order: two honest verifiers never
disagree about a signature by such a key.
"""

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nacl.bindings import crypto_core_ed25519_is_valid_point, crypto_sign, crypto_sign_BYTES
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from tocsin.problems import InvalidKey

__all__ = ["PrivateKey", "PublicKey", "base64url", "rotation_statement", "unbase64url"]


@dataclass(frozen=True)
class PublicKey:
    """A public key that is safe to verify with."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != 32:
            raise InvalidKey.at("", f"an Ed25519 public key has 32 bytes, this one {len(self.raw)}")
        if not crypto_core_ed25519_is_valid_point(self.raw):
            raise InvalidKey.at("", "this is not the canonical encoding of a point of prime order")

    @classmethod
    def parse(cls, key: str | Mapping[str, Any]) -> "PublicKey":
        """A key given as public JWK or as its 32 bytes in base64url."""
        if isinstance(key, str):
            return cls(unbase64url(key))
        if "d" in key:
            raise InvalidKey.at("/d", "this is the private part: never send it, and use another key from now on")
        if key.get("kty") != "OKP" or key.get("crv") != "Ed25519" or not isinstance(key.get("x"), str):
            raise InvalidKey.at("", 'a public JWK of Ed25519 has "kty": "OKP", "crv": "Ed25519" and "x"')
        return cls(unbase64url(key["x"]))

    @cached_property
    def keyid(self) -> str:
        """The RFC 7638 thumbprint."""
        canonical = f'{{"crv":"Ed25519","kty":"OKP","x":"{base64url(self.raw)}"}}'
        return base64url(hashlib.sha256(canonical.encode()).digest())

    @property
    def jwk(self) -> dict[str, str]:
        """The public JWK (RFC 8037)."""
        return {"kty": "OKP", "crv": "Ed25519", "x": base64url(self.raw)}

    @cached_property
    def _verifier(self) -> VerifyKey:
        return VerifyKey(self.raw)

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether the signature is this key's over exactly these bytes, as strict as libsodium is."""
        if len(signature) != crypto_sign_BYTES:
            return False
        try:
            self._verifier.verify(message, signature)
        except BadSignatureError:
            return False
        return True


@dataclass(frozen=True)
class PrivateKey:
    """A private key, kept as its 32-byte seed."""

    _signer: SigningKey

    @classmethod
    def generate(cls) -> "PrivateKey":
        """A new key from the operating system's randomness."""
        return cls(SigningKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> "PrivateKey":
        if len(seed) != 32:
            raise ValueError(f"an Ed25519 seed has 32 bytes, this one {len(seed)}")
        return cls(SigningKey(seed))

    @classmethod
    def from_text(cls, text: str) -> "PrivateKey":
        """A key as `text` writes it: its seed in base64url."""
        try:
            return cls.from_seed(unbase64url(text.strip()))
        except (InvalidKey, ValueError):
            raise ValueError("a private key is written as the 43 base64url characters of its seed") from None

    @classmethod
    def load(cls, path: Path | str) -> "PrivateKey":
        """The key in a file that `save` wrote."""
        return cls.from_text(Path(path).read_text(encoding="ascii"))

    def save(self, path: Path | str) -> None:
        """Write the key where only its owner can read it. An existing file is never replaced: it may be a live key."""
        path = Path(path)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(self.text + "\n")

    @property
    def seed(self) -> bytes:
        return bytes(self._signer)

    @property
    def text(self) -> str:
        """The seed in base64url. Whoever has it is you."""
        return base64url(self.seed)

    @cached_property
    def public(self) -> PublicKey:
        return PublicKey(bytes(self._signer.verify_key))

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature over exactly these bytes."""
        # Not by the signer: what that wraps around a signature costs a tenth of it.
        return crypto_sign(message, self._seed_and_public)[:crypto_sign_BYTES]

    @cached_property
    def _seed_and_public(self) -> bytes:
        """The key as libsodium signs with it."""
        return self.seed + self.public.raw

    def __repr__(self) -> str:
        return f"PrivateKey(keyid={self.public.keyid!r})"


def rotation_statement(agent_id: str, old_keyid: str, new_keyid: str) -> bytes:
    """What the new key signs when an agent rotates to it; the request itself is signed by the old one.

    It names both keys and the agent, so it can serve no other rotation.
    """
    return f"tocsin-rotation/v1\n{agent_id}\n{old_keyid}\n{new_keyid}\n".encode()


def base64url(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unbase64url(text: str) -> bytes:
    """The bytes, of their one canonical spelling without padding only."""
    if re.fullmatch(r"[A-Za-z0-9_-]*", text) and len(text) <= 1024:
        try:
            data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except binascii.Error:
            data = b""
        if base64url(data) == text:
            return data
    raise InvalidKey.at("", "this is not base64url without padding")
