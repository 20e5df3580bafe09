"""Carries deliveries: claims what is due, posts it, and writes down what came of it.

One round is one short transaction: it concludes what has landed and claims what is due. Between rounds the requests fly
with no transaction open. A round is never waited for by a request, nor a request by a round.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries import register, store
from app.deliveries.attempts import Delivered, GiveUp, Retry, Verdict, judge, retry_after
from app.deliveries.conclusions import Concluded, Conclusions, answer_bytes_max
from app.deliveries.flights import Flights, ahead
from app.deliveries.relay_key import RelayKey
from app.deliveries.secrets import Secrets
from app.deliveries.store import Addressed, Claimed, Departure, NewMessage, Outcome
from app.events import Happened, record
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.kit.outbound import Answer, Fault, Outbound
from app.kit.wake import Wake
from app.settings import DeliverySettings
from tocsin import webhooks
from tocsin.keys import PrivateKey

__all__ = ["Courier", "content_headers"]

# How long a round waits for landings that it can conclude together; longer while nothing at all moves. And how far
# apart conclusions are while there is always something that has landed: each is a transaction, whatever it holds.
landing_wait_seconds = 0.040
idle_wait_seconds_max = 0.080
rounds_apart_seconds = 0.060
claim_batch_max = 500
response_excerpt_bytes_max = 1024
flight_seconds_expected = 0.05

content_headers = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Load:
    """A claimed delivery, the relay's keys that sign it, and until when it may still take off."""

    claimed: Claimed
    keys: Sequence[PrivateKey]
    take_off_by: float


@dataclass(frozen=True, slots=True)
class Landing:
    """An attempt that has ended."""

    claimed: Claimed
    started_at: datetime
    duration_ms: int
    result: Answer | Fault


@dataclass(frozen=True, slots=True)
class Grounded:
    """A delivery that waited for a place for so long that its lease might have ended in flight. Nothing was sent."""

    claimed: Claimed


class Courier:
    """Everything of one worker process that is in flight to endpoints."""

    def __init__(
        self,
        transaction: Transaction,
        clock: Clock,
        wake: Wake,
        outbound: Outbound,
        relay_key: RelayKey,
        secrets: Secrets,
        conclusions: Conclusions,
        settings: DeliverySettings,
        jitter: random.Random,
    ) -> None:
        self._transaction = transaction
        self._clock = clock
        self._wake = wake
        self._outbound = outbound
        self._relay_key = relay_key
        self._secrets = secrets
        self._conclusions = conclusions
        self._settings = settings
        self._jitter = jitter
        # Claimed ahead of free places, so that none is idle during a round, which takes as long as a few flights.
        waiting_max = ahead(settings.connections, flight_seconds_expected)
        self._flight_seconds = flight_seconds_expected
        self._flights = Flights(self._attempt, places=settings.connections, ahead=waiting_max)
        self._wait_seconds = landing_wait_seconds
        self._started = self._stopping = self._in_round = False

    def start(self) -> None:
        """This process carries deliveries from now on: it calls `deliver_next` whenever "deliveries" is rung."""
        self._started = True

    def stop(self) -> None:
        """Claim nothing more; what flies is still concluded by the rounds that follow."""
        self._stopping = True

    def hurry(self) -> None:
        """Something new may be due: let the round that waits for landings look at once."""
        self._flights.nudge()

    @property
    def in_flight(self) -> int:
        return self._flights.outstanding

    async def deliver_next(self) -> int:
        """Conclude what has landed, claim what is due and send it off. Returns how many of both, or how many are still
        in flight; 0 when nothing is due and nothing in flight."""
        landed = await self._flights.landed(self._wait_seconds, apart_seconds=rounds_apart_seconds)
        self._in_round = True
        try:
            async with self._transaction() as db:
                now = await self._clock.now(db)
                concluded = await self._conclude(db, landed, now)
                loads, cancelled = await self._claim(db, now)
                # The last, because it locks schedules: deliveries and endpoints are locked before them everywhere.
                is_heard = await self._conclusions.tell(db, [*concluded, *cancelled], now)
        except BaseException:
            # The answers are known, only not written down: they are concluded by the next round that can.
            self._flights.put_back(landed)
            raise
        finally:
            self._in_round = False
        # Claimed and committed: if we die from here on, the leases end and the attempts are made again.
        self._flights.start(loads)
        if is_heard:
            self._wake.ring("schedules")
        self._learn(landed)
        moved = len(landed) + len(loads)
        self._wait_seconds = landing_wait_seconds if moved else min(self._wait_seconds * 2, idle_wait_seconds_max)
        return moved or self._flights.outstanding

    async def dispatch(
        self, db: AsyncSession, messages: Sequence[NewMessage], addressed: Sequence[Addressed], now: datetime
    ) -> tuple[Sequence[Departure], Callable[[], None]]:
        """Set these on their way. Those that there is room for are ours from the start, and fly by the second answer.

        They are inserted as a claim would leave them: attempt 1, due again when the lease ends. So whatever happens to
        this process is what happens to a claim: if it dies after the commit, be it before the take-off, the lease ends
        and the attempt is made by whoever claims it then, as number 2. If there is no commit, there is no delivery.
        """
        room = self._flights.room if self._started and not self._stopping else 0
        by = self._take_off_by()
        lease = self._settings.lease_seconds
        departures = await store.add(db, messages, addressed, now, claim=room, lease_seconds=lease)
        by_id = {message.id: message for message in messages}
        keys = await self._relay_key.get(db, now)
        loads = [Load(_claimed(d, by_id[d.message_id]), keys, by) for d in departures if d.attempts]
        # Between here and the take-off, a round may fill the same room. Then these wait a little longer for a place.
        return departures, partial(self._take_off, loads, others=len(departures) - len(loads))

    def _take_off(self, loads: Sequence[Load], others: int) -> None:
        """Committed: send off what is ours. What is not, is due, and anybody's."""
        # While something is in flight, rounds follow one another; rung, they would hurry, and conclude one by one.
        rounds_go_on = self._in_round or self._flights.outstanding > 0
        self._flights.start(loads)
        if others or (loads and not rounds_go_on):
            self._wake.ring("deliveries")

    def _learn(self, ended: Sequence[Landing | Grounded]) -> None:
        """Let as many wait for a place as suits the pace of flights, by a running mean over a few dozen of them."""
        durations = [each.duration_ms / 1000 for each in ended if isinstance(each, Landing)]
        if durations:
            share = len(durations) / (len(durations) + self._settings.connections)
            self._flight_seconds += (sum(durations) / len(durations) - self._flight_seconds) * share
            self._flights.ahead = ahead(self._settings.connections, self._flight_seconds)

    def _take_off_by(self) -> float:
        """Until when what is claimed now may take off, so that it has landed when its lease ends."""
        return self._clock.monotonic() + self._settings.lease_seconds - self._settings.timeout_seconds

    async def _claim(self, db: AsyncSession, now: datetime) -> tuple[Sequence[Load], Sequence[Concluded]]:
        """What is to fly, and what was cancelled instead."""
        if self._stopping or self._flights.room == 0:
            return (), ()
        by = self._take_off_by()
        claimed = await store.claim(db, now, self._settings.lease_seconds, min(self._flights.room, claim_batch_max))
        if not claimed:
            return (), ()
        keys = await self._relay_key.get(db, now)
        deliverable, cancelled = await self._sorted_out(db, claimed, now)
        return [Load(delivery, keys, by) for delivery in deliverable], cancelled

    async def _sorted_out(
        self, db: AsyncSession, claimed: Sequence[Claimed], now: datetime
    ) -> tuple[Sequence[Claimed], Sequence[Concluded]]:
        """Those whose endpoint is active, and those that are cancelled with theirs. Others wait for theirs."""
        orphans = [c for c in claimed if c.endpoint_state is None]
        inactive = [c for c in claimed if c.endpoint_state not in (None, "active")]
        if orphans:
            await store.cancel(db, orphans, now)
        if not orphans and not inactive:
            return claimed, ()
        left_out = {c.id for c in orphans} | (await store.park(db, inactive) if inactive else set[str]())
        cancelled = [Concluded(c.subject, c.id, "cancelled") for c in orphans if c.subject is not None]
        return [c for c in claimed if c.id not in left_out], cancelled

    async def _attempt(self, load: Load) -> Landing | Grounded:
        started = self._clock.monotonic()
        if started > load.take_off_by:
            return Grounded(load.claimed)
        delivery, at = load.claimed, self._clock.wall()
        assert delivery.url is not None
        assert delivery.secrets is not None
        body = delivery.body.encode()
        signature = webhooks.sign(
            f"{delivery.endpoint_id}_{delivery.message_id}",
            at,
            body,
            secrets=self._secrets.signing(delivery.endpoint_id, delivery.secrets, at),
            keys=load.keys,
        )
        theirs = self._secrets.headers(delivery.endpoint_id, delivery.headers)
        result = await self._outbound.post(
            delivery.url,
            body,
            {**theirs, **content_headers, **signature},
            timeout_seconds=self._settings.timeout_seconds,
        )
        return Landing(delivery, at, round((self._clock.monotonic() - started) * 1000), result)

    async def _conclude(
        self, db: AsyncSession, ended: Sequence[Landing | Grounded], now: datetime
    ) -> Sequence[Concluded]:
        """Write down what came of these; returns what will not be tried again, and was about something."""
        grounded = [each.claimed for each in ended if isinstance(each, Grounded)]
        if grounded:
            await store.release(db, grounded, now)
        landed = [each for each in ended if isinstance(each, Landing)]
        if not landed:
            return ()
        verdicts = {landing.claimed.id: self._judge(landing, now) for landing in landed}
        ours = await store.conclude(db, [_outcome(landing, verdicts[landing.claimed.id], now) for landing in landed])
        concluded = [landing for landing in landed if landing.claimed.id in ours]
        await record(db, *(h for one in concluded if (h := _happened(one, verdicts[one.claimed.id], now)) is not None))
        gone = [one.claimed for one in concluded if _is_gone(verdicts[one.claimed.id])]
        if gone:
            # Only while it is still there that the endpoint is rung: its owner may have moved it meanwhile.
            urls = sorted({claimed.url for claimed in gone if claimed.url})
            ids = sorted({claimed.endpoint_id for claimed in gone})
            await disable(db, ids, "the endpoint answered 410 Gone", now, urls)
        return [about for one in concluded if (about := _about(one, verdicts[one.claimed.id])) is not None]

    def _judge(self, landing: Landing, now: datetime) -> Verdict:
        status, wait = None, None
        if isinstance(landing.result, Answer):
            status = landing.result.status
            if not 200 <= status < 300:
                wait = retry_after(landing.result.headers.get("Retry-After"), now)
        attempts = landing.claimed.attempts - landing.claimed.attempts_before
        return judge(status, attempts, now, wait=wait, jitter=self._jitter.random())


async def disable(
    db: AsyncSession, endpoint_ids: Sequence[str], reason: str, now: datetime, urls: Sequence[str] | None = None
) -> None:
    """Send nothing more to these endpoints until their owners enable them; what is due for them is kept."""
    disabled = await register.disable(db, endpoint_ids, reason, now, urls)
    await record(db, *(Happened("endpoint.disabled", id, agent, now, {"reason": reason}) for id, agent in disabled))


def _claimed(departure: Departure, message: NewMessage) -> Claimed:
    return Claimed(
        id=departure.id,
        attempts=departure.attempts,
        attempts_before=0,
        agent_id=departure.agent_id,
        endpoint_id=departure.endpoint_id,
        message_id=departure.message_id,
        endpoint_state="active",
        url=departure.url,
        secrets=departure.secrets,
        headers=departure.headers,
        body=message.body,
        subject=message.subject,
    )


def _is_gone(verdict: Verdict) -> bool:
    return isinstance(verdict, GiveUp) and verdict.gone


def _outcome(landing: Landing, verdict: Verdict, now: datetime) -> Outcome:
    state, due_at = _standing(verdict)
    answer = landing.result if isinstance(landing.result, Answer) else None
    fault = landing.result if isinstance(landing.result, Fault) else None
    return Outcome(
        id=landing.claimed.id,
        attempts=landing.claimed.attempts,
        state=state,
        due_at=due_at,
        concluded_at=None if state == "pending" else now,
        started_at=landing.started_at,
        duration_ms=landing.duration_ms,
        status=answer.status if answer else None,
        error=fault.category if fault else None,
        response_excerpt=_excerpt(answer.body) if answer else None,
    )


def _standing(verdict: Verdict) -> tuple[str, datetime | None]:
    match verdict:
        case Delivered():
            return "delivered", None
        case Retry(at):
            return "pending", at
        case GiveUp():
            return "failed", None


def _excerpt(body: bytes) -> str | None:
    """The beginning of a body as text that Postgres can store."""
    text = body[:response_excerpt_bytes_max].decode(errors="replace")
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}") or None


def _about(landing: Landing, verdict: Verdict) -> Concluded | None:
    """What to tell who listens: nothing while it is tried again, and of what is about nothing."""
    subject = landing.claimed.subject
    if subject is None or isinstance(verdict, Retry):
        return None
    if isinstance(verdict, GiveUp):
        return Concluded(subject, landing.claimed.id, "failed")
    assert isinstance(landing.result, Answer), "only an answer is a success"
    return Concluded(subject, landing.claimed.id, "delivered", landing.result.body[:answer_bytes_max])


def _happened(landing: Landing, verdict: Verdict, now: datetime) -> Happened | None:
    if isinstance(verdict, Retry):
        return None
    delivery = landing.claimed
    data = {
        "state": _standing(verdict)[0],
        "endpoint_id": delivery.endpoint_id,
        "message_id": delivery.message_id,
        "attempts": delivery.attempts,
        "status": landing.result.status if isinstance(landing.result, Answer) else None,
    }
    return Happened("delivery.concluded", delivery.id, delivery.agent_id, now, data)
