"""The vectors that we publish, checked with libraries that are not ours."""

import base64
import hashlib
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from http_message_signatures.algorithms import ED25519  # pyright: ignore[reportPrivateImportUsage]
from http_message_signatures.resolvers import HTTPSignatureKeyResolver
from http_message_signatures.signatures import HTTPMessageSigner
from standardwebhooks import Webhook

from docs.generate import PROTOCOL

VECTORS: dict[str, Any] = json.loads((PROTOCOL / "vectors.json").read_text(encoding="utf-8"))


def unbase64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Keys(HTTPSignatureKeyResolver):
    def resolve_private_key(self, key_id: str) -> Ed25519PrivateKey:
        assert key_id == VECTORS["keys"]["agent"]["keyid"]
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(VECTORS["keys"]["agent"]["seed_hex"]))


@pytest.mark.parametrize("name", VECTORS["keys"])
def test_keys_and_thumbprints(name: str) -> None:
    facts = VECTORS["keys"][name]
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(facts["seed_hex"]))
    raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    assert unbase64url(facts["public_key"]) == raw
    hashed = json.dumps(facts["jwk"], sort_keys=True, separators=(",", ":")).encode()
    assert unbase64url(facts["keyid"]) == hashlib.sha256(hashed).digest()


@pytest.mark.parametrize("name", VECTORS["requests"])
def test_another_library_signs_requests_the_same(name: str) -> None:
    vector = VECTORS["requests"][name]
    headers = dict(vector["headers"])
    covered = ["@method", "@authority", "@path", "@query"]
    if vector["body"]:
        digest = base64.b64encode(hashlib.sha256(vector["body"].encode()).digest()).decode()
        headers["Content-Digest"] = f"sha-256=:{digest}:"
        covered.append("content-digest")
    covered += [name.lower() for name in vector["headers"]]
    message = SimpleNamespace(method=vector["method"], url=vector["url"], headers=headers)
    signer = HTTPMessageSigner(signature_algorithm=ED25519, key_resolver=Keys())
    signer.sign(
        message,
        key_id=VECTORS["keys"]["agent"]["keyid"],
        created=datetime.fromtimestamp(vector["created"], UTC),
        expires=datetime.fromtimestamp(vector["expires"], UTC),
        nonce=vector["nonce"],
        label="sig",
        tag="tocsin-v1",
        covered_component_ids=covered,
        use_existing_digest=bool(vector["body"]),
    )
    theirs = {name: value for name, value in message.headers.items() if name not in vector["headers"]}
    assert theirs.keys() == vector["added_headers"].keys()
    # Parameters may stand in any order, which the signature depends on.
    assert sorted(theirs["Signature-Input"].split(";")) == sorted(vector["added_headers"]["Signature-Input"].split(";"))


@pytest.mark.parametrize("name", VECTORS["requests"])
def test_the_signature_is_over_the_base(name: str) -> None:
    vector, facts = VECTORS["requests"][name], VECTORS["keys"]["agent"]
    value = base64.b64decode(vector["added_headers"]["Signature"].removeprefix("sig=:").removesuffix(":"))
    public = Ed25519PublicKey.from_public_bytes(unbase64url(facts["public_key"]))
    public.verify(value, vector["signature_base"].encode("ascii"))


def test_the_proof_of_a_rotation() -> None:
    rotation = VECTORS["rotation"]
    public = Ed25519PublicKey.from_public_bytes(unbase64url(rotation["new_key"]))
    public.verify(unbase64url(rotation["proof"]), rotation["statement"].encode())


@pytest.mark.parametrize("name", VECTORS["rings"])
def test_rings_are_signed_as_standard_webhooks_say(name: str) -> None:
    ring = VECTORS["rings"][name]
    v1, v1a = ring["headers"]["webhook-signature"].split(" ")
    sent_at = datetime.fromtimestamp(int(ring["headers"]["webhook-timestamp"]), UTC)
    assert v1 == Webhook(VECTORS["secret"]).sign(ring["headers"]["webhook-id"], sent_at, ring["body"])
    relay = Ed25519PublicKey.from_public_bytes(base64.b64decode(VECTORS["keys"]["relay"]["whpk"].removeprefix("whpk_")))
    relay.verify(base64.b64decode(v1a.removeprefix("v1a,")), ring["signed_content"].encode())


@pytest.mark.parametrize("vector", VECTORS["jitter"], ids=lambda vector: str(vector["jitter_ms"]))
def test_jitter_is_drawn_as_the_page_says(vector: dict[str, Any]) -> None:
    hashed = hashlib.sha256(f"{vector['schedule_id']} {vector['scheduled_at']}".encode()).digest()
    room = vector["limit_seconds"] * 1000
    if vector["following"] is not None:
        gap = datetime.fromisoformat(vector["following"]) - datetime.fromisoformat(vector["scheduled_at"])
        room = min(room, int(gap.total_seconds() * 1000))
    assert vector["jitter_ms"] == (int(hashed.hex()[:16], 16) % room if room else 0)


@pytest.mark.parametrize("vector", VECTORS["slots"], ids=lambda vector: json.dumps(vector["spec"]))
def test_slots_are_instants_in_order(vector: dict[str, Any]) -> None:
    moments = [vector["after"], *vector["slots"]]
    assert moments == sorted(set(moments))
