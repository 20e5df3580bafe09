"""One reading of a URL. What others gave us is parsed here, once, and only the result is ever used.

Two parsers that read one URL differently are how a request meant for one host reaches another. So this one takes the
part of RFC 3986 that addresses of receivers need, refuses the rest with a reason that its owner can act on, and writes
down what it understood: `str(parse_url(text))` is the only form that is stored or dialled.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import quote

__all__ = ["BadUrl", "Url", "parse_url"]

url_characters_max = 2048
host_characters_max = 253

DEFAULT_PORTS = {"https": 443, "http": 80}

# Ports below 1024 are for services that are not HTTP, but for two. Above, these are services that would act on a
# request that was not meant for them, or that nobody should meet from outside: databases, caches, queues, container
# and cluster control, remote desktops, and the ports which browsers refuse.
REFUSED_PORTS = frozenset(
    {
        *(1433, 1434, 1521, 1719, 1720, 1723, 1883, 2049, 2181, 2375, 2376, 2379, 2380, 3306, 3389, 3659, 4045, 4190),
        *(4369, 5060, 5061, 5432, 5433, 5671, 5672, 5900, 5984, 6000, 6379, 6380, 6566, 6665, 6666, 6667, 6668, 6669),
        *(6679, 6697, 8086, 9042, 9092, 9160, 9200, 9300, 10080, 10250, 10255, 11211, 15672, 26257, 27017, 27018),
        *(27019, 28015, 28017),
    }
)

_SHAPE = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# A last label like this makes every resolver read the whole host as a number: "2130706433", "0x7f.1", "127.1".
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_KEPT = "/%:@!$&'()*+,;=-._~"


class BadUrl(ValueError):
    """This is not a URL that we would call. The message says why, in words for the one who wrote it."""


@dataclass(frozen=True, slots=True)
class Url:
    """A URL that was understood: host in lower case (IPv6 without brackets), port always known."""

    scheme: str
    host: str
    port: int
    target: str  # path and query, as they stand in the request line

    @property
    def authority(self) -> str:
        """Host and port as they stand in a Host header; the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def parse_url(text: str) -> Url:
    """Read an http or https URL, or raise BadUrl with the reason."""
    _refuse_odd_characters(text)
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise BadUrl("this is not an absolute URL like https://example.com/hook")
    scheme = shape["scheme"].lower()
    if scheme not in DEFAULT_PORTS:
        raise BadUrl("the scheme must be https (or http, where the operator allows it)")
    host_text, port_text = _split_authority(shape["authority"])
    target = _component(shape["path"] or "/", _KEPT) + _component(shape["query"] or "", _KEPT + "?")
    url = Url(scheme, _host(host_text), _port(port_text, DEFAULT_PORTS[scheme]), target)
    # Written down it may have become longer, and has to be read again: what is stored is what is called.
    if len(str(url)) > url_characters_max:
        raise BadUrl(f"the URL is longer than {url_characters_max} characters once it is percent-encoded")
    return url


def _refuse_odd_characters(text: str) -> None:
    if len(text) > url_characters_max:
        raise BadUrl(f"the URL is longer than {url_characters_max} characters")
    if any(not "!" <= character <= "~" for character in text):
        raise BadUrl(
            "only printable ASCII is allowed: write international host names as xn--..., percent-encode the rest, "
            "and remove spaces and control characters"
        )
    if "\\" in text:
        raise BadUrl("a backslash means different things to different parsers; use / or %5C")
    if "#" in text:
        raise BadUrl("remove the fragment (#...): it is never sent to a server")


def _split_authority(authority: str) -> tuple[str, str | None]:
    if "@" in authority:
        raise BadUrl("remove the user name and password: credentials do not belong in a URL")
    if authority.startswith("["):
        inside, bracket, rest = authority[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise BadUrl("the bracketed IPv6 address is not closed properly")
        return _ipv6(inside), rest[1:] if rest else None
    host, colon, port = authority.partition(":")
    return host, port if colon else None


def _ipv6(text: str) -> str:
    if "%" in text:
        raise BadUrl("an IPv6 zone has no meaning outside of one machine; remove it")
    try:
        return str(IPv6Address(text))
    except AddressValueError:
        raise BadUrl("what stands in the brackets is not an IPv6 address") from None


def _host(text: str) -> str:
    if ":" in text:
        return text  # an IPv6 address, read already
    host = text.lower()
    if not host or len(host) > host_characters_max:
        raise BadUrl("the host is missing or longer than a host name can be")
    if host.endswith("."):
        raise BadUrl("write the host without the dot at its end")
    labels = host.split(".")
    if _NUMERIC.fullmatch(labels[-1]):
        return _ipv4(host)
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise BadUrl("the host is not a valid host name")
    return host


def _ipv4(host: str) -> str:
    try:
        return str(IPv4Address(host))
    except AddressValueError:
        raise BadUrl("write an IPv4 address as four decimal numbers, like 192.0.2.1") from None


def _port(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not _PORT.fullmatch(text) or int(text) > 65535:
        raise BadUrl("the port must be a number from 1 to 65535")
    port = int(text)
    if (port < 1024 and port not in (80, 443)) or port in REFUSED_PORTS:
        raise BadUrl(
            f"port {port} is not open to webhooks: use 443, 80 or one above 1023 that belongs to no other service"
        )
    return port


def _component(text: str, kept: str) -> str:
    """Percent-encode what must not stand in a request line, and leave what is encoded already as it is."""
    if _PERCENT.search(text):
        raise BadUrl("a percent sign must begin an escape like %2F; write a plain one as %25")
    return quote(text, safe=kept)
