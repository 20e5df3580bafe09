"""One reading of a URL: what is accepted and how it is written down, what is refused and why."""

import pytest

from app.kit.urls import BadUrl, parse_url
from tests.hostile import HOSTILE_URLS

ACCEPTED = [
    # as given, as understood
    ("https://example.com", "https://example.com/"),
    ("HTTPS://EXAMPLE.com/Path", "https://example.com/Path"),
    ("https://example.com:443/", "https://example.com/"),
    ("http://example.com:80/", "http://example.com/"),
    ("http://example.com:443/", "http://example.com:443/"),
    ("https://example.com:8443/hook?a=1&b[]=2", "https://example.com:8443/hook?a=1&b%5B%5D=2"),
    ("https://example.com?x=1", "https://example.com/?x=1"),
    ("https://example.com/?", "https://example.com/?"),
    ("https://example.com/a%2fb/%C3%A9", "https://example.com/a%2fb/%C3%A9"),
    ('https://example.com/<a>"{b}|^`', "https://example.com/%3Ca%3E%22%7Bb%7D%7C%5E%60"),
    ("https://example.com/a:b@c!$&'()*+,;=-._~", "https://example.com/a:b@c!$&'()*+,;=-._~"),
    ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
    ("https://my_service.internal/", "https://my_service.internal/"),
    ("http://localhost:8000/ring", "http://localhost:8000/ring"),
    ("https://1.1.1.1/", "https://1.1.1.1/"),
    ("https://[2606:4700:4700:0:0:0:0:1111]:8443/", "https://[2606:4700:4700::1111]:8443/"),
    ("https://3com.example/", "https://3com.example/"),
    ("https://example.0xa.com/", "https://example.0xa.com/"),
]


@pytest.mark.parametrize(("given", "understood"), ACCEPTED)
def test_a_url_is_written_down_as_it_was_understood(given: str, understood: str) -> None:
    assert str(parse_url(given)) == understood


@pytest.mark.parametrize("given", HOSTILE_URLS)
def test_a_url_that_parsers_could_read_differently_is_refused_with_a_reason(given: str) -> None:
    with pytest.raises(BadUrl, match=r"\w+ \w+"):
        parse_url(given)


def test_a_host_header_names_the_port_only_when_it_is_not_the_default() -> None:
    assert parse_url("https://example.com/").authority == "example.com"
    assert parse_url("https://example.com:8443/").authority == "example.com:8443"
    assert parse_url("https://[2606:4700::1]:8443/").authority == "[2606:4700::1]:8443"
