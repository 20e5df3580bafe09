"""How one call is carried out: a flow without I/O, which both clients drive.

The flow yields what is to be done (send, pause, pay) and is sent what came of it; what to make of an answer is decided
by `judge`. A write carries one idempotency key through all its tries, so that it happens once however often it is sent.
"""

import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from random import Random
from typing import Any, Generic, TypeVar

import httpx

from tocsin.client.calls import Call
from tocsin.problems import IdempotencyConflict, PaymentRequired, Problem, problem_from

T = TypeVar("T")

tries_max_default = 4
pause_seconds_max = 30.0
pause_seconds_default = 0.25

_ERRNO = re.compile(r"^\[Errno -?[0-9]+\] ")
_TRANSIENT_STATUSES = frozenset({429, 502, 503, 504})
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_TRANSIENT_ERRORS = (httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError)


class ClientError(Exception):
    """The relay could not be asked, or did not answer as a relay does."""


class Unreachable(ClientError):
    """Check the relay's URL and that it runs."""

    @classmethod
    def after(cls, error: httpx.TransportError, *, has_been_sent: bool = True) -> "Unreachable":
        """What the last try ended with. It leaves open whether a write was carried out, unless no try was ever sent."""
        try:
            where, reads = str(error.request.url), error.request.method in {"GET", "HEAD"}
        except RuntimeError:  # raised before there was a request
            where, reads = "The relay", True
        doubt = " The write may have been carried out; look before you repeat it."
        if reads or not (has_been_sent or is_sent(error)):
            doubt = "" if reads else " Nothing was carried out."
        reason = _ERRNO.sub("", str(error)).rstrip(".") or type(error).__name__
        return cls(f"{where}: {reason}. {cls.__doc__}{doubt}")


def is_sent(outcome: "Outcome") -> bool:
    """Whether the relay may have taken the call: not where there was no connection to send it over."""
    return not isinstance(outcome, _NEVER_SENT)


class UnexpectedAnswer(ClientError):
    """Check the relay's URL: what answers there does not speak this protocol."""


@dataclass(frozen=True)
class Send(Generic[T]):
    """Send the call with these extra header fields; answer with the response or the transport's error."""

    call: Call[T]
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Pause:
    """Wait."""

    seconds: float


@dataclass(frozen=True)
class Pay:
    """Pay for the call; answer with the header fields that prove it, or with nothing."""

    problem: PaymentRequired


Outcome = httpx.Response | httpx.TransportError
Flow = Generator[Send[T] | Pause | Pay, Any, T]


@dataclass(frozen=True)
class Done:
    response: httpx.Response


@dataclass(frozen=True)
class Again:
    after_seconds: float


@dataclass(frozen=True)
class Refused:
    error: Problem | ClientError


@dataclass(frozen=True)
class Retries:
    """How often a call is tried, and how long it waits in between."""

    tries_max: int = tries_max_default
    pause_seconds: float = pause_seconds_default
    """Before the second try; twice as long before each further one."""
    jitter: Random = field(default_factory=Random)

    def pause(self, tries: int) -> float:
        """How long after the nth try, give or take a half: clients that failed together do not return together."""
        return min(self.pause_seconds * 2 ** (tries - 1), pause_seconds_max) * self.jitter.uniform(0.5, 1.5)


def exchange(call: Call[T], idempotency_key: str, retries: Retries) -> Flow[T]:
    """Carry out one call, and return what it answers; raises the problem that the relay answers with."""
    headers = dict(call.headers)
    if call.writes:
        headers.setdefault("Idempotency-Key", idempotency_key)
    paid = has_been_sent = False
    for tries in range(1, retries.tries_max + 1):
        outcome: Outcome = yield Send(call, headers)
        has_been_sent = has_been_sent or is_sent(outcome)
        verdict = judge(outcome, tries, retries, has_been_sent=has_been_sent)
        if isinstance(verdict, Done):
            return _read(call, verdict.response)
        if isinstance(verdict, Again):
            yield Pause(verdict.after_seconds)
            continue
        proof: Mapping[str, str] | None = None
        if isinstance(verdict.error, PaymentRequired) and not paid:
            proof = yield Pay(verdict.error)
        if not proof:
            raise verdict.error
        paid, headers = True, headers | dict(proof)
    raise AssertionError("the last try is done or refused")


def judge(outcome: Outcome, tries: int, retries: Retries, *, has_been_sent: bool = True) -> Done | Again | Refused:
    """What to make of the answer to the nth try; `has_been_sent`: whether the relay may have taken any of them."""
    last = tries >= retries.tries_max
    if isinstance(outcome, httpx.TransportError):
        if isinstance(outcome, _TRANSIENT_ERRORS) and not last:
            return Again(retries.pause(tries))
        return Refused(Unreachable.after(outcome, has_been_sent=has_been_sent))
    if outcome.is_success:
        return Done(outcome)
    problem = problem_from(outcome.status_code, _document(outcome), outcome.headers)
    transient = outcome.status_code in _TRANSIENT_STATUSES or isinstance(problem, IdempotencyConflict)
    if transient and not last:
        asked = _retry_after(problem, outcome)
        if asked is None or asked <= pause_seconds_max:
            return Again(max(asked or 0.0, retries.pause(tries)))
    return Refused(problem)


def _read(call: Call[T], response: httpx.Response) -> T:
    try:
        return call.answer(response.content)
    except ValueError as error:
        reason = str(error).partition("\n")[0]
        raise UnexpectedAnswer(f"{response.url} answered {reason.rstrip('.')}. {UnexpectedAnswer.__doc__}") from error


def _document(response: httpx.Response) -> dict[str, Any]:
    """The problem document of an answer; of an answer that has none, its beginning as the detail."""
    try:
        document: Any = response.json()
    except ValueError:
        document = None
    if isinstance(document, dict):
        return document  # pyright: ignore[reportUnknownVariableType]
    return {"detail": f"{response.url} answered {response.status_code}: {response.text[:200]}"}


def _retry_after(problem: Problem, response: httpx.Response) -> float | None:
    """What `Retry-After` asks for, as seconds or as a date against the server's own clock."""
    if problem.retry_after_seconds is not None:
        return problem.retry_after_seconds
    try:
        until, now = (parsedate_to_datetime(response.headers[name]) for name in ("retry-after", "date"))
        return max((until - now).total_seconds(), 0.0)
    except (KeyError, ValueError, TypeError):
        return None
