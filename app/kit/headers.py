"""Which headers others may have us send.

Pure, and used twice: where somebody chooses headers for their endpoint, and again where any header is written to a
connection, so that nothing but one header can ever come of a name and a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["BadHeader", "BadHeaders", "check_headers", "header_lines"]

headers_max = 20
header_name_characters_max = 128
header_value_characters_max = 4096
# Of one endpoint. Common servers take no more, and a worker keeps those of thousands of endpoints in memory.
headers_characters_max = 8192

_PRINTABLE = bytes(range(0x20, 0x7F))
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

# The framing of the request and its connection: a second one of these makes two readings of one request.
FRAMING = frozenset(
    {
        *("connection", "content-length", "expect", "host", "http2-settings", "keep-alive", "proxy-connection", "te"),
        *("trailer", "transfer-encoding", "upgrade", "user-agent"),
    }
)

# What says something about the request that only its sender can know, or that somebody on the way acts on.
RESERVED = FRAMING | {
    *("accept-encoding", "baggage", "cdn-loop", "client-ip", "content-digest", "content-encoding", "content-range"),
    *("content-type", "cookie", "cookie2", "date", "digest", "fastly-client-ip", "forwarded", "idempotency-key"),
    *("max-forwards", "metadata", "metadata-flavor", "origin", "range", "repr-digest", "set-cookie", "signature"),
    *("signature-agent", "signature-input", "traceparent", "tracestate", "true-client-ip", "via"),
    *("want-content-digest", "want-repr-digest", "x-client-ip", "x-cluster-client-ip", "x-forwarded", "x-host"),
    *("x-http-method", "x-http-method-override", "x-method-override", "x-original-host", "x-original-url"),
    *("x-originating-ip", "x-real-ip", "x-remote-addr", "x-remote-ip", "x-rewrite-url"),
}
RESERVED_PREFIXES = (
    "access-control-",
    "ce-",  # CloudEvents
    "cf-",
    "if-",
    "payment-",
    "proxy-",
    "sec-",
    "svix-",
    "tocsin-",
    "webhook-",
    "x-aws-ec2-metadata-",
    "x-b3-",
    "x-envoy-",
    "x-forwarded-",
    "x-mcp-",
    "x-payment",
    "x-tocsin-",
)


@dataclass(frozen=True, slots=True)
class BadHeader:
    """One header that cannot be sent. `name` is as it was given, so that it can be pointed at."""

    name: str
    reason: str


class BadHeaders(ValueError):
    """These headers cannot be sent along. `found` says which, and why; where `name` is empty, it is all of them."""

    def __init__(self, found: tuple[BadHeader, ...]) -> None:
        super().__init__("; ".join(f"{each.name}: {each.reason}" if each.name else each.reason for each in found))
        self.found = found


def check_headers(headers: Mapping[str, str]) -> None:
    """Raise BadHeaders unless each of these may be sent with every request to an endpoint."""
    found: list[BadHeader] = []
    if len(headers) > headers_max:
        found.append(BadHeader("", f"there are more than {headers_max} headers"))
    if sum(len(name) + len(value) for name, value in headers.items()) > headers_characters_max:
        found.append(BadHeader("", f"they are longer than {headers_characters_max} characters together"))
    seen: set[str] = set()
    for name, value in headers.items():
        reason = _wrong_name(name, seen) or _wrong_value(value)
        if reason is not None:
            found.append(BadHeader(name, reason))
        seen.add(name.lower())
    if found:
        raise BadHeaders(tuple(found))


def header_lines(headers: Mapping[str, str]) -> bytes:
    """These headers as they stand in a request. ValueError where one of them would be anything else than that."""
    # What is no ASCII becomes bytes that are not printable either.
    lines = (_template(tuple(headers)) % tuple(headers.values())).encode("utf-8", "surrogatepass")
    # In lines of printable characters, only the line ends that we wrote are left over.
    if len(lines.translate(None, _PRINTABLE)) != 2 * len(headers):
        raise ValueError(f"one of these headers cannot be sent: {', '.join(headers)}")
    return lines


# What is sent has few sets of names, and many values.
@lru_cache(maxsize=1024)
def _template(names: tuple[str, ...]) -> str:
    for name in names:
        if _TOKEN.fullmatch(name) is None or name.lower() in FRAMING:
            raise ValueError(f"the header {name!r} cannot be sent")
    return "".join(f"{name.replace('%', '%%')}: %s\r\n" for name in names)


def _wrong_name(name: str, seen: set[str]) -> str | None:
    folded = name.lower()
    if len(name) > header_name_characters_max:
        return f"the name is longer than {header_name_characters_max} characters"
    if _TOKEN.fullmatch(name) is None:
        return "the name is not a header name: letters, digits and - make one"
    if folded in seen:
        return "the name is there twice, in different case"
    if folded in RESERVED or folded.startswith(RESERVED_PREFIXES):
        return "this header is not yours to set: we send it, or somebody on the way acts on it"
    return None


def _wrong_value(value: str) -> str | None:
    if len(value) > header_value_characters_max:
        return f"the value is longer than {header_value_characters_max} characters"
    if not (value.isascii() and value.isprintable()):
        return "the value must be printable ASCII"
    if value != value.strip():
        return "the value begins or ends with a space"
    if not value:
        return "the value is empty"
    return None
