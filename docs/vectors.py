"""The worked examples of docs/protocol, computed by the code that they describe, from fixed seeds and a fixed time.

They are also written to docs/protocol/vectors.json, for clients in other languages to test themselves with.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from x402.http import encode_payment_required_header
from x402.schemas import PaymentRequired as Required
from x402.schemas import PaymentRequirements, ResourceInfo

from app.kit.ids import derived_id
from tocsin import signatures, webhooks
from tocsin.keys import PrivateKey, base64url, rotation_statement
from tocsin.problems import BadRecurrence, PaymentRequired
from tocsin.recurrence import InvalidRecurrence, Occurrence, Recurrence, Spec, jitter, zone_database_version
from tocsin.schemas import schedules
from tocsin.schemas.webhooks import EndpointVerification, ScheduleFired

NOW = datetime(2026, 11, 22, 9, 0, 0, tzinfo=UTC)
RELAY = "https://relay.example"

AGENT_KEY = PrivateKey.from_seed(bytes(range(0x00, 0x20)))
NEXT_KEY = PrivateKey.from_seed(bytes(range(0x20, 0x40)))
RELAY_KEY = PrivateKey.from_seed(bytes(range(0x40, 0x60)))
SECRET = "whsec_YGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6e3x9fn8="  # the bytes 60 to 7f

AGENT_ID = "agt_06nnr7y1ehv1ztjqsar3bqcx14"
ENDPOINT_ID = "ep_06nnr7yq2wt0fj9v6b8cd1n6rg"
MESSAGE_ID = "msg_06nnr82hh8x5mkbrt3g7z2q5e4"
SCHEDULE_ID = "sch_06nnr80c3zv4w9d2k7s5y8t0fm"


@dataclass(frozen=True)
class SignedRequest:
    """A request, and the nonce that it is signed with."""

    method: str
    path: str
    nonce: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def signed_headers(self) -> dict[str, str]:
        request = signatures.Request.of(self.method, RELAY + self.path, self.headers, self.body)
        expires = NOW + timedelta(seconds=60)
        return signatures.sign(request, AGENT_KEY, created=NOW, expires=expires, nonce=self.nonce)

    @property
    def base(self) -> str:
        headers = self.headers | self.signed_headers
        return signatures.parse(signatures.Request.of(self.method, RELAY + self.path, headers, self.body)).base

    @property
    def text(self) -> str:
        """The request as it goes over the wire."""
        media_type = {"Content-Type": "application/json"} if self.body else {}
        headers = {"Host": "relay.example"} | media_type | self.headers | self.signed_headers
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\n".join(lines) + (f"\n\n{self.body.decode()}" if self.body else "")

    def vector(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "url": RELAY + self.path,
            "headers": self.headers,
            "body": self.body.decode(),
            "created": int(NOW.timestamp()),
            "expires": int(NOW.timestamp()) + 60,
            "nonce": self.nonce,
            "signature_base": self.base,
            "added_headers": self.signed_headers,
        }


READ = SignedRequest("GET", "/v1/events?kind=agent.registered&limit=2", nonce="kq3Zf8VhT0y6bXo2")

REGISTRATION = SignedRequest(
    "POST",
    "/v1/agents",
    nonce="Yp1Rw7NcD4u9sLe5",
    body=b'{"name":"nightwatch","public_key":"%s"}' % base64url(AGENT_KEY.public.raw).encode(),
)

KEYED_WRITE = SignedRequest(
    "POST",
    "/v1/endpoints",
    nonce="Gm5Jt2XaQ8v3zHk7",
    body=b'{"url":"https://agent.example/rings"}',
    headers={"Idempotency-Key": '"endpoint-of-nightwatch-1"'},
)

CONDITIONAL_WRITE = SignedRequest(
    "PATCH",
    "/v1/schedules/morning-report",
    nonce="Tz6Wb1PsK9d4nRj3",
    body=b'{"name":"morning report"}',
    headers={"Idempotency-Key": '"rename-of-morning-report-1"', "If-Match": '"3"'},
)

REQUESTS = {
    "read": READ,
    "registration": REGISTRATION,
    "write with an idempotency key": KEYED_WRITE,
    "write on a condition": CONDITIONAL_WRITE,
}


@dataclass(frozen=True)
class Ring:
    """A webhook as it arrives."""

    body: bytes

    @property
    def webhook_id(self) -> str:
        return f"{ENDPOINT_ID}_{MESSAGE_ID}"

    @property
    def verified(self) -> webhooks.Ring:
        """What its receiver learns from it."""
        public_key = RELAY_KEY.public
        return webhooks.verify(
            self.body, self.headers, now=NOW, secret=SECRET, public_key=public_key, endpoint_id=ENDPOINT_ID
        )

    @property
    def content(self) -> str:
        """What is signed."""
        return f"{self.webhook_id}.{int(NOW.timestamp())}.{self.body.decode()}"

    @property
    def headers(self) -> dict[str, str]:
        return webhooks.sign(self.webhook_id, NOW, self.body, secrets=[SECRET], keys=[RELAY_KEY])

    @property
    def text(self) -> str:
        """The request as it goes over the wire."""
        headers = {"Host": "agent.example", "Content-Type": "application/json"} | self.headers
        lines = ["POST /rings HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\n".join(lines) + f"\n\n{self.body.decode()}"

    def vector(self) -> dict[str, Any]:
        return {"body": self.body.decode(), "signed_content": self.content, "headers": self.headers}


FIRE_KEYS: tuple[tuple[str, str, str], ...] = (
    (SCHEDULE_ID, "auto", "2026-11-22T09:00:00.000Z"),
    (SCHEDULE_ID, "backfill:bkf_06nnr84w5q1x7z9a2c4e6g8j0m", "2026-11-22T09:00:00.000Z"),
)
"""What the ids of fires are made of."""

FIRED = Ring(
    ScheduleFired.model_validate(
        {
            "timestamp": "2026-11-22T09:00:00.000Z",
            "data": {
                "schedule_id": SCHEDULE_ID,
                "fire_id": derived_id("fir", *FIRE_KEYS[0]),
                "scheduled_at": "2026-11-22T09:00:00.000Z",
                "fired_at": "2026-11-22T09:00:00.004Z",
                "run": 1,
                "previous": None,
                "upcoming": ["2026-11-22T10:00:00.000Z", "2026-11-22T11:00:00.000Z"],
                "payload": {"say": "good morning"},
            },
        }
    )
    .model_dump_json()
    .encode()
)

CHALLENGE = Ring(
    EndpointVerification.model_validate(
        {
            "timestamp": "2026-11-22T09:00:00.000Z",
            "data": {"endpoint_id": ENDPOINT_ID, "challenge": "q0Jd3vXk9mYb2LwRzT7hCg"},
        }
    )
    .model_dump_json()
    .encode()
)

RINGS = {"fire": FIRED, "challenge": CHALLENGE}


CLOCK_SPECS: tuple[dict[str, str], ...] = (
    {"cron": "30 2 * * *", "timezone": "Europe/Berlin"},
    {"cron": "30 2 * * *", "timezone": "Europe/Berlin", "dst": "skip_gap"},
    {"cron": "30 * * * *", "timezone": "Europe/Berlin"},
)


def slots_around_clock_changes(spec: dict[str, str]) -> list[list[Occurrence]]:
    """The first three slots after 01:00 on the days when the clock is put forward, and back."""
    nights = (datetime(2027, 3, 28, 0, 0, tzinfo=UTC), datetime(2026, 10, 24, 23, 0, tzinfo=UTC))
    return [Recurrence.parse(spec).preview(night, 3) for night in nights]


SLOT_SPECS: tuple[tuple[Spec, datetime], ...] = (
    ({"cron": "0 9 * * 1-5", "timezone": "Europe/Berlin"}, NOW),
    ({"cron": "30 2 * * *", "timezone": "Europe/Berlin"}, datetime(2027, 3, 27, 12, tzinfo=UTC)),
    ({"cron": "30 2 * * *", "timezone": "Europe/Berlin", "dst": "skip_gap"}, datetime(2027, 3, 27, 12, tzinfo=UTC)),
    ({"cron": "*/30 * * * *", "timezone": "Australia/Lord_Howe"}, datetime(2027, 4, 3, 14, 15, tzinfo=UTC)),
    ({"cron": "0 0 LW * *"}, NOW),
    ({"cron": "30 0 9 * * FRI#2", "timezone": "America/New_York"}, NOW),
    ({"every": "PT90S", "anchor": "2026-11-22T09:00:00.250Z"}, NOW),
    ([{"cron": "0 9 * * 1-5"}, {"cron": "0 12 * * 6"}], NOW + timedelta(days=5)),
    ({"every": "PT6H", "exclude": [{"cron": "* * * * 0,6", "timezone": "Asia/Tokyo"}]}, NOW),
)


def slots() -> list[dict[str, Any]]:
    """Specs with the first slots after a moment."""
    return [
        {
            "spec": spec,
            "after": _milliseconds(after),
            "slots": [_milliseconds(occurrence.at) for occurrence in Recurrence.parse(spec).preview(after, 4)],
        }
        for spec, after in SLOT_SPECS
    ]


JITTERED: tuple[tuple[timedelta, timedelta | None], ...] = (
    (timedelta(minutes=5), timedelta(hours=1)),
    (timedelta(minutes=5), timedelta(minutes=1)),
    (timedelta(hours=1), None),
    (timedelta(0), timedelta(hours=1)),
)


def jitters() -> list[dict[str, Any]]:
    """The delays of one slot, by the limit of its schedule and by when the following slot is."""
    return [
        {
            "schedule_id": SCHEDULE_ID,
            "scheduled_at": _milliseconds(NOW),
            "limit_seconds": limit // timedelta(seconds=1),
            "following": None if gap is None else _milliseconds(NOW + gap),
            "jitter_ms": jitter(SCHEDULE_ID, NOW, limit, None if gap is None else NOW + gap)
            // timedelta(milliseconds=1),
        }
        for limit, gap in JITTERED
    ]


def _milliseconds(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


LOG_KEY = ("eip155:8453", "0x" + "a1" * 32, "3", "0")


def rotation() -> dict[str, str]:
    """The statement that the new key signs, and its proof."""
    statement = rotation_statement(AGENT_ID, AGENT_KEY.public.keyid, NEXT_KEY.public.keyid)
    return {
        "agent_id": AGENT_ID,
        "statement": statement.decode(),
        "new_key": base64url(NEXT_KEY.public.raw),
        "proof": base64url(NEXT_KEY.sign(statement)),
    }


def bad_recurrence() -> BadRecurrence:
    """What a cron text with a mistake in it is answered."""
    try:
        Recurrence.parse({"cron": "0 25 * * *"})
    except InvalidRecurrence as refusal:
        return schedules.bad_recurrence(refusal)
    raise AssertionError("there is no hour 25")


def payment_required() -> PaymentRequired:
    """What a call of a priced operation is answered, without a payment."""
    terms = PaymentRequirements(
        scheme="exact",
        network="eip155:84532",
        asset="0x036CbD53842c5426634e7929541eC2318f3dCF7e",
        amount="1000",
        pay_to="0x209693Bc6afc0C5328bA36FaF03C514EF312287C",
        max_timeout_seconds=60,
        extra={"name": "USDC", "version": "2", "paymentFlow": "upfront"},
    )
    resource = ResourceInfo(url=f"{RELAY}/v1/schedules", description="Create a schedule", mime_type="application/json")
    required = Required(x402_version=2, error="PAYMENT-SIGNATURE is required", resource=resource, accepts=[terms])
    members = required.model_dump(by_alias=True, exclude_none=True)
    headers = {"PAYMENT-REQUIRED": encode_payment_required_header(required)}
    return PaymentRequired("This call costs $0.001.", headers=headers, **members)


def key_facts(key: PrivateKey) -> dict[str, Any]:
    """A key in every spelling that the protocol knows."""
    return {
        "seed_hex": key.seed.hex(),
        "public_key": base64url(key.public.raw),
        "jwk": key.public.jwk,
        "keyid": key.public.keyid,
    }


def everything() -> dict[str, Any]:
    """The content of vectors.json."""
    return {
        "keys": {
            "agent": key_facts(AGENT_KEY),
            "next": key_facts(NEXT_KEY),
            "relay": key_facts(RELAY_KEY) | {"whpk": webhooks.public_key_text(RELAY_KEY.public)},
        },
        "now": int(NOW.timestamp()),
        "requests": {name: request.vector() for name, request in REQUESTS.items()},
        "rotation": rotation(),
        "endpoint_id": ENDPOINT_ID,
        "secret": SECRET,
        "rings": {name: ring.vector() for name, ring in RINGS.items()},
        "timezone_database": zone_database_version,
        "slots": slots(),
        "jitter": jitters(),
        "fire_ids": [{"of": list(parts), "fire_id": derived_id("fir", *parts)} for parts in FIRE_KEYS],
    }
