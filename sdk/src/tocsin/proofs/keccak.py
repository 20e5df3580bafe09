"""Keccak-256 as Ethereum uses it: with the padding that it had before it became SHA-3."""

from typing import Protocol, cast

try:
    import sha3  # pyright: ignore[reportMissingTypeStubs]
except ImportError as missing:
    raise ImportError("tocsin.proofs needs Keccak-256: pip install tocsin[proofs]") from missing

__all__ = ["keccak"]


class _Digest(Protocol):
    def digest(self) -> bytes: ...


class _New(Protocol):
    def __call__(self, data: bytes, /) -> _Digest: ...


_new = cast(_New, sha3.keccak_256)  # pyright: ignore[reportUnknownMemberType]


def keccak(data: bytes) -> bytes:
    """The 32 bytes that stand for these."""
    return _new(data).digest()
