"""JSON-RPC to one provider of a chain. Whatever goes wrong out there comes back as a value, with its reason."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, TypeGuard, cast

import httpx
import orjson

from app.kit import limits, telemetry
from app.kit.clock import Clock, SystemClock
from app.kit.operator_http import Read, Room, TooLarge, Unreadable, post_bounded
from app.kit.telemetry import metrics
from app.watchers.evidence import Capability
from app.watchers.health import Health, timed
from app.watchers.refusals import Meaning, meaning_of

log = telemetry.logger(__name__)


@dataclass(frozen=True, slots=True)
class Fault:
    """No answer, or none that can be read."""

    reason: str
    cause: str = "garbage"
    again_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The node answered with an error."""

    code: int
    reason: str
    meaning: Meaning = Meaning.OTHER
    again_seconds: float | None = None
    said: str = ""  # for us alone: it may name the operator's account


@dataclass(frozen=True, slots=True)
class Result:
    """What the node answered; unchecked."""

    value: object
    size: int = field(default=0, compare=False)
    """Bytes that it came in."""


Outcome: TypeAlias = Result | Refused | Fault
Call: TypeAlias = tuple[str, tuple[object, ...]]
"""A method and its parameters."""


class Held:
    """What the answers about a chain have to show: one for all its providers, or the weakest would decide."""

    def __init__(self, capability: Capability) -> None:
        self.capability = capability


class Rpc:
    """One provider of one chain: how to ask it, what it can do, and how it fares.

    What it can do is learned from its refusals, and forgotten with the process: it may be able to do more tomorrow.
    What its answers have to show is not: see `held`.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        chain: str,
        url: str,
        capability: Capability | None = None,
        *,
        held: Held | None = None,
        room: Room | None = None,
        name: str = "",
        timeout_seconds: float = limits.rpc_timeout_seconds,
        clock: Clock | None = None,
    ) -> None:
        self.chain = chain
        self.name = name
        self.health = Health()
        self.has_block_receipts = True
        self.has_tags = True
        self.takes_batches = True
        self.is_of_the_chain = False  # not asked yet
        self.held = held or Held(capability or Capability())
        self._room = room or Room(limits.rpc_small_answer_bytes_max)
        self._http = http
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._clock = clock or SystemClock()
        self._ids = itertools.count(1)

    @property
    def capability(self) -> Capability:
        """What is demanded of its answers: what the chain's have shown, unless the operator says it."""
        return self.held.capability

    @capability.setter
    def capability(self, capability: Capability) -> None:
        self.held.capability = capability

    async def call(self, method: str, *params: object) -> Outcome:
        """Make one call, within a deadline and a bound on the answer's size."""
        metrics.rpc_calls.labels(self.chain, method).inc()
        number, body = self._body((method, params))
        answered = await self._post(method, body)
        return answered if isinstance(answered, Fault) else answered.outcome(answered.answer, number)

    async def call_all(self, calls: Sequence[Call]) -> list[Outcome]:
        """Make several calls, in one request where the provider takes that. Outcomes are in the order of the calls."""
        if not self.takes_batches or len(calls) < 2:
            return await self._one_by_one(calls)
        batches = [
            calls[first : first + limits.rpc_batch_calls_max]
            for first in range(0, len(calls), limits.rpc_batch_calls_max)
        ]
        outcomes: list[Outcome] = []
        for batch in batches:
            found = await self._batch(batch)
            if found is None:
                found = await self._one_by_one(batch)
                # Only what is answered singly shows that it was the batch that was refused.
                self.takes_batches = not any(isinstance(each, Result) for each in found)
            outcomes += found
        return outcomes

    async def _one_by_one(self, calls: Sequence[Call]) -> list[Outcome]:
        at_once = asyncio.Semaphore(limits.rpc_calls_at_once)

        async def one(call: Call) -> Outcome:
            async with at_once:
                return await self.call(call[0], *call[1])

        return await asyncio.gather(*(one(call) for call in calls))

    async def _batch(self, calls: Sequence[Call]) -> Sequence[Outcome] | None:
        """The outcomes; None when it was not answered as a batch."""
        for method, _ in calls:
            metrics.rpc_calls.labels(self.chain, method).inc()
        numbered = [self._body(call) for call in calls]
        answered = await self._post(f"a batch of {len(calls)}", b"[" + b",".join(body for _, body in numbered) + b"]")
        if isinstance(answered, Fault):
            return [answered] * len(calls)
        answers = answered.answer
        if not isinstance(answers, list):
            whole = answered.outcome(answers, None)
            asks_for_a_pause = isinstance(whole, Refused) and whole.meaning in (Meaning.LIMITED, Meaning.EXHAUSTED)
            is_down = isinstance(whole, Fault) and (whole.cause == "limited" or answered.status >= 502)
            return [whole] * len(calls) if asks_for_a_pause or is_down else None
        # In whatever order; what answers nothing that was asked is not looked at, and of two answers the last one is.
        by_id = {
            fields["id"]: fields for fields in map(_fields, cast(list[object], answers)) if _is_number(fields.get("id"))
        }
        share = replace(answered, size=answered.size // len(calls))
        return [share.outcome(by_id.get(number, {}), number) for number, _ in numbered]

    def _body(self, call: Call) -> tuple[int, bytes]:
        number = next(self._ids)
        return number, orjson.dumps({"jsonrpc": "2.0", "id": number, "method": call[0], "params": call[1]})

    async def _post(self, what: str, body: bytes) -> Answered | Fault:
        began = self._clock.monotonic()
        try:
            # It is large until it has been taken apart, which takes several times as much.
            async with self._room.answer() as growing:
                async with asyncio.timeout(self._timeout_seconds):
                    most = limits.rpc_answer_bytes_max
                    read = await post_bounded(self._http, self._url, body, bytes_max=most, growing=growing)
                answered = Answered(read.status, len(read.content), _parsed(read), _again_seconds(read))
        except (TimeoutError, httpx.TimeoutException):
            return Fault(f"{what}: no answer within {self._timeout_seconds:g} s", "timeout")
        except httpx.ConnectError:
            return Fault(f"{what}: nobody takes a connection there", "connection")
        except (httpx.HTTPError, OSError) as error:
            return Fault(f"{what}: the connection failed ({type(error).__name__})", "connection")
        except TooLarge:
            return Fault(f"{what}: the answer has more than {limits.rpc_answer_bytes_max} bytes")
        except Unreadable as unreadable:
            return Fault(f"{what}: {unreadable}")
        self.health = timed(self.health, self._clock.monotonic() - began)
        return answered


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back for a request, taken apart."""

    status: int
    size: int
    answer: object
    again_seconds: float | None

    def outcome(self, answer: object, expected_id: object) -> Outcome:
        """What it says of one call, by the answer to that."""
        return _outcome(self, answer, expected_id)


_NO_JSON = object()


def _parsed(read: Read) -> object:
    try:
        return orjson.loads(read.content)
    except orjson.JSONDecodeError:
        return _NO_JSON


def _outcome(read: Answered, answer: object, expected_id: object) -> Outcome:
    fields = _fields(answer)
    # An error keeps its meaning whatever the HTTP status: providers differ in what they send with it.
    if error := _fields(fields.get("error")):
        given: object = error.get("code")
        code = given if _is_number(given) else 0
        # No more of it than is ever read: it is as long as the provider likes, and patterns are sought in it.
        message = str(error.get("message"))[: limits.rpc_error_chars_max]
        # Its message is for the operator and may name the operator's account; what is returned here, agents are shown.
        log.warning("a node refused a call", code=code, message=message[:200])
        meaning = meaning_of(read.status, code, message)
        return Refused(code, f"the node answered with error {code}", meaning, read.again_seconds, message)
    if read.status == 429:
        return Fault("HTTP status 429", "limited", read.again_seconds)
    if read.status != 200:
        return Fault(f"HTTP status {read.status}", "http", read.again_seconds)
    if answer is _NO_JSON:
        return Fault("the answer is no JSON")
    if fields.get("id") != expected_id or "result" not in fields:
        return Fault("not an answer to what was asked")
    return Result(fields["result"], read.size)


def _again_seconds(read: Read) -> float | None:
    """What `Retry-After` asks for, where it is a number of seconds."""
    given = read.headers.get("retry-after", "")
    return float(given) if given.isascii() and given.isdecimal() and len(given) < 9 else None


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _fields(value: object) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], value) if isinstance(value, dict) else {}
