"""A redirect is understood as every URL is, and never leads from https into the clear."""

from __future__ import annotations

import pytest

from app.watchers.fetching import Misled, next_hop

URL = "https://api.example/v1/price?of=eth"


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/v2/price", "https://api.example/v2/price"),
        ("price2", "https://api.example/v1/price2"),
        ("?of=btc", "https://api.example/v1/price?of=btc"),
        ("//other.example/x", "https://other.example/x"),
        ("https://OTHER.example:443/x#part", "https://other.example/x"),
    ],
)
def test_a_redirect_is_understood(location: str, target: str) -> None:
    assert next_hop(URL, location) == target


@pytest.mark.parametrize(
    "location",
    [
        *(None, "", "http://api.example/v1/price", "ftp://api.example/", "file:///etc/passwd", "javascript:alert(1)"),
        *("https://user:secret@api.example/", "https://[", "https://api.example:22/", "https://2130706433/"),
        *("https://api.example\\@127.0.0.1/", "/a b", "/\x00", "https://api.example/" + "a" * 3_000),
    ],
)
def test_what_is_not_followed_says_so(location: str | None) -> None:
    assert isinstance(next_hop(URL, location), Misled)


def test_plain_http_may_lead_on_where_it_was_allowed() -> None:
    assert next_hop("http://10.0.0.7/a", "/b") == "http://10.0.0.7/b"
