"""The served OpenAPI document, held against a running API: random requests, valid and not, signed and not.

Whatever is asked, the API does not fail, and answers only what its document says it answers.
"""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from secrets import token_urlsafe
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from requests.auth import AuthBase
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from app.kit.operations import Operation, shape
from app.local.migrations import migrate
from app.local.postgres import Postgres
from app.local.valkey import Valkey
from app.operations import FEATURES
from tests.acceptance.relays import environment, free_port, until
from tests.sealed import SECRET_KEY
from tocsin import signatures
from tocsin.keys import PrivateKey

pytestmark = pytest.mark.xdist_group("schemathesis")

TABLE = [operation for table in FEATURES.values() for operation in table]
# Revoking would end the agent that signs everything else; a stream has no end.
LEFT_OUT = {"POST /v1/agents/me/revoke"}
EXAMPLES = 10
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]


SETTINGS = settings(
    max_examples=EXAMPLES,
    phases=[Phase.generate],
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


class Signed(AuthBase):
    """Signs whatever is about to be sent."""

    def __init__(self, key: PrivateKey) -> None:
        self.key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or b""
        assert isinstance(body, bytes | str)
        now = datetime.now(UTC)
        of = signatures.Request.of(
            request.method or "",
            request.url or "",
            [(name, _text(value)) for name, value in request.headers.items()],
            body if isinstance(body, bytes) else body.encode(),
        )
        expires = now + timedelta(seconds=60)
        request.headers.update(signatures.sign(of, self.key, created=now, expires=expires, nonce=token_urlsafe(16)))
        return request


@pytest.fixture(scope="module")
def url(postgres: Postgres, valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running API with a database of its own."""
    home = tmp_path_factory.mktemp("schemathesis")
    database, port = postgres.url_of("schemathesis"), free_port()
    migrate(database)
    changes = {
        "TOCSIN_DATABASE_URL": database,
        "TOCSIN_VALKEY_URL": valkey.url,
        "TOCSIN_SECRET_KEY": SECRET_KEY.text,
        "TOCSIN_API_PORT": str(port),
    }
    with (home / "output").open("wb") as output:
        api = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "api"],
            env=environment(home, TOCSIN_OUTBOUND_ALLOW="127.0.0.0/8", **changes),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    until(lambda: _answers(port), 30, lambda: (home / "output").read_text(), lambda: api.poll() is not None)
    yield f"http://127.0.0.1:{port}"
    api.terminate()
    api.wait(20)


@pytest.fixture(scope="module")
def key(url: str) -> PrivateKey:
    """The key of a registered agent."""
    key = PrivateKey.generate()
    requests.post(f"{url}/v1/agents", json={"public_key": key.public.jwk}, auth=Signed(key)).raise_for_status()
    return key


@pytest.fixture(scope="module")
def described(url: str) -> Any:
    """The document, as it is served; but that requests are signed is seen to here, and not to be played with."""
    document = httpx.get(f"{url}/openapi.json").json()
    del document["components"]["securitySchemes"]
    for path in document["paths"].values():
        for operation in path.values():
            del operation["security"]
    return schemathesis.openapi.from_dict(document)


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """Connections that are kept."""
    with requests.Session() as opened:
        yield opened


def _cases() -> Iterator[Any]:
    """Every operation with valid data, and with invalid data if it takes any."""
    for operation in TABLE:
        form = shape(operation)
        takes_data = form.body or form.query or form.placeholders or operation.writes
        for mode in GenerationMode if takes_data else [GenerationMode.POSITIVE]:
            if operation.name not in LEFT_OUT:
                yield pytest.param(operation, mode, id=f"{operation.name}, {mode.value} data")


@pytest.mark.parametrize(("operation", "mode"), list(_cases()))
def test_answers_are_those_that_the_document_describes(
    operation: Operation, mode: GenerationMode, url: str, key: PrivateKey, described: Any, session: requests.Session
) -> None:
    checks = [*CHECKS, negative_data_rejection] if mode is GenerationMode.NEGATIVE else CHECKS
    path = described[operation.path][operation.method]

    @seed(20261122)
    @SETTINGS
    @given(case=path.as_strategy(generation_mode=mode))
    def keeps_its_word(case: Any) -> None:
        case.call_and_validate(base_url=url, session=session, checks=checks, auth=Signed(key), timeout=10)

    keeps_its_word()


@pytest.mark.parametrize("operation", [o for o in TABLE if o.signed], ids=lambda operation: operation.name)
def test_what_is_not_signed_is_refused(
    operation: Operation, url: str, described: Any, session: requests.Session
) -> None:
    @seed(20261122)
    @settings(SETTINGS, max_examples=3)
    @given(case=described[operation.path][operation.method].as_strategy())
    def is_refused(case: Any) -> None:
        answer = case.call_and_validate(base_url=url, session=session, checks=CHECKS, timeout=10)
        assert answer.status_code in {401, 400, 413}

    is_refused()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
