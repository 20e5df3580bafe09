"""What a worker carries, and what came of it, in the words of those who write it down."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from app.deliveries.attempts import Delivered, GiveUp, Retry, Verdict, judge, ladder_of, retry_after
from app.deliveries.conclusions import Concluded, answer_bytes_max
from app.deliveries.store import Claimed, Departure, NewMessage, Outcome
from app.deliveries.watching import Attempted
from app.events import Happened
from app.kit.outbound import Answer, Fault
from app.kit.tracing import Leg, leg
from app.kit.urls import BadUrl, parse_url
from tocsin.keys import PrivateKey

__all__ = [
    "Grounded",
    "Landing",
    "Load",
    "about",
    "attempted",
    "carried",
    "happened",
    "host_of",
    "judged",
    "leg_of",
    "outcome",
]

response_excerpt_bytes_max = 1024


@dataclass(frozen=True, slots=True)
class Load:
    """A claimed delivery, the relay's keys that sign it, and until when it may still take off."""

    claimed: Claimed
    keys: Sequence[PrivateKey]
    take_off_by: float
    # As the lanes sort it.
    id: str
    endpoint_id: str
    host: str

    @classmethod
    def of(cls, claimed: Claimed, keys: Sequence[PrivateKey], take_off_by: float) -> "Load":
        assert claimed.url is not None, "an endpoint that is no more is not rung"
        return cls(claimed, keys, take_off_by, claimed.id, claimed.endpoint_id, host_of(claimed.url))


@dataclass(frozen=True, slots=True)
class Landing:
    """An attempt that has ended."""

    claimed: Claimed
    started_at: datetime
    duration_ms: int
    result: Answer | Fault

    @property
    def status(self) -> int | None:
        return self.result.status if isinstance(self.result, Answer) else None

    @property
    def error(self) -> str | None:
        return self.result.category if isinstance(self.result, Fault) else None

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Grounded:
    """A delivery that is not sent: it waited for a place for so long that its lease might have ended in flight, or its
    endpoint is no more."""

    claimed: Claimed


def carried(departure: Departure, message: NewMessage, now: datetime) -> Claimed:
    """A delivery that was claimed as it was made."""
    return Claimed(
        id=departure.id,
        attempts=departure.attempts,
        attempts_before=0,
        unsent=0,
        agent_id=departure.agent_id,
        endpoint_id=departure.endpoint_id,
        message_id=departure.message_id,
        order_key=None,
        endpoint_state="active",
        url=departure.url,
        secrets=departure.secrets,
        headers=departure.headers,
        profile=departure.profile,
        retry_seconds=departure.retry_seconds,
        timeout_seconds=departure.timeout_seconds,
        is_limited=False,
        breaker=None,
        failures=departure.failures,
        body=message.body,
        subject=message.subject,
        was_due_at=now,
        traceparent=message.traceparent,
    )


def judged(landing: Landing, now: datetime, jitter: float) -> Verdict:
    """What is to become of the delivery."""
    claimed, status, wait = landing.claimed, None, None
    if isinstance(landing.result, Answer):
        status = landing.result.status
        if not 200 <= status < 300:
            wait = retry_after(landing.result.headers.get("Retry-After"), now)
    profile = claimed.profile or "standard"
    return judge(
        status,
        claimed.attempts - claimed.attempts_before,
        now,
        wait=wait,
        jitter=jitter,
        ladder=ladder_of(claimed.retry_seconds, profile),
        profile=profile,
    )


def outcome(landing: Landing, verdict: Verdict, now: datetime) -> Outcome:
    """What is written down of the attempt, and of its delivery."""
    state, due_at, reason = _standing(verdict)
    answer = landing.result if isinstance(landing.result, Answer) else None
    fault = landing.result if isinstance(landing.result, Fault) else None
    lookup_ms, connect_ms, tls_ms, wait_ms, read_ms = landing.result.timings
    return Outcome(
        id=landing.claimed.id,
        attempts=landing.claimed.attempts,
        number=landing.claimed.number,
        state=state,
        reason=reason,
        due_at=due_at,
        concluded_at=None if state == "pending" else now,
        started_at=landing.started_at,
        duration_ms=landing.duration_ms,
        lookup_ms=lookup_ms,
        connect_ms=connect_ms,
        tls_ms=tls_ms,
        wait_ms=wait_ms,
        read_ms=read_ms,
        status=answer.status if answer else None,
        error=fault.category if fault else None,
        # Hosts of MCP hold that nothing of an answer is to be kept or shown.
        response_excerpt=_excerpt(answer.body) if answer and landing.claimed.profile != "mcp" else None,
    )


def attempted(landing: Landing, verdict: Verdict) -> Attempted:
    """What who watches sees of it."""
    claimed = landing.claimed
    return Attempted(
        delivery_id=claimed.id,
        endpoint_id=claimed.endpoint_id,
        message_id=claimed.message_id,
        agent_id=claimed.agent_id,
        number=claimed.number,
        due_at=claimed.was_due_at,
        started_at=landing.started_at,
        duration_ms=landing.duration_ms,
        timings=landing.result.timings,
        status=landing.status,
        error=landing.error,
        verdict=verdict,
        traceparent=claimed.traceparent,
    )


def leg_of(load: Load) -> Leg | None:
    """The part of a trace that this attempt is; None when nobody asked for one."""
    claimed = load.claimed
    if claimed.traceparent is None:
        return None
    told = {
        "http.request.method": "POST",
        "server.address": load.host,
        "tocsin.endpoint": claimed.endpoint_id,
        "tocsin.message": claimed.message_id,
        "tocsin.delivery": claimed.id,
        "tocsin.attempt": claimed.number,
    }
    return leg(claimed.traceparent, "deliver", told)


def about(landing: Landing, verdict: Verdict) -> Concluded | None:
    """What to tell who listens: nothing while it is tried again, and of what is about nothing."""
    subject = landing.claimed.subject
    if subject is None or isinstance(verdict, Retry):
        return None
    if isinstance(verdict, GiveUp):
        return Concluded(subject, landing.claimed.id, "failed")
    assert isinstance(landing.result, Answer), "only an answer is a success"
    return Concluded(subject, landing.claimed.id, "delivered", landing.result.body[:answer_bytes_max])


def happened(landing: Landing, verdict: Verdict, now: datetime) -> Happened | None:
    """What goes into the journal: nothing while it is tried again."""
    if isinstance(verdict, Retry):
        return None
    delivery = landing.claimed
    data = {
        "state": _standing(verdict)[0],
        "endpoint_id": delivery.endpoint_id,
        "message_id": delivery.message_id,
        "attempts": delivery.number,
        "status": landing.status,
    }
    return Happened("delivery.concluded", delivery.id, delivery.agent_id, now, data)


def _standing(verdict: Verdict) -> tuple[str, datetime | None, str | None]:
    match verdict:
        case Delivered():
            return "delivered", None, None
        case Retry(at):
            return "pending", at, None
        case GiveUp(reason):
            return "failed", None, reason


def _excerpt(body: bytes) -> str | None:
    """The beginning of a body as text that Postgres can store."""
    text = body[:response_excerpt_bytes_max].decode(errors="replace")
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}") or None


# Fan-out and retries name the same few URLs again and again.
@lru_cache(maxsize=4096)
def host_of(url: str) -> str:
    """Where a URL leads, whoever's it is."""
    try:
        parsed = parse_url(url)
    except BadUrl:
        return url  # one that an earlier release took: the attempt will say what is wrong with it
    return f"{parsed.host}:{parsed.port}"
