"""What operators see of deliveries: a wide line and some numbers for each attempt, and how things stand."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, get_args

from app.deliveries.attempts import Delivered, GiveUp, Retry, Verdict
from app.deliveries.standing import Standing
from app.kit import telemetry, tracing
from app.kit.outbound import Category, Timings

__all__ = ["Attempted", "Challenged", "attempted", "challenged", "round_ended", "stands"]

endpoints_shown = 20
failures_seconds = 300
# Of the endpoints that fail within ten seconds; with more, those that fail less often are not told apart.
endpoints_failing_max = 10_000


class Attempted(NamedTuple):
    """An attempt that has ended, and what was judged of it. Nothing here is secret, and nothing of a URL."""

    delivery_id: str
    endpoint_id: str
    message_id: str
    agent_id: str
    number: int
    due_at: datetime | None  # None where it was held until it might go
    started_at: datetime
    duration_ms: int
    timings: Timings
    status: int | None
    error: str | None
    verdict: Verdict
    traceparent: str | None = None


def attempted(attempts: Sequence[Attempted], now: datetime) -> None:
    """These attempts are concluded, and will be said once. Called once a round: what it costs is paid per attempt."""
    if not attempts:
        return
    outcomes = Counter([(type(one.verdict), one.error, one.status) for one in attempts])
    for (verdict, error, status), count in outcomes.items():
        _counter(_outcomes[verdict], error or _status_class(status)).inc(count)
    telemetry.attempt_seconds.observe([one.duration_ms / 1000 for one in attempts])
    telemetry.attempt_lag_seconds.observe(
        # A worker's own clock may be a little behind the database's.
        [max(0.0, (one.started_at - one.due_at).total_seconds()) for one in attempts if one.due_at is not None]
    )
    telemetry.round_attempts.observe(len(attempts))
    failed = [one.endpoint_id for one in attempts if one.verdict.__class__ is not Delivered]
    if failed:
        _failures.count(failed, now)
    logged = telemetry.attempts_logged()
    if logged == "all" or (failed and logged == "failures"):
        wanted = attempts if logged == "all" else [one for one in attempts if not isinstance(one.verdict, Delivered)]
        telemetry.lines(__name__, "attempt", now, map(_row, wanted))


class Challenged(NamedTuple):
    """A challenge that has ended, and what became of its endpoint; or the word that a subscription is over."""

    endpoint_id: str
    agent_id: str
    number: int
    duration_ms: int
    outcome: Literal["verified", "again", "unverified", "disabled", "told", "untold"]
    status: int | None
    error: str | None


def challenged(challenges: Sequence[Challenged], now: datetime) -> None:
    """These challenges are concluded, and will be said once."""
    for one in challenges:
        telemetry.challenges.labels(one.outcome, one.error or _status_class(one.status)).inc()
    telemetry.lines(__name__, "challenge", now, map(_challenge_row, challenges))


def round_ended(seconds: float, *, flying: int, waiting: int) -> None:
    """A round took that long, and so many deliveries are under way or wait for a place."""
    telemetry.round_seconds.observe(seconds)
    telemetry.deliveries_in_flight.set(flying)
    telemetry.deliveries_waiting.set(waiting)


def stands(standing: Standing, now: datetime) -> None:
    """Show how things stand, of the whole relay and of the endpoints that fail here."""
    oldest = standing.oldest_due_at
    telemetry.deliveries_oldest_due_seconds.set(0 if oldest is None else max(0.0, (now - oldest).total_seconds()))
    telemetry.deliveries_due.set(standing.due)
    _set(telemetry.deliveries_held, {"lane": standing.held_by_lane, "order": standing.held_by_order})
    _set(telemetry.breakers, {"open": 0, "half_open": 0, **standing.breakers})
    _set(telemetry.endpoints, {"pending": 0, "active": 0, "paused": 0, "disabled": 0, **standing.endpoints})
    telemetry.looked_timestamp_seconds.set(now.timestamp())
    telemetry.endpoint_failures.clear()
    for endpoint_id, count in _failures.worst(now):
        telemetry.endpoint_failures.labels(endpoint_id).set(count)


class Failures:
    """How often endpoints have failed of late: those of some minutes, forgotten ten seconds' worth at a time."""

    def __init__(self) -> None:
        self._spans: deque[tuple[datetime, Counter[str]]] = deque()

    def count(self, endpoint_ids: Iterable[str], now: datetime) -> None:
        """One more failure of each of these."""
        if not self._spans or now - self._spans[-1][0] >= timedelta(seconds=10):
            self._spans.append((now, Counter()))
            self._forget(now)
        latest = self._spans[-1][1]
        latest.update(endpoint_ids)
        if len(latest) > endpoints_failing_max:
            self._spans[-1] = (self._spans[-1][0], Counter(dict(latest.most_common(endpoints_shown))))

    def worst(self, now: datetime) -> Sequence[tuple[str, int]]:
        """The endpoints that failed most often, and how often."""
        self._forget(now)
        total = Counter[str]()
        for _, span in self._spans:
            total.update(span)
        return total.most_common(endpoints_shown)

    def _forget(self, now: datetime) -> None:
        while self._spans and now - self._spans[0][0] >= timedelta(seconds=failures_seconds):
            self._spans.popleft()


_failures = Failures()  # of this process, as its metrics are
_phases = Timings._fields
_outcomes: Mapping[type[Verdict], str] = {Delivered: "delivered", Retry: "retried", GiveUp: "failed"}
_counters: dict[tuple[str, str], Any] = {}
for _cause in (*get_args(Category), "1xx", "2xx", "3xx", "4xx", "5xx"):
    telemetry.attempts.labels("failed", _cause)  # at 0 from the start: of those given up, the first may be many at once


def _counter(outcome: str, cause: str) -> Any:
    """The counter of one outcome: found by its labels once, and not for each attempt."""
    found = _counters.get((outcome, cause))
    if found is None:
        found = _counters[outcome, cause] = telemetry.attempts.labels(outcome, cause)
    return found


def _status_class(status: int | None) -> str:
    return "none" if status is None else f"{status // 100}xx"


def _set(gauge: Any, values: Mapping[str, int]) -> None:
    for label, value in values.items():
        gauge.labels(label).set(value)


def _challenge_row(one: Challenged) -> Mapping[str, Any]:
    row = {
        "endpoint": one.endpoint_id,
        "agent": one.agent_id,
        "number": one.number,
        "duration_ms": one.duration_ms,
        "outcome": one.outcome,
        "status": one.status,
        "error": one.error,
    }
    return {name: value for name, value in row.items() if value is not None}


def _row(one: Attempted) -> Mapping[str, Any]:
    """The wide line. What there is nothing to say of is left out."""
    row: dict[str, Any] = {
        "delivery": one.delivery_id,
        "endpoint": one.endpoint_id,
        "message": one.message_id,
        "agent": one.agent_id,
        "number": one.number,
        "duration_ms": one.duration_ms,
        "outcome": _outcomes[type(one.verdict)],
    }
    if one.status is not None:
        row["status"] = one.status
    if one.error is not None:
        row["error"] = one.error
    for phase, ms in zip(_phases, one.timings, strict=True):
        if ms is not None:
            row[phase] = ms
    verdict = one.verdict
    if isinstance(verdict, Retry):
        row["next_attempt_at"] = verdict.at
    elif isinstance(verdict, GiveUp):
        row["reason"] = verdict.reason
    if one.traceparent is not None:
        row["trace"] = tracing.trace_id(one.traceparent)
    return row
