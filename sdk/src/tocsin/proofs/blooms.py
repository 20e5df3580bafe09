"""The bloom of logs: 2,048 bits, three of them set for each address and each topic. A bit may stand for several."""

from collections.abc import Iterable

from tocsin.proofs.keccak import keccak

__all__ = ["bloom"]

bloom_bytes = 256


def bloom(addresses_and_topics: Iterable[bytes]) -> bytes:
    """The bloom of logs with these addresses and topics. The bloom of a block is that of all its logs."""
    bits = 0
    # Logs of one block have much in common.
    for value in set(addresses_and_topics):
        hashed = keccak(value)
        for place in (0, 2, 4):
            bits |= 1 << (int.from_bytes(hashed[place : place + 2], "big") & 2047)
    return bits.to_bytes(bloom_bytes, "big")
