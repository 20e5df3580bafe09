"""The local receiver, over real HTTP on this machine."""

import http.client
import threading
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from queue import SimpleQueue

import httpx
import pytest

from tocsin.keys import PrivateKey
from tocsin.listen import Heard, Receiver, Trust, hear
from tocsin.webhooks import SignatureMismatch, sign

KEY = PrivateKey.from_seed(bytes(32))
SECRET = "whsec_" + b64encode(bytes(32)).decode()
TRUST = Trust(SECRET, KEY.public, "ep_1")
BODY = b'{"type":"schedule.fired","data":{"run":1}}'
CHALLENGE = b'{"type":"endpoint.verification","data":{"challenge":"abc"}}'


@pytest.fixture
def heard() -> SimpleQueue[Heard]:
    return SimpleQueue()


@pytest.fixture
def receiver(heard: SimpleQueue[Heard]) -> Iterator[Receiver]:
    with Receiver(heard.put) as opened:
        yield opened


def ring(url: str, body: bytes = BODY, endpoint_id: str = "ep_1") -> httpx.Response:
    headers = sign(f"{endpoint_id}_msg_1", datetime.now(UTC), body, secrets=[SECRET], keys=[KEY])
    return httpx.post(url, content=body, headers=headers, trust_env=False)


def test_a_proven_ring_is_heard_and_answered(receiver: Receiver, heard: SimpleQueue[Heard]) -> None:
    receiver.trust(TRUST)
    assert ring(receiver.url).status_code == 200
    proven = heard.get(timeout=5).ring
    assert proven
    assert (proven.data, proven.verified) == ({"run": 1}, ("v1", "v1a"))


def test_a_challenge_is_answered(receiver: Receiver) -> None:
    receiver.trust(TRUST)
    answer = ring(receiver.url, CHALLENGE)
    assert (answer.json(), answer.headers["content-type"]) == ({"challenge": "abc"}, "application/json")


def test_a_challenge_that_comes_before_the_endpoints_id_waits_for_it(receiver: Receiver) -> None:
    answers = SimpleQueue[httpx.Response]()
    early = threading.Thread(target=lambda: answers.put(ring(receiver.url, CHALLENGE)))
    early.start()
    receiver.trust(TRUST)
    assert answers.get(timeout=5).json() == {"challenge": "abc"}
    early.join()


def test_what_is_not_proven_is_refused_with_the_reason(receiver: Receiver, heard: SimpleQueue[Heard]) -> None:
    receiver.trust(TRUST)
    answer = ring(receiver.url, endpoint_id="ep_2")
    assert answer.status_code == 400
    assert "was not sent to ep_1" in answer.text
    assert heard.get(timeout=5).ring is None


def test_a_body_without_a_length_or_too_long_is_not_read(receiver: Receiver) -> None:
    receiver.trust(TRUST)
    assert httpx.post(receiver.url, content=iter([b"x"]), trust_env=False).status_code == 413
    connection = http.client.HTTPConnection(receiver.url.split("/")[2], timeout=5)
    connection.request("POST", "/", headers={"Content-Length": "99999999999999"})
    assert connection.getresponse().status == 413
    connection.close()


def test_only_posts_are_rings(receiver: Receiver) -> None:
    assert httpx.get(receiver.url, trust_env=False).status_code == 501


def test_a_port_that_is_taken_is_named(receiver: Receiver, heard: SimpleQueue[Heard]) -> None:
    taken = httpx.URL(receiver.url).port
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{taken}"):
        Receiver(heard.put, port=taken or 0)


def test_hearing_is_pure() -> None:
    now = datetime(2026, 11, 22, 9, tzinfo=UTC)
    headers = sign("ep_1_msg_1", now, BODY, secrets=[SECRET])
    assert hear(BODY, headers, Trust(SECRET), now).status == 200
    refused = hear(BODY, headers, TRUST, now)  # asks for v1a as well
    assert isinstance(refused.refusal, SignatureMismatch)
    assert refused.status == 400
