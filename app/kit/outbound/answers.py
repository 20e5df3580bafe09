"""What comes back from a request to a stranger: an answer, or why there is none; and how long each part of it took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

__all__ = ["Answer", "Category", "Fault", "Headers", "Timings", "milliseconds", "no_time"]

Category = Literal[
    "bad_url",  # not a URL that we would call
    "https_required",  # plain http is for networks that the operator listed
    "no_public_address",  # does not resolve, or resolves to an address that we do not call
    "connection_failed",  # nobody accepted the connection
    "connection_lost",  # closed or reset before the answer was complete; a 2xx counts only when its body ended
    "tls_error",  # no common TLS version, a certificate that does not prove the name, or a handshake broken off
    "bad_response",  # not HTTP, or headers beyond our limits
    "timeout",  # the deadline passed before the answer was complete
]


class Timings(NamedTuple):
    """Whole milliseconds per phase; None where a phase did not happen, such as `connect_ms` on an open connection.

    The phase in which a request failed is the last that has a number: how long we waited for what did not come.
    """

    lookup_ms: int | None = None
    connect_ms: int | None = None
    tls_ms: int | None = None
    wait_ms: int | None = None  # from the request to the first byte of the answer
    read_ms: int | None = None


no_time = Timings()


class Answer(NamedTuple):
    """A complete answer: status, headers (names in any case) and the body, cut where it exceeded the limit."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool = False
    timings: Timings = no_time


@dataclass(frozen=True, slots=True)
class Fault:
    """No complete answer, and why. `detail` is for the operator's log, never for the owner of the URL.

    `told` is more than the category says, and for the owner: of an address that stands in the URL itself.
    """

    category: Category
    detail: str = ""
    timings: Timings = field(default=no_time, compare=False)
    told: str = field(default="", compare=False)

    @property
    def refusal(self) -> str:
        """Why a URL is not taken, in words for its owner."""
        if self.category == "https_required":
            return "use https; plain http is for networks that this relay's operator listed"
        # One answer for a name that does not exist and one that is at an address of ours: it would map our network.
        return self.told or "the host does not resolve, or not only to public addresses"


class Headers(Mapping[str, str]):
    """Headers as they arrived, read when somebody asks, which for most answers nobody does.

    Bytes beyond ASCII are read as Latin-1, as HTTP has it, so that no value is unreadable. A name that occurs more
    than once has its values joined by commas.
    """

    __slots__ = ("_raw", "_read")

    def __init__(self, raw: Sequence[tuple[bytes, bytes]]) -> None:
        self._raw = raw
        self._read: dict[str, str] | None = None

    def __getitem__(self, name: str) -> str:
        return self._by_name()[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name())

    def __len__(self) -> int:
        return len(self._by_name())

    def __repr__(self) -> str:
        return f"Headers({self._by_name()!r})"

    def _by_name(self) -> dict[str, str]:
        if self._read is None:
            self._read = {}
            for raw_name, raw_value in self._raw:
                name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1").strip()
                known = self._read.get(name)
                self._read[name] = value if known is None else f"{known}, {value}"
        return self._read


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
