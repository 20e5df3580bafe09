"""Which headers others may have us send, and that a header can be nothing but one header."""

import pytest

from app.kit.headers import BadHeaders, check_headers, header_lines, headers_max

ALLOWED = [
    ("Authorization", "Bearer abc.def"),
    ("X-Api-Key", "0123456789"),
    ("x-tenant", "a b\"c'd,e;f=g"),
    ("accept", "application/json"),
    ("Accept-Language", "de, en;q=0.5"),
    ("X-GitHub-Event", "push"),
    ("x", "1"),
    ("!#$%&'*+-.^_`|~09az", "any character of a token"),
    ("X-Long", "v" * 4096),
    ("webhooks-of-mine", "begins like a reserved one, and is none"),
    ("x-forwarder", "likewise"),
    ("viable", "likewise"),
]

RESERVED = [
    # ours: what signs, names and frames a delivery
    *("webhook-id", "webhook-timestamp", "webhook-signature", "Webhook-Anything", "svix-id", "svix-signature"),
    *("x-mcp-subscription-id", "X-MCP-Anything", "tocsin-agent", "x-tocsin-test", "user-agent", "content-type"),
    *("ce-id", "ce-type", "idempotency-key", "traceparent", "tracestate", "baggage", "x-b3-traceid"),
    *("signature", "signature-input", "signature-agent", "digest", "content-digest", "repr-digest", "date"),
    # the message's frame
    *("host", "HOST", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade"),
    *("expect", "http2-settings", "proxy-connection", "content-encoding", "content-range", "range", "accept-encoding"),
    # what somebody on the way acts on, or takes for somebody else's word
    *("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "via", "x-real-ip", "true-client-ip"),
    *("cf-connecting-ip", "client-ip", "proxy-authorization", "proxy-anything", "sec-fetch-site", "sec-websocket-key"),
    *("x-original-url", "x-rewrite-url", "x-http-method-override", "x-http-method", "x-method-override"),
    *("cdn-loop", "max-forwards", "origin", "access-control-request-method", "if-none-match", "if-match"),
    *("x-client-ip", "x-cluster-client-ip", "x-remote-addr", "x-forwarded", "x-host", "x-original-host"),
    *("x-envoy-external-address", "fastly-client-ip", "metadata-flavor", "x-aws-ec2-metadata-token"),
    # state, and money
    *("cookie", "set-cookie", "cookie2", "payment-signature", "x-payment", "x-payment-response"),
]

BAD_NAMES = [
    *(
        "",
        " ",
        "a b",
        "a:",
        ":authority",
        "a\r\nb",
        "a\n",
        "\ta",
        "a\x00",
        "é",
        "(a)",
        "a,b",
        "a/b",
        "a;b",
        "a=b",
        '"a"',
    ),
    *("a@b", "[a]", "{a}", "a\\b", "a\x7f", "\uff21", "x" * 129),
]

BAD_VALUES = [
    *(
        "",
        " a",
        "a ",
        "\ta",
        "a\r\nX-Evil: 1",
        "a\rb",
        "a\nb",
        "a\x00b",
        "a\x7fb",
        "a\tb",
        "\x1b[0m",
        "é",
        "\u2028",
        "😀",
    ),
    *("\ud800", "a\x85b", "v" * 4097),
]


@pytest.mark.parametrize(("name", "value"), ALLOWED)
def test_a_header_of_ones_own_may_be_sent(name: str, value: str) -> None:
    check_headers({name: value})
    assert header_lines({name: value}) == f"{name}: {value}\r\n".encode()


@pytest.mark.parametrize("name", [*RESERVED, *(name.title() for name in RESERVED)])
def test_a_reserved_name_is_refused(name: str) -> None:
    with pytest.raises(BadHeaders, match="not yours to set") as refusal:
        check_headers({"X-Fine": "1", name: "1"})
    assert [each.name for each in refusal.value.found] == [name]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_is_none_is_refused_at_the_door_and_on_the_way_out(name: str) -> None:
    with pytest.raises(BadHeaders) as refusal:
        check_headers({name: "1"})
    assert [each.name for each in refusal.value.found] == [name]
    if len(name) <= 128:
        with pytest.raises(ValueError, match="cannot be sent"):
            header_lines({name: "1"})


@pytest.mark.parametrize("value", BAD_VALUES)
def test_a_value_that_is_more_than_a_value_is_refused(value: str) -> None:
    with pytest.raises(BadHeaders, match=r"X-A: the value") as refusal:
        check_headers({"X-A": value})
    assert refusal.value.found[0].name == "X-A"


@pytest.mark.parametrize("value", [value for value in BAD_VALUES if value.strip() == value and 0 < len(value) < 4097])
def test_no_value_becomes_a_second_header_on_the_way_out(value: str) -> None:
    for headers in ({"X-A": value}, {"X-A": "1", "X-B": value}, {"X-A": value, "X-B": "1", "X-C": "1"}):
        with pytest.raises(ValueError, match="cannot be sent"):
            header_lines(headers)


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "connection", "User-Agent", "te"])
def test_what_frames_the_request_is_written_by_nobody_else(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        header_lines({"X-A": "1", name: "1"})


def test_a_percent_sign_stands_for_itself() -> None:
    assert header_lines({"X-%s": "100%", "X-%d": "%s"}) == b"X-%s: 100%\r\nX-%d: %s\r\n"


def test_no_headers_are_no_lines() -> None:
    check_headers({})
    assert header_lines({}) == b""


def test_more_than_a_few_are_refused_and_a_few_are_not() -> None:
    check_headers({f"X-{number}": "1" for number in range(headers_max)})
    with pytest.raises(BadHeaders, match=f"more than {headers_max}") as refusal:
        check_headers({f"X-{number}": "1" for number in range(headers_max + 1)})
    assert refusal.value.found[0].name == ""


def test_a_name_in_two_cases_is_refused() -> None:
    with pytest.raises(BadHeaders, match="twice"):
        check_headers({"X-A": "1", "x-a": "2"})


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(BadHeaders) as refusal:
        check_headers({"Host": "1", "X-A": "\n", "X-B": "fine", "a b": "1"})
    assert [each.name for each in refusal.value.found] == ["Host", "X-A", "a b"]


def test_they_are_bounded_together() -> None:
    half = "v" * 4000
    check_headers({"a": half, "b": half})
    with pytest.raises(BadHeaders, match="8192 characters together") as refused:
        check_headers({"a": half, "b": half, "c": "v" * 200})
    assert [each.name for each in refused.value.found] == [""]
