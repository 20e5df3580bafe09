"""How the client carries out a call: what it sends, repeats, pays for and raises."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from random import Random
from typing import Any

import httpx
import pytest

from tocsin import AsyncClient, Client, PrivateKey, problems
from tocsin.client import InvalidArgument, Retries, UnexpectedAnswer, Unreachable
from tocsin.client.exchange import Again, Done, Outcome, Refused, judge, pause_seconds_max
from tocsin.schemas.messages import NewMessage
from tocsin.schemas.schedules import NewSchedule, PatchSchedule

KEY = PrivateKey.from_seed(bytes(32))
AGENT = {
    "id": "agt_1",
    "name": None,
    "keyid": KEY.public.keyid,
    "public_key": KEY.public.jwk,
    "created_at": "2026-11-22T09:00:00.000Z",
    "since_next_year": True,  # a newer relay says more
}
EVENT = {"seq": 1, "kind": "a", "subject": "b", "at": "2026-11-22T09:00:00.000Z", "data": {}}
NO_PAUSE = Retries(pause_seconds=0)

Answer = httpx.Response | Exception


class Relay:
    """A transport that gives prepared answers, and remembers what it was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers: Iterator[Answer] = iter(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self, **options: Any) -> Client:
        return Client("http://relay.test", KEY, retries=NO_PAUSE, transport=httpx.MockTransport(self), **options)

    def headers(self, name: str) -> list[str | None]:
        return [request.headers.get(name) for request in self.asked]


def ok(document: Any = AGENT) -> httpx.Response:
    return httpx.Response(200, json=document)


def refusal(problem: problems.Problem, **headers: str) -> httpx.Response:
    return httpx.Response(problem.status, json=problem.document("req_1"), headers=problem.headers | headers)


def test_an_answer_is_read_although_a_newer_relay_says_more() -> None:
    assert Relay(ok()).client().agents.me().id == "agt_1"


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("cut off"),
        refusal(problems.TooManyRequests()),
        refusal(problems.DatabaseUnavailable()),
        httpx.Response(502, text="<html>"),
    ],
)
def test_a_write_is_repeated_with_one_idempotency_key_and_fresh_signatures(trouble: Answer) -> None:
    relay = Relay(trouble, trouble, ok())
    relay.client().agents.revoke()
    keys, signatures = relay.headers("idempotency-key"), relay.headers("signature")
    assert keys[0]
    assert len(set(keys)) == 1
    assert len(set(signatures)) == 3
    assert 'nonce="' in str(relay.headers("signature-input")[0])


def test_two_writes_have_two_idempotency_keys() -> None:
    relay = Relay(ok(), ok())
    client = relay.client()
    client.agents.revoke()
    client.agents.revoke()
    assert len(set(relay.headers("idempotency-key"))) == 2


def test_a_request_that_is_still_running_is_awaited() -> None:
    assert Relay(refusal(problems.IdempotencyConflict()), ok()).client().agents.revoke()


def test_a_refusal_is_raised_as_the_class_that_the_relay_raised_and_not_repeated() -> None:
    relay = Relay(refusal(problems.AlreadyRegistered("This key is an agent.")))
    with pytest.raises(problems.AlreadyRegistered, match="This key") as raised:
        relay.client().agents.register(KEY)
    assert raised.value.instance == "req_1"
    assert len(relay.asked) == 1


def test_tries_have_an_end() -> None:
    relay = Relay(*[httpx.ConnectError("refused")] * 9)
    with pytest.raises(Unreachable, match="refused"):
        relay.client().agents.me()
    assert len(relay.asked) == 4


def test_only_a_write_that_got_no_answer_leaves_doubt() -> None:
    request = httpx.Request("POST", "https://relay.test/v1/schedules")
    assert "may have been carried out" in str(Unreachable.after(httpx.ReadError("gone", request=request)))
    request = httpx.Request("GET", "https://relay.test/v1/schedules")
    assert "may have been" not in str(Unreachable.after(httpx.ReadError("gone", request=request)))


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout])
def test_a_write_that_never_found_the_relay_leaves_none(error: type[httpx.TransportError]) -> None:
    request = httpx.Request("POST", "https://relay.test/v1/agents")
    refused = [error("refused", request=request)] * 9
    with pytest.raises(Unreachable, match="Nothing was carried out"):
        Relay(*refused).client().agents.register(KEY)
    # Once it may have come through, no later refusal says that it has not.
    with pytest.raises(Unreachable, match="may have been carried out"):
        Relay(httpx.ReadError("gone", request=request), *refused).client().agents.register(KEY)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"id": 5}'])
def test_what_is_no_relay_is_recognised(body: bytes) -> None:
    with pytest.raises(UnexpectedAnswer, match=r"relay\.test"):
        Relay(httpx.Response(200, content=body)).client().agents.me()


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"x"'])
def test_a_refusal_without_a_document_is_still_a_problem(body: bytes) -> None:
    with pytest.raises(problems.NotFound, match="answered 404"):
        Relay(httpx.Response(404, content=body)).client().agents.me()


def test_a_list_is_read_page_after_page() -> None:
    relay = Relay(ok({"items": [EVENT, EVENT], "next": "c/1"}), ok({"items": [EVENT], "next": None}))
    assert len(list(relay.client().events.list(kind="a"))) == 3
    assert [request.url.params.get("cursor") for request in relay.asked] == [None, "c/1"]
    assert [request.url.params.get("kind") for request in relay.asked] == ["a", "a"]


def test_an_id_is_one_segment_whatever_is_in_it() -> None:
    relay = Relay(refusal(problems.NotFound()))
    with pytest.raises(problems.NotFound):
        relay.client().endpoints.get("a/../b?c")
    assert relay.asked[0].url.raw_path == b"/v1/endpoints/a%2F..%2Fb%3Fc"
    with pytest.raises(ValueError, match="no id"):
        relay.client().endpoints.get("..")


DAILY = NewSchedule(spec={"cron": "0 9 * * *"}, endpoint_id="ep_1")


def test_a_condition_is_sent_and_signed() -> None:
    relay = Relay(*[refusal(problems.NotFound())] * 4)
    schedules = relay.client().schedules
    for ask in (
        lambda: schedules.put("daily", DAILY),
        lambda: schedules.put("daily", DAILY, if_version=3),
        lambda: schedules.put("daily", DAILY, create_only=True),
        lambda: schedules.change("daily", PatchSchedule(name=None), if_version=3),
    ):
        with pytest.raises(problems.NotFound):
            ask()
    assert relay.headers("if-match") == [None, '"3"', None, '"3"']
    assert relay.headers("if-none-match") == [None, None, "*", None]
    signed = [str(covered).partition(")")[0] for covered in relay.headers("signature-input")]
    assert ['"if-match"' in covered for covered in signed] == [False, True, False, True]
    assert ['"if-none-match"' in covered for covered in signed] == [False, False, True, False]
    assert relay.asked[3].content == b'{"name":null}'


def test_all_that_steps_in_can_mean_one_version() -> None:
    relay = Relay(*[refusal(problems.NotFound())] * 5)
    schedules = relay.client().schedules
    for ask in (
        lambda: schedules.pause("daily", if_version=3),
        lambda: schedules.resume("daily", if_version=3),
        lambda: schedules.trigger("daily", if_version=3),
        lambda: schedules.skip_next("daily", if_version=3),
        lambda: schedules.delete("daily", if_version=3),
    ):
        with pytest.raises(problems.NotFound):
            ask()
    assert relay.headers("if-match") == ['"3"'] * 5


def test_a_schedule_cannot_have_a_version_and_be_new() -> None:
    with pytest.raises(ValueError, match="create_only"):
        Relay().client().schedules.put("daily", DAILY, if_version=1, create_only=True)


def test_what_somebody_else_has_changed_is_raised_with_its_version_and_not_repeated() -> None:
    relay = Relay(refusal(problems.PreconditionFailed("It has changed.", version=4)))
    with pytest.raises(problems.PreconditionFailed) as raised:
        relay.client().schedules.put("daily", DAILY, if_version=3)
    assert raised.value.version == 4
    assert len(relay.asked) == 1
    assert problems.PreconditionFailed().version is None


def test_a_time_in_a_query_keeps_all_its_digits() -> None:
    relay = Relay(ok({"items": [], "next": None}))
    since = datetime(2026, 11, 22, 9, 0, 0, 500, tzinfo=UTC)
    assert list(relay.client().schedules.fires("daily", since=since)) == []
    assert relay.asked[0].url.params["since"] == "2026-11-22T09:00:00.000500+00:00"
    assert "until" not in relay.asked[0].url.params


def test_a_price_is_raised_with_its_challenge() -> None:
    relay = Relay(refusal(problems.PaymentRequired("Costs $0.001.", accepts=[{}]), **{"payment-required": "e30="}))
    with pytest.raises(problems.PaymentRequired) as raised:
        relay.client().agents.me()
    assert raised.value.headers["payment-required"] == "e30="
    assert raised.value.extras["accepts"] == [{}]


def test_who_pays_is_asked_once_and_the_write_keeps_its_idempotency_key() -> None:
    price = refusal(problems.PaymentRequired())
    relay = Relay(price, ok())
    relay.client(pay=lambda problem: {"PAYMENT-SIGNATURE": "paid"}).agents.revoke()
    assert relay.headers("payment-signature") == [None, "paid"]
    assert len(set(relay.headers("idempotency-key"))) == 1
    with pytest.raises(problems.PaymentRequired):
        Relay(price, price, ok()).client(pay=lambda problem: {"PAYMENT-SIGNATURE": "paid"}).agents.revoke()
    with pytest.raises(problems.PaymentRequired):
        Relay(price, ok()).client(pay=lambda problem: None).agents.revoke()


async def test_the_async_client_does_the_same() -> None:
    async def pay(problem: problems.PaymentRequired) -> dict[str, str]:
        return {"PAYMENT-SIGNATURE": "paid"}

    relay = Relay(
        httpx.ConnectError("refused"),
        refusal(problems.PaymentRequired()),
        ok(),
        ok({"items": [EVENT], "next": "2"}),
        ok({"items": [EVENT], "next": None}),
    )
    transport = httpx.MockTransport(relay)
    async with AsyncClient("http://relay.test", KEY, retries=NO_PAUSE, transport=transport, pay=pay) as client:
        assert (await client.agents.me()).id == "agt_1"
        assert len([event async for event in client.events.list()]) == 2


REQUEST = httpx.Request("GET", "http://relay.test/")


def answered(status: int, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=named, request=REQUEST)


JUDGED: list[tuple[Outcome, int, Callable[[Any], bool]]] = [
    (answered(200), 1, lambda v: isinstance(v, Done)),
    (answered(204), 4, lambda v: isinstance(v, Done)),
    (
        answered(302),
        1,
        lambda v: isinstance(v, Refused),
    ),  # redirects are not followed: they would need another signature
    (answered(400), 1, lambda v: isinstance(v, Refused)),
    (answered(500), 1, lambda v: isinstance(v, Refused)),
    (answered(503), 1, lambda v: isinstance(v, Again) and 0 < v.after_seconds < 1),
    (answered(503), 3, lambda v: isinstance(v, Again) and v.after_seconds < 2),
    (answered(503), 4, lambda v: isinstance(v, Refused)),  # the last try
    (answered(429, retry_after="7"), 1, lambda v: v == Again(7)),
    (answered(429, retry_after="31"), 1, lambda v: isinstance(v, Refused)),  # longer than we wait
    (answered(429, retry_after="9" * 400), 1, lambda v: isinstance(v, Again)),  # nonsense is ignored
    (answered(429, retry_after="-5"), 1, lambda v: isinstance(v, Again)),
    (
        answered(429, retry_after="Sun, 22 Nov 2026 09:00:09 GMT", date="Sun, 22 Nov 2026 09:00:00 GMT"),
        1,
        lambda v: v == Again(9),
    ),
    (answered(429, retry_after="Sun, 22 Nov 2026 09:00:09 GMT"), 1, lambda v: isinstance(v, Again)),
    (httpx.ConnectError("refused"), 3, lambda v: isinstance(v, Again)),
    (httpx.ConnectError("refused"), 4, lambda v: isinstance(v, Refused)),
    (httpx.UnsupportedProtocol("ftp"), 1, lambda v: isinstance(v, Refused)),
]


@pytest.mark.parametrize(("outcome", "tries", "expected"), JUDGED)
def test_what_is_made_of_an_answer(outcome: Outcome, tries: int, expected: Callable[[Any], bool]) -> None:
    assert expected(judge(outcome, tries, Retries(jitter=Random(1))))


def test_pauses_grow_and_have_a_bound() -> None:
    retries = Retries(jitter=Random(1))
    assert all(retries.pause(tries) <= 1.5 * pause_seconds_max for tries in range(1, 60))
    assert retries.pause(5) > retries.pause(1)


@pytest.mark.parametrize(
    ("pointer", "publish"),
    [
        ("/type", lambda client: client.messages.publish("bad type", {"card": "4111"})),
        ("/messages", lambda client: client.messages.publish_all([NewMessage(type="a", data="4111")] * 101)),
    ],
)
def test_what_cannot_be_sent_is_refused_here_by_pointer_and_without_what_was_given(
    pointer: str, publish: Callable[[Client | AsyncClient], Any]
) -> None:
    relay = Relay()
    with pytest.raises(InvalidArgument) as blocking:
        publish(relay.client())
    with pytest.raises(InvalidArgument) as awaiting:
        publish(AsyncClient("http://relay.test", KEY))

    assert isinstance(blocking.value, ValueError)
    assert blocking.value.errors == awaiting.value.errors
    assert [error["pointer"] for error in blocking.value.errors] == [pointer]
    assert str(blocking.value).startswith(f"{pointer}: ")
    assert not any(word in str(blocking.value) for word in ("4111", "bad type", "NewMessages", "pydantic"))
    assert blocking.value.__suppress_context__
    assert relay.asked == []


def test_a_reason_that_ends_in_a_full_stop_gets_no_second_one() -> None:
    error = httpx.RemoteProtocolError("Server disconnected without sending a response.")
    assert str(Unreachable.after(error)) == (
        "The relay: Server disconnected without sending a response. Check the relay's URL and that it runs."
    )
