"""Asks new endpoints whether they want to be rung, before the first ring; and tells hosts of MCP Events of the last.

The question carries a nonce that exists only while its answer is awaited: it is used once by construction, and nothing
stored could be replayed. That a question is due is a row, so it survives any of us.

That a subscription has ended is told in the same way, whatever has become of its endpoint: by the row that ended with
it, due in the transaction that ended it. It is no delivery, which would wait for an endpoint to be well again.
"""

import hmac
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from secrets import token_urlsafe
from typing import Any, Literal, cast

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries import lane_book, register, watching
from app.deliveries.attempts import MCP_LADDER, VERIFICATION_LADDER, Delivered, GiveUp, Retry, Verdict, judge
from app.deliveries.courier import content_headers
from app.deliveries.flights import Flights
from app.deliveries.landings import host_of
from app.deliveries.manners import Manners
from app.deliveries.models import Endpoint
from app.deliveries.notices import Notices
from app.deliveries.profiles import Shaped, challenge, farewell, timeout_of
from app.deliveries.register import Disabled
from app.deliveries.relay_key import RelayKey
from app.deliveries.secrets import Secrets, stored, stored_headers
from app.deliveries.watching import Challenged
from app.events import Happened, record
from app.kit import due, limits
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.kit.ids import Ids
from app.kit.outbound import Answer, Fault, Outbound
from app.kit.wake import Wake
from app.settings import DeliverySettings
from tocsin import webhooks
from tocsin.keys import PrivateKey

__all__ = ["Challenger", "is_answered"]

challenges_at_once_max = 16
# Of these, about so many to the endpoints of one agent: those of a thousand that never answer leave room for others.
agent_challenges_max = 4
landing_wait_seconds = 0.010
idle_wait_seconds_max = 0.080


@dataclass(frozen=True, slots=True)
class Question:
    """A claimed endpoint, which is asked or told of its end, and the relay's keys that sign that."""

    endpoint: Endpoint
    keys: Sequence[PrivateKey]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, and whether it was the answer. A farewell is answered by anything that is a success."""

    endpoint: Endpoint
    result: Answer | Fault
    answered: bool
    duration_ms: int

    @property
    def is_farewell(self) -> bool:
        return _has_ended(self.endpoint)


class Challenger:
    """Every challenge of one worker process that is in flight."""

    def __init__(
        self,
        transaction: Transaction,
        clock: Clock,
        ids: Ids,
        wake: Wake,
        outbound: Outbound,
        relay_key: RelayKey,
        secrets: Secrets,
        notices: Notices,
        settings: DeliverySettings,
    ) -> None:
        self._transaction = transaction
        self._clock = clock
        self._ids = ids
        self._wake = wake
        self._outbound = outbound
        self._relay_key = relay_key
        self._secrets = secrets
        self._notices = notices
        self._settings = settings
        self._asked = Counter[str]()  # how many of each agent's endpoints are being asked
        self._flights = Flights(self._ask, places=challenges_at_once_max, ahead=0)
        self._manners = Manners(limits.challenges_per_host_max, seconds=1.0)
        self._wait_seconds = landing_wait_seconds

    async def verify_next(self) -> int:
        """Conclude the challenges that were answered, claim those that are due and send them. Returns how many of both,
        or how many are still in flight; 0 when nothing is due and nothing in flight."""
        landed = await self._flights.landed(self._wait_seconds)
        try:
            async with self._transaction() as db:
                now = await self._clock.now(db)
                verdicts, verified = await self._conclude(db, landed, now)
                questions, deferred = await self._claim(db, now)
        except BaseException:
            self._flights.put_back(landed)
            raise
        if verified:
            # What waited for these endpoints is due now. If this is lost, the sweep finds it.
            self._wake.ring("deliveries")
        self._asked.update(question.endpoint.agent_id for question in questions)
        self._flights.start(questions)
        watching.challenged([_challenged(reply, verdicts[reply.endpoint.id]) for reply in landed], now)
        moved = len(landed) + len(questions) + deferred
        self._wait_seconds = landing_wait_seconds if moved else min(self._wait_seconds * 2, idle_wait_seconds_max)
        return moved or self._flights.outstanding

    async def _claim(self, db: AsyncSession, now: datetime) -> tuple[Sequence[Question], int]:
        """What is to be sent now, and how many have been deferred."""
        busy = [agent_id for agent_id, count in self._asked.items() if count >= agent_challenges_max]
        claimed = await due.claim(
            db,
            Endpoint,
            now=now,
            lease_seconds=self._settings.lease_seconds,
            limit=min(self._flights.room, agent_challenges_max),
            where="agent_id <> all(cast(:busy as text[]))",
            params={"busy": busy},
        )
        if not claimed:
            return (), 0
        going = [each for each in claimed if self._may_go(each)]
        gone = {each.id for each in going}
        deferred = [_deferred(each, now) for each in claimed if each.id not in gone]
        await due.conclude(db, Endpoint, deferred)
        keys = await self._relay_key.get(db, now)
        return [Question(endpoint, keys) for endpoint in going], len(deferred)

    def _may_go(self, endpoint: Endpoint) -> bool:
        """Whether this may be sent now. Who is told that a subscription has ended wanted to be told."""
        return _has_ended(endpoint) or self._manners.may_ask(host_of(endpoint.url), self._clock.monotonic())

    async def _ask(self, question: Question) -> Reply:
        try:
            return await self._answer_of(question)
        finally:
            self._asked -= Counter([question.endpoint.agent_id])

    async def _answer_of(self, question: Question) -> Reply:
        started = self._clock.monotonic()
        endpoint, at, nonce = question.endpoint, self._clock.wall(), token_urlsafe(32)
        webhook_id, body, named = self._said(endpoint, nonce, at)
        secrets = self._secrets.signing(endpoint.id, stored(endpoint.secret, endpoint.secrets), at)
        signature = webhooks.sign(webhook_id, at, body, secrets=secrets, keys=question.keys)
        theirs = self._secrets.headers(endpoint.id, stored_headers(endpoint.headers))
        result = await self._outbound.post(
            endpoint.url,
            body,
            {**theirs, **content_headers, **named, **signature},
            timeout_seconds=timeout_of(endpoint.profile, endpoint.timeout_seconds, self._settings.timeout_seconds),
        )
        duration_ms = round((self._clock.monotonic() - started) * 1000)
        return Reply(endpoint, result, _has_ended(endpoint) or is_answered(result, nonce), duration_ms)

    def _said(self, endpoint: Endpoint, nonce: str, at: datetime) -> Shaped:
        if not _has_ended(endpoint):
            return challenge(endpoint.profile, endpoint.id, self._ids.new("msg"), nonce, at)
        assert endpoint.state_reason is not None, "what has ended says why"
        # One ending of one row: attempts only ever count up.
        ending = f"{endpoint.id} {endpoint.created_at.isoformat()} {endpoint.attempts_before}"
        return farewell(_subscription_of(endpoint), ending, endpoint.state_reason)

    async def _conclude(
        self, db: AsyncSession, landed: Sequence[Reply], now: datetime
    ) -> tuple[Mapping[str, Verdict], set[str]]:
        """Write down what came of these challenges; returns what was judged of each endpoint, and those that are active
        from now on."""
        if not landed:
            return {}, set()
        verdicts = {reply.endpoint.id: _judge(reply, now) for reply in landed}
        ours = await due.conclude(db, Endpoint, [_outcome(reply, verdicts[reply.endpoint.id], now) for reply in landed])
        await record(
            db,
            *(
                h
                for reply in landed
                if reply.endpoint.id in ours and (h := _happened(reply, verdicts, now)) is not None
            ),
        )
        farewells = [reply for reply in landed if reply.is_farewell and reply.endpoint.id in ours]
        told = [each for each in farewells if not isinstance(verdicts[each.endpoint.id], Retry)]
        if told:
            await register.remove(db, [each.endpoint.id for each in told if each.endpoint.state == "ended"])
        verified = {id for id in ours if isinstance(verdicts[id], Delivered)} - {f.endpoint.id for f in farewells}
        if verified:
            await lane_book.begin_anew(db, sorted(verified), now)
        for reply in landed:
            verdict = verdicts[reply.endpoint.id]
            if reply.endpoint.id in ours and isinstance(verdict, GiveUp) and verdict.gone and not reply.is_farewell:
                endpoint = reply.endpoint
                await self._notices.tell(
                    db, [Disabled(endpoint.id, endpoint.agent_id, endpoint.url)], verdict.reason, now
                )
        return verdicts, verified


def is_answered(result: Answer | Fault, nonce: str) -> bool:
    """Whether this is a 2xx with `{"challenge": "<the nonce>"}`."""
    if not isinstance(result, Answer) or not 200 <= result.status < 300 or result.truncated:
        return False
    try:
        answer: Any = orjson.loads(result.body)
    except ValueError:
        return False
    given = cast(dict[str, Any], answer).get("challenge") if isinstance(answer, dict) else None
    return isinstance(given, str) and hmac.compare_digest(given.encode(errors="replace"), nonce.encode())


def _judge(reply: Reply, now: datetime) -> Verdict:
    status = reply.result.status if isinstance(reply.result, Answer) else None
    if not reply.answered and status is not None and status < 300:
        status = None  # success without the answer is no success
    ladder = MCP_LADDER if reply.is_farewell else VERIFICATION_LADDER
    return judge(status, reply.endpoint.attempts - reply.endpoint.attempts_before, now, ladder=ladder)


def _deferred(endpoint: Endpoint, now: datetime) -> dict[str, Any]:
    """Asked a little later. That it was claimed counts as no attempt."""
    return {
        "id": endpoint.id,
        "attempts": endpoint.attempts,
        "attempts_before": endpoint.attempts_before + 1,
        "due_at": now + timedelta(seconds=limits.challenge_deferred_seconds),
    }


def _has_ended(endpoint: Endpoint) -> bool:
    """Whether it is due to be told of its end, and not asked."""
    return endpoint.state in ("disabled", "ended")


def _subscription_of(endpoint: Endpoint) -> str:
    return endpoint.subscription_id if endpoint.state == "ended" and endpoint.subscription_id else endpoint.id


def _outcome(reply: Reply, verdict: Verdict, now: datetime) -> dict[str, Any]:
    state, due_at, reason = _standing(verdict, reply)
    return {
        "id": reply.endpoint.id,
        "attempts": reply.endpoint.attempts,
        "state": state,
        "state_reason": reason,
        "due_at": due_at,
        "verified_at": now if state == "active" else reply.endpoint.verified_at,
        "updated_at": reply.endpoint.updated_at if reply.is_farewell else now,
    }


def _standing(verdict: Verdict, reply: Reply) -> tuple[str, datetime | None, str | None]:
    if reply.is_farewell:
        return reply.endpoint.state, verdict.at if isinstance(verdict, Retry) else None, reply.endpoint.state_reason
    match verdict:
        case Delivered():
            return "active", None, None
        case Retry(at):
            return "pending", at, _why(reply)
        case GiveUp(reason, gone=True):
            return "disabled", None, reason
        case GiveUp():
            return "pending", None, f"{_why(reply)}; POST …/verify asks again"


def _why(reply: Reply) -> str:
    """Why the challenge failed, in words for the endpoint's owner."""
    if isinstance(reply.result, Fault):
        return f"the challenge was not answered: {reply.result.category}"
    if 200 <= reply.result.status < 300:
        return "the challenge was answered without repeating it"
    return f"the challenge was answered with status {reply.result.status}"


def _challenged(reply: Reply, verdict: Verdict) -> Challenged:
    """What who watches sees of it."""
    return Challenged(
        endpoint_id=reply.endpoint.id,
        agent_id=reply.endpoint.agent_id,
        number=reply.endpoint.attempts - reply.endpoint.attempts_before,
        duration_ms=reply.duration_ms,
        outcome=_told(verdict) if reply.is_farewell else _outcome_of(verdict),
        status=reply.result.status if isinstance(reply.result, Answer) else None,
        error=reply.result.category if isinstance(reply.result, Fault) else None,
    )


def _told(verdict: Verdict) -> Literal["told", "again", "untold"]:
    match verdict:
        case Delivered():
            return "told"
        case Retry():
            return "again"
        case GiveUp():
            return "untold"


def _outcome_of(verdict: Verdict) -> Literal["verified", "again", "unverified", "disabled"]:
    match verdict:
        case Delivered():
            return "verified"
        case Retry():
            return "again"
        case GiveUp(gone=True):
            return "disabled"
        case GiveUp():
            return "unverified"


def _happened(reply: Reply, verdicts: Mapping[str, Verdict], now: datetime) -> Happened | None:
    endpoint, verdict = reply.endpoint, verdicts[reply.endpoint.id]
    if reply.is_farewell:
        if isinstance(verdict, Retry):
            return None
        data = {"told": isinstance(verdict, Delivered), "reason": endpoint.state_reason}
        return Happened("endpoint.terminated", _subscription_of(endpoint), endpoint.agent_id, now, data)
    match verdict:
        case Delivered():
            return Happened("endpoint.verified", endpoint.id, endpoint.agent_id, now, {"url": endpoint.url})
        case GiveUp(reason, gone=True):
            return Happened("endpoint.disabled", endpoint.id, endpoint.agent_id, now, {"reason": reason})
        case _:
            return None
