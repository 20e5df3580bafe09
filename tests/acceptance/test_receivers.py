"""The receivers in examples/receivers take what a relay really sends, and nothing else."""

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.acceptance.relays import Account, Relay, environment, free_port, until
from tests.packages import ROOT
from tocsin import Client, PrivateKey, webhooks
from tocsin.schemas.endpoints import CreatedEndpoint

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("relay")]

BIN = Path(sys.executable).parent
RECEIVERS = ROOT / "examples" / "receivers"
# The one that `make` installs beside Python, or the machine's own.
NODE = shutil.which("node", path=f"{BIN}{os.pathsep}{os.environ['PATH']}") or "node"
EDGE = Path(__file__).parent / "edge.mjs"


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    started = Relay([BIN / "tocsin", "up"], tmp_path_factory.mktemp("relay"), Account("us"))
    yield started.wait_until_up()
    started.close()


@pytest.fixture
def client(relay: Relay) -> Iterator[Client]:
    key = PrivateKey.generate()
    with Client(relay.url, key) as ours:
        ours.agents.register(key)
        yield ours


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def endpoint(client: Client, port: int) -> CreatedEndpoint:
    """Registered before anything listens there: what it has to know of itself is then known."""
    return client.endpoints.create(f"http://127.0.0.1:{port}/")


@pytest.fixture(params=["plain", "starlette", "node", "worker"])
def output(
    request: pytest.FixtureRequest, relay: Relay, endpoint: CreatedEndpoint, port: int, tmp_path: Path
) -> Iterator[Path]:
    """What the receiver has printed; it listens by now."""
    command: dict[str, list[str | Path]] = {
        "plain": [sys.executable, RECEIVERS / "plain.py", str(port)],
        "starlette": [
            *(sys.executable, "-m", "uvicorn", "--log-level", "warning"),
            *("--port", str(port), "examples.receivers.starlette_app:app"),
        ],
        "node": [NODE, RECEIVERS / "node.mjs", str(port)],
        "worker": [NODE, EDGE, RECEIVERS / "worker.mjs", str(port)],
    }
    settings = {
        # Several of each, as while one replaces another.
        "RING_SECRET": f"{webhooks.new_secret()},{endpoint.secret}",
        "RING_PUBLIC_KEY": f"{webhooks.public_key_text(PrivateKey.generate().public)},{_public_key(relay)}",
        "ENDPOINT_ID": endpoint.id,
    }
    printed = tmp_path / "printed"
    with (
        printed.open("wb") as stdout,
        subprocess.Popen(
            [str(word) for word in command[request.param]],
            cwd=ROOT,
            env=environment(tmp_path, **settings),
            stdout=stdout,
        ) as receiver,
    ):
        try:
            until(lambda: _listens(port), 30, lambda: "it does not listen", lambda: receiver.poll() is not None)
            yield printed
        finally:
            receiver.terminate()


def test_a_receiver_proves_itself_and_takes_a_ring_once(
    client: Client, endpoint: CreatedEndpoint, output: Path
) -> None:
    client.endpoints.verify(endpoint.id)
    until(lambda: client.endpoints.get(endpoint.id).state == "active", 30, lambda: "the challenge was not answered")

    sent = client.endpoints.test(endpoint.id)
    until(lambda: client.deliveries.get(sent.id).state == "delivered", 30, output.read_text)
    client.deliveries.redeliver(sent.id)
    until(lambda: client.deliveries.get(sent.id).attempts == 2, 30, output.read_text)
    until(lambda: client.deliveries.get(sent.id).state == "delivered", 30, output.read_text)

    [line] = output.read_text().splitlines()
    kind, _, data = line.partition(" ")
    assert kind == "endpoint.test"
    assert json.loads(data)["endpoint_id"] == endpoint.id


@pytest.mark.usefixtures("output")
def test_a_receiver_refuses_what_the_relay_did_not_sign_just_now(endpoint: CreatedEndpoint, port: int) -> None:
    body, now = b'{"type":"endpoint.test","data":{}}', datetime.now(UTC)
    signed = webhooks.sign(f"{endpoint.id}_msg_1", now, body, secrets=[endpoint.secret])
    by_another = webhooks.sign(f"{endpoint.id}_msg_1", now, body, secrets=[webhooks.new_secret()])
    long_ago = webhooks.sign(f"{endpoint.id}_msg_1", now - timedelta(hours=1), body, secrets=[endpoint.secret])
    unsigned = {name: value for name, value in signed.items() if name != "webhook-signature"}

    def answer(headers: dict[str, str], said: bytes = body) -> int:
        return httpx.post(f"http://127.0.0.1:{port}/", content=said, headers=headers).status_code

    assert {name: answer(headers) for name, headers in (("another", by_another), ("old", long_ago))} == {
        "another": 400,
        "old": 400,
    }
    assert answer(unsigned) == 400
    assert answer(signed, body + b" ") == 400


@pytest.mark.usefixtures("output")
def test_a_receiver_survives_a_request_that_is_broken_off(port: int) -> None:
    with closing(socket.create_connection(("127.0.0.1", port))) as broken_off:
        broken_off.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        # Reset, and not closed in good order.
        broken_off.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    # Twice: the first may be answered before the end of the other is noticed.
    answers = [httpx.post(f"http://127.0.0.1:{port}/", content=b"{}").status_code for _ in range(2)]

    assert answers == [400, 400]


def _public_key(relay: Relay) -> str:
    [jwk] = httpx.get(f"{relay.url}/.well-known/jwks.json").json()["keys"]
    return jwk["x"]


def _listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
