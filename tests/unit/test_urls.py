"""One reading of a URL: what is accepted and how it is written down, what is refused and why."""

# ruff: noqa: RUF001  (look-alike digits are the point)

import pytest

from app.kit.urls import BadUrl, parse_url

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

REFUSED = [
    # numeric hosts in the dress that resolvers see through
    *("http://2130706433/", "http://017700000001/", "http://0x7f000001/", "http://0x7f.1/", "http://127.1/"),
    *("http://0/", "http://0x/", "http://1.2.3/", "http://1.2.3.4.5/", "http://127.0.0.01/", "http://example.1/"),
    *("http://256.1.1.1/", "http://example.0x7f/", "http://①②⑦.⓪.⓪.①/", "http://１２７.0.0.1/", "http://127。0。0。1/"),
    # hosts that end or begin wrongly
    *(
        "http://localhost./",
        "https://example.com./",
        "https://.example.com/",
        "https://example..com/",
        "https://-a.com/",
    ),
    *("https://a-.com/", "https:///path", "https://", "https://:443/", "https://" + "a" * 64 + ".com/"),
    "https://" + "a." * 127 + "com/",
    # credentials and what looks like them
    *("https://user:pass@example.com/", "https://user@example.com/", "https://@example.com/"),
    *("https://example.com@127.0.0.1/", "http://example.com\\@127.0.0.1/", "http://a.com\\.b.com/"),
    # brackets
    *(
        "http://[]",
        "http://[::1",
        "http://::1/",
        "http://[::1]%2f.example.com/",
        "http://[::1]x/",
        "http://[fe80::1%25eth0]/",
    ),
    *("http://[1.2.3.4]/", "http://[v1.x]/", "http://a[::1]/", "http://[::1]]/", "http://[[::1]]/"),
    # control characters, spaces, anything beyond ASCII
    *("https://example.com/\r\nX: 1", "https://exa\tmple.com/", "https://example.com/\x00", " https://example.com/"),
    *(
        "https://example.com/ ",
        "https://example.com/a b",
        "https://bücher.example/",
        "https://example.com/é",
        "https://a%2eb/",
    ),
    *("https://example.com\x7f/", "\u202ehttps://example.com/", "https://example\u3002com/"),
    # ports
    *("https://example.com:/", "https://example.com:0/", "https://example.com:65536/", "https://example.com:080/"),
    *("https://example.com:22/", "https://example.com:25/", "https://example.com:5432/", "https://example.com:6379/"),
    *(
        "https://example.com:11211/",
        "https://example.com:1023/",
        "https://example.com:+80/",
        "https://example.com:80:80/",
    ),
    *("https://example.com:８０/", "https://example.com:-1/", "https://[::]:81/"),
    # fragments, escapes, other schemes, not absolute, too long
    *(
        "https://example.com/#x",
        "https://example.com#",
        "https://example.com/%zz",
        "https://example.com/%",
        "https://example.com/?%4",
    ),
    *(
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://a/",
        "javascript:alert(1)",
        "data:,x",
        "unix:///run/x.sock",
    ),
    *("//example.com/", "example.com", "/path", "", "https:example.com", "https:/example.com", "http+unix://a/"),
    "https://example.com/" + "a" * 2048,
]


@pytest.mark.parametrize(("given", "understood"), ACCEPTED)
def test_a_url_is_written_down_as_it_was_understood(given: str, understood: str) -> None:
    assert str(parse_url(given)) == understood


@pytest.mark.parametrize("given", REFUSED)
def test_a_url_that_parsers_could_read_differently_is_refused_with_a_reason(given: str) -> None:
    with pytest.raises(BadUrl, match=r"\w+ \w+"):
        parse_url(given)


def test_a_host_header_names_the_port_only_when_it_is_not_the_default() -> None:
    assert parse_url("https://example.com/").authority == "example.com"
    assert parse_url("https://example.com:8443/").authority == "example.com:8443"
    assert parse_url("https://[2606:4700::1]:8443/").authority == "[2606:4700::1]:8443"
