"""The id of an event on a chain: a hash of where it is, so that whoever saw it gives it the same one."""

import hashlib

__all__ = ["event_id"]

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"


def event_id(chain: str, block_hash: str, *place: int) -> str:
    """The id of what is at this place: a CAIP-2 chain, `0x…` in lower case, and for a transaction its index from 0, for
    a log also its index among those of its transaction."""
    hashed = hashlib.sha256()
    for part in (chain, block_hash, *map(str, place)):
        hashed.update(len(part.encode()).to_bytes(4, "big") + part.encode())
    number = int.from_bytes(hashed.digest()[:16], "big")
    return "evt_" + "".join(_DIGITS[number >> shift & 31] for shift in range(125, -1, -5))
