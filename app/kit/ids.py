"""Identifiers: a prefix that says what it names, and 26 characters that sort by time.

`sch_06f2k3v8h4…` is the UUIDv7 of RFC 9562 §5.7 (48-bit milliseconds, then random bits) in Crockford's base 32, lower
case, most significant digit first. A derived id has the same shape, but is a hash: the same parts give the same id.
"""

import hashlib
import re
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
# Two digits at a time: tens of thousands are made a second.
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_SHIFTS = range(120, -1, -10)
_SHAPE = re.compile(rf"[a-z]{{2,4}}_[{_ALPHABET}]{{26}}")


class Ids:
    """Makes identifiers. Milliseconds and random bits come in, so that a simulation can replay them."""

    def __init__(
        self,
        milliseconds: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        random_bits: Callable[[int], int] = secrets.randbits,
    ) -> None:
        self._milliseconds = milliseconds
        self._random_bits = random_bits

    def new(self, prefix: str) -> str:
        """A fresh id such as `sch_06f2k3v8h4zq1n5c7d9e2r6t0y`; ids made later sort later, to the millisecond."""
        random_a, random_b = self._random_bits(12), self._random_bits(62)
        return f"{prefix}_{_encode(self._milliseconds() << 80 | 7 << 76 | random_a << 64 | 2 << 62 | random_b)}"


def derived_id(prefix: str, *parts: str) -> str:
    """The id that these parts always have. Parts are length-prefixed: ("ab", "c") and ("a", "bc") differ."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    return f"{prefix}_{_encode(int.from_bytes(digest.digest()[:16], 'big'))}"


def first_of(prefix: str, moment: datetime) -> str:
    """Where the ids of a millisecond begin: those made earlier sort before it, those made in it or later do not."""
    return f"{prefix}_{_encode(int(moment.timestamp() * 1000) << 80)}"


def moment_of(id: str) -> datetime | None:
    """When an id was made, to the millisecond; None for what is none of ours. A derived id says nothing."""
    if not is_id(id):
        return None
    number = 0
    for digit in id[-26:-16]:  # 50 bits, of which the first two are none
        number = number * 32 + _ALPHABET.index(digit)
    try:
        return datetime.fromtimestamp(number / 1000, UTC)
    except (ValueError, OverflowError):  # after the year 9999
        return None


def is_id(value: str) -> bool:
    """Whether this could be an identifier of ours; what could not is refused before the database is asked."""
    return _SHAPE.fullmatch(value) is not None


def _encode(number: int) -> str:
    """128 bits as 26 digits of base 32."""
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])
