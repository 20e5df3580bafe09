"""Standard Webhooks: the vectors that its libraries share, and the official Python library as our verifier."""

from datetime import UTC, datetime

import pytest
import standardwebhooks

from tocsin.keys import PrivateKey
from tocsin.webhooks import (
    BadBody,
    WrongEndpoint,
    new_secret,
    parse_private_key,
    parse_public_key,
    private_key_text,
    sign,
    verify,
)

ID, AT, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", datetime.fromtimestamp(1614265330, UTC), b'{"test": 2432232314}'
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
V1 = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
PRIVATE_KEY = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
PUBLIC_KEY = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
V1A = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="


def test_we_sign_as_the_shared_vectors_do() -> None:
    headers = sign(ID, AT, BODY, secrets=[SECRET], keys=[parse_private_key(PRIVATE_KEY)])
    assert headers == {
        "webhook-id": ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": f"{V1} {V1A}",
    }


def test_keys_are_written_as_the_shared_vectors_are() -> None:
    key = parse_private_key(PRIVATE_KEY)
    assert private_key_text(key) == PRIVATE_KEY
    assert parse_public_key(PUBLIC_KEY) == key.public


@pytest.mark.parametrize(
    ("proof", "reason"),
    [
        ({"secret": SECRET}, BadBody),  # the vectors' body has no type
        ({"public_key": PUBLIC_KEY, "endpoint_id": "ep_1"}, WrongEndpoint),  # and their id names no endpoint
    ],
)
def test_the_signatures_of_the_shared_vectors_verify(proof: dict[str, str], reason: type[Exception]) -> None:
    headers = {"webhook-id": ID, "webhook-timestamp": "1614265330", "webhook-signature": f"v0,x {V1} {V1A}"}
    with pytest.raises(reason):  # both come after the signature
        verify(BODY, headers, now=AT, **proof)  # type: ignore[arg-type]


def test_the_official_library_verifies_us_although_it_skips_v1a() -> None:
    secret, body = new_secret(), b'{"type":"schedule.fired","data":{"run":1}}'
    headers = sign("ep_1_msg_2", datetime.now(UTC), body, secrets=[secret, new_secret()], keys=[PrivateKey.generate()])
    assert standardwebhooks.Webhook(secret).verify(body, headers)["type"] == "schedule.fired"


def test_we_verify_the_official_library() -> None:
    secret, now, body = new_secret(), datetime.now(UTC), '{"type":"x"}'
    signature = standardwebhooks.Webhook(secret).sign("msg_1", now, body)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
    assert verify(body.encode(), headers, secret=secret, now=now).type == "x"
