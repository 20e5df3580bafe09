"""An agent written from docs/protocol/ alone, with public libraries: it imports nothing of Tocsin.

    python agent.py http://127.0.0.1:8585

It registers a key, registers an endpoint and answers its challenge, creates a schedule, waits for its ring and verifies
it. What it received goes to standard output as one JSON object, for another program to verify.
"""

import base64
import hashlib
import json
import secrets
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from time import monotonic, sleep
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from http_message_signatures.algorithms import ED25519  # pyright: ignore[reportPrivateImportUsage]
from http_message_signatures.resolvers import HTTPSignatureKeyResolver
from http_message_signatures.signatures import HTTPMessageSigner
from standardwebhooks import Webhook

PATIENCE_SECONDS = 60


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Agent(HTTPSignatureKeyResolver):
    """A key, and requests signed by it: signing.md."""

    def __init__(self, relay: str) -> None:
        self.http = httpx.Client(base_url=relay, timeout=20)
        self.key = Ed25519PrivateKey.generate()
        self.public_key = base64url(self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
        canonical = f'{{"crv":"Ed25519","kty":"OKP","x":"{self.public_key}"}}'
        self.keyid = base64url(hashlib.sha256(canonical.encode()).digest())
        self.signer = HTTPMessageSigner(signature_algorithm=ED25519, key_resolver=self)

    def resolve_private_key(self, key_id: str) -> Ed25519PrivateKey:
        assert key_id == self.keyid
        return self.key

    def call(self, method: str, path: str, body: Any = None, *, expect: int = 200) -> Any:
        """Send one signed request; the answer's JSON."""
        content = b"" if body is None else json.dumps(body).encode()
        request = self.http.build_request(method, path, content=content)
        covered = ["@method", "@authority", "@path", "@query"]
        if content:
            request.headers["Content-Type"] = "application/json"
            digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
            request.headers["Content-Digest"] = f"sha-256=:{digest}:"
            covered.append("content-digest")
        if method == "POST" and path != "/v1/agents":
            request.headers["Idempotency-Key"] = f'"{secrets.token_urlsafe(16)}"'
            covered.append("idempotency-key")
        now = datetime.now(UTC)
        self.signer.sign(
            request,
            key_id=self.keyid,
            created=now,
            expires=now + timedelta(seconds=60),
            nonce=secrets.token_urlsafe(16),
            label="sig",
            tag="tocsin-v1",
            covered_component_ids=covered,
            use_existing_digest=bool(content),
        )
        answer = self.http.send(request)
        assert answer.status_code == expect, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()


class Receiver(ThreadingHTTPServer):
    """An endpoint: answers its challenge, and keeps the rings that verify: webhooks.md."""

    def __init__(self, secret: str) -> None:
        super().__init__(("127.0.0.1", 0), Doorkeeper)
        self.webhook = Webhook(secret)
        self.rings: Queue[tuple[dict[str, str], bytes]] = Queue()
        self.seen: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/rings"


class Doorkeeper(BaseHTTPRequestHandler):
    server: Receiver  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        ring = self.server.webhook.verify(body, headers)
        if ring["type"] == "endpoint.verification":
            self.answer(200, json.dumps({"challenge": ring["data"]["challenge"]}).encode())
            return
        if headers["webhook-id"] not in self.server.seen:
            self.server.seen.add(headers["webhook-id"])
            self.server.rings.put((headers, body))
        self.answer(204)

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        print(format % args, file=sys.stderr)


def verify_by_public_key(jwks: Mapping[str, Any], endpoint_id: str, headers: Mapping[str, str], body: bytes) -> None:
    """`v1a`: one of the relay's keys signed this, and signed it for this endpoint."""
    assert headers["webhook-id"].startswith(f"{endpoint_id}_msg_"), "sent to another endpoint"
    tokens = [token.removeprefix("v1a,") for token in headers["webhook-signature"].split(" ") if token[:4] == "v1a,"]
    [jwk] = [jwk for jwk in jwks["keys"] if jwk["crv"] == "Ed25519"]
    key = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(jwk["x"] + "="))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key.verify(base64.b64decode(tokens[0]), signed)


def main(relay: str) -> None:
    # A secret of our own, because the challenge may come before the answer that would tell us the relay's.
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    receiver = Receiver(secret)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    agent = Agent(relay)

    registered = agent.call("POST", "/v1/agents", {"public_key": agent.public_key, "name": "independent"}, expect=201)
    assert registered["keyid"] == agent.keyid
    assert agent.call("GET", "/v1/agents/me")["id"] == registered["id"]

    endpoint = agent.call("POST", "/v1/endpoints", {"url": receiver.url, "secret": secret}, expect=201)
    ends_at = monotonic() + PATIENCE_SECONDS
    while (shown := agent.call("GET", f"/v1/endpoints/{endpoint['id']}"))["state"] != "active":
        assert monotonic() < ends_at, shown
        sleep(0.1)

    at = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    new = {"endpoint_id": endpoint["id"], "spec": {"at": at}, "payload": {"say": "good morning"}}
    schedule = agent.call("POST", "/v1/schedules", new, expect=201)

    headers, body = receiver.rings.get(timeout=PATIENCE_SECONDS)
    ring = json.loads(body)
    assert ring["type"] == "schedule.fired"
    assert ring["data"]["schedule_id"] == schedule["id"]
    assert ring["data"]["payload"] == {"say": "good morning"}
    assert datetime.fromisoformat(ring["data"]["fired_at"]) >= datetime.fromisoformat(at), "early"
    verify_by_public_key(agent.http.get("/.well-known/jwks.json").json(), endpoint["id"], headers, body)

    print(json.dumps({"secret": secret, "headers": headers, "body": body.decode()}))


if __name__ == "__main__":
    main(sys.argv[1])
