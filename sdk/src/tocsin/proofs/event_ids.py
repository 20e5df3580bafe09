"""The id of an event on a chain: a hash of where its log is, so that whoever saw it gives it the same one."""

import hashlib

__all__ = ["event_id"]

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"


def event_id(chain: str, block_hash: str, transaction_index: int, log_index: int) -> str:
    """The id of the log at this place: a CAIP-2 chain, `0x…` in lower case, and the two indices from 0."""
    hashed = hashlib.sha256()
    for part in (chain, block_hash, str(transaction_index), str(log_index)):
        hashed.update(len(part.encode()).to_bytes(4, "big") + part.encode())
    number = int.from_bytes(hashed.digest()[:16], "big")
    return "evt_" + "".join(_DIGITS[number >> shift & 31] for shift in range(125, -1, -5))
