"""A published library for Standard Webhooks verifies whatever a host of MCP Events is sent, by its own secret."""

import base64
from datetime import UTC, datetime

import pytest
import standardwebhooks

from app.deliveries.profiles import ENDED, Shaped, challenge, farewell, shaped
from tocsin import webhooks
from tocsin.keys import PrivateKey

SECRET = "whsec_" + base64.b64encode(bytes(range(64))).decode()
BODY = '{"type":"order.paid","timestamp":"2026-11-22T09:00:00.000Z","sender":"agt_1","data":{"name":"ö ☃ \\u0000"}}'
SENT = [
    shaped("mcp", "ep_1", "msg_1", BODY),
    challenge("mcp", "ep_1", "msg_1", "nonce", datetime(2026, 11, 22, tzinfo=UTC)),
    *(farewell("ep_1", "1", reason) for reason in ENDED),
]


@pytest.mark.parametrize("sent", SENT, ids=lambda sent: sent.webhook_id[:20])
def test_a_published_library_verifies_it_beside_the_relays_signature(sent: Shaped) -> None:
    key, at = PrivateKey.from_seed(bytes(32)), datetime.now(UTC)
    secret = webhooks.parse_secret(SECRET)
    headers = sent.headers | webhooks.sign(sent.webhook_id, at, sent.body, secrets=[secret], keys=[key])

    verified = standardwebhooks.Webhook(SECRET).verify(sent.body, headers)

    assert verified["eventId" if "eventId" in verified else "type"] in (sent.webhook_id, *sent.webhook_id.split("_"))
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(SECRET).verify(sent.body + b" ", headers)
