"""Official clients verify what a courier delivers, before, while and after secrets and keys are replaced.

`v1` by the published libraries for Python and JavaScript; `v1a`, which none of them knows, by libraries that share no
code with us: `cryptography`, and node's own crypto.
"""

import json
import os
import shutil
import subprocess
import sys
from base64 import b64decode, urlsafe_b64decode
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import standardwebhooks
import svix.webhooks
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from app.deliveries import relay_key
from app.services import Services
from tests.receivers import Post, Receiver, receiving
from tests.sealed import KEYRING
from tests.world import OwnClock, TestAgent

VERIFY_ALL = Path(__file__).parent / "verify_all.mjs"
NODE = shutil.which("node", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}") or "node"
MINUTE = timedelta(minutes=1)


@pytest.fixture
def clock() -> OwnClock:
    """At the present: published libraries refuse what is five minutes away from their own clock."""
    return OwnClock(datetime.now(UTC) - timedelta(minutes=2))


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as listening:
        yield listening


@dataclass
class Story:
    """An endpoint that is rung as secrets and keys come and go, and what arrived with what was valid then."""

    services: Services
    agent: TestAgent
    http: httpx.AsyncClient
    receiver: Receiver
    clock: OwnClock
    endpoint_id: str = ""
    secrets: list[str] = field(default_factory=list)
    rings: list[dict[str, Any]] = field(default_factory=list)

    async def begin(self) -> None:
        created = (await self.agent.post("/v1/endpoints", {"url": self.receiver.url})).json()
        self.endpoint_id = created["id"]
        self.secrets.append(created["secret"])
        while await self.services.deliveries.verify_next():
            pass
        await self.keep(self.receiver.challenges[-1])

    async def rotate_secret(self, overlap: timedelta) -> None:
        path = f"/v1/endpoints/{self.endpoint_id}/rotate-secret"
        answer = await self.agent.post(path, {"overlap_seconds": int(overlap.total_seconds())})
        self.secrets.append(answer.json()["secret"])

    async def rotate_key(self) -> None:
        async with self.services.database.transaction() as db:
            await relay_key.rotate(db, KEYRING, self.clock.at, announce=MINUTE, overlap=MINUTE)
        # Later than any process looks again.
        self.clock.advance(seconds=10)

    async def ring(self) -> None:
        (await self.agent.post(f"/v1/endpoints/{self.endpoint_id}/test")).raise_for_status()
        while await self.services.deliveries.deliver_next():
            pass
        await self.keep(self.receiver.rings[-1])

    async def keep(self, post: Post) -> None:
        jwks = (await self.http.get("/.well-known/jwks.json")).json()
        secrets = list(self.secrets)
        self.rings.append({"secrets": secrets, "jwks": jwks, "headers": post.headers, "body": post.body.decode()})


@pytest.fixture
async def story(services: Services, agent: TestAgent, http: httpx.AsyncClient, receiver: Receiver, clock) -> Story:
    """Seven deliveries: which secrets and how many keys each must verify by is in EXPECTED."""
    story = Story(services, agent, http, receiver, clock)
    await story.begin()
    await story.ring()
    await story.rotate_secret(MINUTE)
    await story.ring()
    await story.rotate_key()
    await story.ring()
    clock.advance(seconds=50)
    await story.ring()
    clock.advance(seconds=60)
    await story.ring()
    await story.rotate_secret(timedelta(0))
    await story.ring()
    return story


EXPECTED = (
    # what, secrets that verify by number, tokens, keys in the JWKS
    ("the challenge", {0}, ["v1", "v1a"], 1),
    ("before", {0}, ["v1", "v1a"], 1),
    ("two secrets", {0, 1}, ["v1", "v1", "v1a"], 1),
    ("a key that is announced", {0, 1}, ["v1", "v1", "v1a"], 2),
    ("the first secret is over, two keys sign", {1}, ["v1", "v1a", "v1a"], 2),
    ("the first key is over", {1}, ["v1", "v1a"], 1),
    ("a secret that leaked", {2}, ["v1", "v1a"], 1),
)


async def test_every_delivery_is_accepted_by_every_official_client(story: Story) -> None:
    by_node = verified_by_node(story.rings)

    for (what, numbers, versions, published), ring, node in zip(EXPECTED, story.rings, by_node, strict=True):
        good = [secret for number, secret in enumerate(ring["secrets"]) if number in numbers]
        kids = keys_that_sign(ring)
        assert accepted_by(standardwebhooks.Webhook, ring) == good, what
        assert accepted_by(svix.webhooks.Webhook, ring) == good, what
        assert (node["standardwebhooks"], node["svix"]) == (good, good), what
        assert node["v1a"] == kids, what
        assert [token.partition(",")[0] for token in tokens_of(ring)] == versions, what
        assert len(kids) == versions.count("v1a"), what
        assert len(ring["jwks"]["keys"]) == published, what


async def test_the_order_of_header_fields_and_of_tokens_makes_no_difference(story: Story) -> None:
    ring = story.rings[2]
    backwards = dict(reversed(ring["headers"].items()))
    turned = ring["headers"] | {"webhook-signature": " ".join(reversed(tokens_of(ring)))}

    for headers in (backwards, turned, {name.title(): value for name, value in ring["headers"].items()}):
        again = {**ring, "headers": headers}
        assert accepted_by(standardwebhooks.Webhook, again) == ring["secrets"]
        assert accepted_by(svix.webhooks.Webhook, again) == ring["secrets"]


async def test_receivers_may_keep_the_keys_for_less_time_than_a_new_one_is_announced(http: httpx.AsyncClient) -> None:
    answer = await http.get("/.well-known/jwks.json")
    assert answer.headers["cache-control"] == "public, max-age=300"


def tokens_of(ring: dict[str, Any]) -> list[str]:
    return ring["headers"]["webhook-signature"].split(" ")


def accepted_by(kind: Any, ring: dict[str, Any]) -> list[str]:
    """The secrets by which this library accepts the ring."""

    def accepts(secret: str) -> bool:
        try:
            kind(secret).verify(ring["body"], ring["headers"])
        except standardwebhooks.WebhookVerificationError:
            return False
        return True

    return [secret for secret in ring["secrets"] if accepts(secret)]


def keys_that_sign(ring: dict[str, Any]) -> list[str]:
    """The keys of the JWKS of which `cryptography` finds a signature."""
    headers = ring["headers"]
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{ring['body']}".encode()
    signatures = [b64decode(token[4:]) for token in tokens_of(ring) if token.startswith("v1a,")]

    def signs(jwk: dict[str, str], signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(urlsafe_b64decode(jwk["x"] + "=")).verify(signature, content)
        except InvalidSignature:
            return False
        return True

    return [jwk["kid"] for jwk in ring["jwks"]["keys"] if any(signs(jwk, each) for each in signatures)]


def verified_by_node(rings: list[dict[str, Any]]) -> list[dict[str, list[str]]]:
    ran = subprocess.run(
        [NODE, VERIFY_ALL], input=json.dumps(rings), capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)
