"""Laws of the URL reader: it never fails in another way, it is stable, and other parsers read its result as it does."""

from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv6Address
from urllib.parse import urlsplit

import httpx
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from app.kit.urls import BadUrl, Url, parse_url
from tests.hostile import HOSTILE_URLS

PIECES = st.sampled_from(
    [
        *(
            "http",
            "https",
            "://",
            ":",
            "/",
            "//",
            "\\",
            "@",
            "#",
            "?",
            "%",
            "%2f",
            "%40",
            "[",
            "]",
            "::1",
            "[::1]",
            ".",
        ),
        *("0x7f", "2130706433", "1", "127.0.0.1", "..", "example.com", "localhost", "a", ":443", ":8080", ":0", "\r\n"),
        *(
            "①",
            "。",
            "é",
            "\x00",
            "\t",
            " ",
            "xn--",
            "_",
            "-",
            "user:pass",
            "{",
            "|",
            "&",
            "=",
            "+",
            ";",
            "~",
            "'",
            '"',
        ),
        *("<", "^", "`"),
    ]
)
PATCHWORK = st.lists(PIECES, max_size=12).map("".join)
LIKELY = st.builds("{}://{}{}".format, st.sampled_from(["http", "https", "HTTP"]), PATCHWORK, PATCHWORK)
# A hostile URL with something else in it, or cut short, is often hostile in a new way.
SPOILED = st.builds(
    lambda url, piece, at: url[: at % (len(url) + 1)] + piece + url[at % (len(url) + 1) :],
    st.sampled_from(HOSTILE_URLS),
    PIECES,
    st.integers(0, 100),
)
ANY = st.one_of(st.text(max_size=80), PATCHWORK, LIKELY, LIKELY, SPOILED)


def read(text: str) -> Url | None:
    try:
        return parse_url(text)
    except BadUrl:
        return None


@given(ANY)
@example("http://[::1]%2f.example.com/")
def test_reading_ends_in_a_url_or_in_bad_url(text: str) -> None:
    assert read(text) is None or isinstance(read(text), Url)


@given(ANY)
def test_reading_what_was_written_changes_nothing(text: str) -> None:
    url = read(text)
    assert url is None or parse_url(str(url)) == url


@given(ANY)
@example("https://example.com/a%2fb?x=[1]&y=%C3%A9")
@example("http://[2606:4700::1]:8443/")
def test_other_parsers_find_the_same_host_and_port_in_the_result(text: str) -> None:
    url = read(text)
    if url is None:
        return
    for host, port in _other_readings(str(url), url.port):
        assert (host, port) == (url.host, url.port)


def _other_readings(text: str, default_port: int) -> list[tuple[str | None, int]]:
    split, theirs, yarls = urlsplit(text), httpx.URL(text), URL(text, encoded=True)
    return [
        (split.hostname, split.port or default_port),
        (theirs.raw_host.decode().strip("[]"), theirs.port or default_port),
        (yarls.raw_host, yarls.port or default_port),
    ]


@given(ANY)
@example("http://[::FFFF:7F00:1]/")
@example("HTTP://EXAMPLE.com:80/")
def test_where_other_parsers_agree_on_the_host_of_what_was_given_it_is_ours(text: str) -> None:
    url = read(text)
    if url is None:
        return
    readings = {host for host in _other_hosts(text) if host is not None}
    assert readings <= {url.host}


def _other_hosts(text: str) -> Iterator[str | None]:
    for host_of in (
        lambda: urlsplit(text).hostname,
        lambda: httpx.URL(text).raw_host.decode(),
        lambda: URL(text).raw_host,
    ):
        with suppress(ValueError, httpx.InvalidURL):
            host = (host_of() or "").strip("[]").lower()
            yield str(IPv6Address(host)) if ":" in host else host


@given(ANY)
def test_the_result_is_plain_ascii_without_credentials_or_fragment(text: str) -> None:
    url = read(text)
    if url is None:
        return
    written = str(url)
    assert written.isascii()
    assert written.isprintable()
    assert not set(written) & set(' \\#"<>{}|^`')
    assert "@" not in url.authority
