"""Secrets as tests put them into rows: sealed, by a key that all tests know."""

from datetime import datetime

import orjson

from app.deliveries.secrets import Secrets
from app.kit.sealing import Keyring, SecretKey

SECRET_KEY = SecretKey(bytes(range(32)))
KEYRING = Keyring(SECRET_KEY)


def sealed_secrets(endpoint_id: str, secret: str, at: datetime) -> str:
    """The JSON of a row's `secrets`."""
    return orjson.dumps([Secrets(KEYRING).seal(endpoint_id, secret, at)]).decode()
