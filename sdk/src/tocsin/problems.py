"""Everything a relay can refuse, as one tree: raised by the server, caught by the client.

A problem travels as an RFC 9457 document whose `type` is `/problems/<slug>`, so the class that an agent catches is the
class that the relay raised:

>>> sent = NotFound("There is no schedule sch_1 of yours.")
>>> document = sent.document(instance="req_1")
>>> document["type"], document["status"]
('/problems/not-found', 404)
>>> problem_from(404, document) == sent
True

    Problem
    ├── BadRequest 400
    │   ├── InvalidQuery · InvalidCursor · InvalidId · InvalidIdempotencyKey · InvalidPrecondition
    │   └── MalformedSignature · MalformedPayment
    ├── Unauthorized 401
    │   ├── MissingSignature · InvalidSignature · SignatureExpired · ReplayedNonce
    │   └── UnknownKey · RevokedKey · UnverifiedWebhook
    ├── PaymentRequired 402
    ├── Forbidden 403
    │   └── RegistrationClosed
    ├── NotFound 404
    ├── MethodNotAllowed 405
    ├── RequestTimeout 408
    ├── Conflict 409
    │   ├── IdempotencyConflict · AlreadyRegistered · EndpointNotActive · PaymentReused · DeliveryPending
    │   └── DeliveryConcluded · TooManySubscriptions · TooManyCalls · NotProvable
    ├── Gone 410
    │   └── PayloadGone · BlockGone
    ├── PreconditionFailed 412
    ├── ContentTooLarge 413
    ├── UnsupportedMediaType 415
    ├── HeadersTooLarge 431
    ├── Unprocessable 422
    │   ├── InvalidBody
    │   │   └── BadRecurrence · ForbiddenAddress · InvalidKey
    │   └── IdempotencyKeyReused
    ├── TooManyRequests 429
    ├── InternalError 500
    └── Unavailable 503
        ├── DatabaseUnavailable · DatabaseFull · FacilitatorUnavailable · PaymentPending
        └── ProviderUnavailable
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

MEDIA_TYPE = "application/problem+json"

_STANDARD_MEMBERS = frozenset({"type", "title", "status", "detail", "instance"})


class Problem(Exception):
    """Something was refused. The detail says what; the documentation of its type says what to do next."""

    status: int = 500
    slug: ClassVar[str] = "problem"
    title: ClassVar[str] = "Problem"

    def __init__(self, detail: str = "", *, headers: Mapping[str, str] | None = None, **extras: Any) -> None:
        super().__init__(detail)
        self.detail = detail or self.advice()
        self.headers: dict[str, str] = dict(headers or {})
        self.extras = extras
        self.instance: str | None = None

    def __init_subclass__(cls) -> None:
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", cls.__name__).lower()
        if "slug" not in cls.__dict__:
            cls.slug = words.replace(" ", "-")
        if "title" not in cls.__dict__:
            cls.title = words.capitalize()

    @classmethod
    def advice(cls) -> str:
        """What to do next: the class's docstring as one line."""
        return " ".join((cls.__doc__ or "").split())

    def document(self, instance: str | None = None) -> dict[str, Any]:
        """This problem as the members of an `application/problem+json` document."""
        members: dict[str, Any] = {"type": f"/problems/{self.slug}", "title": self.title, "status": self.status}
        members |= {"detail": self.detail} | self.extras
        if instance := instance or self.instance:
            members["instance"] = instance
        return members

    @property
    def retry_after_seconds(self) -> float | None:
        """How long the relay asked to wait, if it said so in seconds."""
        value = next((value for name, value in self.headers.items() if name.lower() == "retry-after"), "")
        return float(value) if re.fullmatch(r"[0-9]{1,9}", value) else None

    def __eq__(self, other: object) -> bool:
        """Whether the other says the same; which request each answers does not matter."""
        if type(other) is not type(self):
            return NotImplemented
        return (self.status, self.detail, self.extras) == (other.status, other.detail, other.extras)

    def __hash__(self) -> int:
        return hash((self.slug, self.detail))

    def __str__(self) -> str:
        return f"{self.title}: {self.detail}"


# 400


class BadRequest(Problem):
    """Correct the request as the detail says; sending it again unchanged will fail again."""

    status = 400
    title = "Bad request"


class InvalidQuery(BadRequest):
    """Correct the query parameters listed in `errors`; each names its parameter."""

    def __init__(self, detail: str = "", *, errors: list[dict[str, str]] | None = None, **extras: Any) -> None:
        super().__init__(detail or _told(errors or [], "parameter"), errors=errors or [], **extras)


class InvalidCursor(BadRequest):
    """Use a cursor exactly as the previous page gave it, or start again without one."""


class InvalidIdempotencyKey(BadRequest):
    """Send `Idempotency-Key` as 1 to 255 visible ASCII characters, a fresh one for each operation you mean."""


class InvalidId(BadRequest):
    """Choose another id: 1 to 100 letters, digits and `_ . : -`, of which the first is a letter or a digit, and not
    beginning as the relay's own ids do."""


class InvalidPrecondition(BadRequest):
    """Send `If-Match` and `If-None-Match` as entity tags in double quotes, separated by commas, or as `*`."""


class MalformedSignature(BadRequest):
    """Write `Signature-Input`, `Signature` and `Content-Digest` as RFC 9421 and RFC 9530 say."""


class MalformedPayment(BadRequest):
    """Send `PAYMENT-SIGNATURE` as an x402 client makes it from the `PAYMENT-REQUIRED` header, in version 2."""


# 401


class Unauthorized(Problem):
    """Sign the request as docs/protocol/signing.md says: RFC 9421 with the tag "tocsin-v1"."""

    status = 401

    def __init__(self, detail: str = "", *, headers: Mapping[str, str] | None = None, **extras: Any) -> None:
        super().__init__(detail, headers=dict(headers or {}) | {"WWW-Authenticate": "Signature"}, **extras)


class MissingSignature(Unauthorized):
    """Send `Signature-Input` and `Signature` with a signature tagged "tocsin-v1"."""


class InvalidSignature(Unauthorized):
    """Compare `signature_base`, which is what the relay verified, with what you signed; `component` names the line
    that differs, where the relay could tell."""


class SignatureExpired(Unauthorized):
    """Sign again with your clock set right: `created` at most 60 s ahead, `expires` not past, 300 s apart at most."""


class ReplayedNonce(Unauthorized):
    """Sign again with a fresh nonce; each nonce is accepted once."""


class UnknownKey(Unauthorized):
    """Register the key first with POST /v1/agents; `keyid` must be its RFC 7638 thumbprint."""


class RevokedKey(Unauthorized):
    """Sign with the agent's current key; this one has been rotated out or revoked for good."""


class UnverifiedWebhook(Unauthorized):
    """Sign what you post to this inbox with the secret that it was given, in the way that the detail says."""


# 402, 403, 404, 405, 408


class PaymentRequired(Problem):
    """Pay as the x402 members say and send the request again with its `PAYMENT-SIGNATURE` header."""

    status = 402


class Forbidden(Problem):
    """The relay knows who you are and will not do this for you; ask its operator."""

    status = 403


class RegistrationClosed(Forbidden):
    """Ask the operator of this relay to allow your key."""


class NotFound(Problem):
    """Check the id: it does not exist, or it is not yours. The two look alike on purpose."""

    status = 404


class MethodNotAllowed(Problem):
    """Use one of the methods in the `Allow` header."""

    status = 405


class RequestTimeout(Problem):
    """Send the whole body within the time that the detail names."""

    status = 408


# 409, 410, 412, 413, 415, 431


class Conflict(Problem):
    """Look at the present state, then decide again."""

    status = 409


class IdempotencyConflict(Conflict):
    """Wait: the first request with this `Idempotency-Key` is still running. Repeat it to get its answer."""


class AlreadyRegistered(Conflict):
    """Use the agent that this key already belongs to: GET /v1/agents/me."""


class EndpointNotActive(Conflict):
    """Take the endpoint up first, as its state asks for: verify, resume or enable it."""


class PaymentReused(Conflict):
    """Sign a new payment: this one is bound to another request. To repeat a request, repeat it unchanged."""


class TooManySubscriptions(Conflict):
    """End subscriptions that you no longer need: DELETE /v1/subscriptions/{id}."""


class TooManyCalls(Conflict):
    """Subscribe to a call that the relay makes already, ask its operator for more (`calls_max`), or ask a node of your
    own by `eth_call`."""


class DeliveryPending(Conflict):
    """Wait until the delivery has concluded; it is still being attempted."""


class DeliveryConcluded(Conflict):
    """Leave it: the delivery has come to its end. To send it once more: POST /v1/deliveries/{id}/redeliver."""


class NotProvable(Conflict):
    """Check it in the way that the detail names: nothing that the relay can get shows that this is so."""


class Gone(Problem):
    """Do without it: it was here, and is no more."""

    status = 410


class PayloadGone(Gone):
    """Publish it anew: the relay has the record of this delivery, and not what it said."""


class BlockGone(Gone):
    """Ask a node of your own for the block `hash`: none of the relay's providers has it any more. Where `retracted` is
    true that is as expected, because a reorganisation took the block from the chain."""


class PreconditionFailed(Problem):
    """Read the present version, and decide whether to repeat the request with its ETag in `If-Match`; `version` is its
    number, and missing where there is nothing yet."""

    status = 412

    @property
    def version(self) -> int | None:
        """The present version; None where there is nothing yet."""
        return self.extras.get("version")


class ContentTooLarge(Problem):
    """Send a smaller body; `bytes_max` is the limit."""

    status = 413


class UnsupportedMediaType(Problem):
    """Send the body as `application/json`, unencoded."""

    status = 415


class HeadersTooLarge(Problem):
    """Send fewer or shorter headers, or a shorter URL; the detail names the bound."""

    status = 431


# 422


class Unprocessable(Problem):
    """Correct the body; it can be read but not accepted."""

    status = 422


class InvalidBody(Unprocessable):
    """Correct the fields listed in `errors`; each `pointer` is an RFC 6901 pointer into the body you sent."""

    def __init__(self, detail: str = "", *, errors: list[dict[str, str]] | None = None, **extras: Any) -> None:
        super().__init__(detail or _told(errors or [], "pointer"), errors=errors or [], **extras)

    @classmethod
    def at(cls, pointer: str, detail: str, **extras: Any) -> Self:
        """The refusal of one field."""
        return cls(errors=[{"pointer": pointer, "detail": detail}], **extras)

    @property
    def errors(self) -> list[dict[str, str]]:
        return self.extras["errors"]


class BadRecurrence(InvalidBody):
    """Correct the recurrence; POST /v1/schedules/preview shows what one means before you register it."""


class ForbiddenAddress(InvalidBody):
    """Use a public https URL: the relay does not call private, local or reserved addresses, but for networks that its
    operator names in TOCSIN_OUTBOUND_ALLOW."""


class InvalidKey(InvalidBody):
    """Send an Ed25519 public key (32 bytes, a canonical point of prime order) as a JWK or in base64url."""


class IdempotencyKeyReused(Unprocessable):
    """Use a fresh `Idempotency-Key`: this one was used with another request."""


# 429 and 5xx


class TooManyRequests(Problem):
    """Wait as long as `Retry-After` says."""

    status = 429


class InternalError(Problem):
    """Nothing was changed. Report `instance` to the operator, who finds it in the log; repeat writes with the same
    `Idempotency-Key`."""

    status = 500


class Unavailable(Problem):
    """Repeat the request, with the same `Idempotency-Key`, after as many seconds as `Retry-After` says."""

    status = 503

    def __init__(self, detail: str = "", *, headers: Mapping[str, str] | None = None, **extras: Any) -> None:
        super().__init__(detail, headers={"Retry-After": "1"} | dict(headers or {}), **extras)


class DatabaseUnavailable(Unavailable):
    """The relay cannot reach its database at the moment; nothing was changed. Repeat the request shortly."""


class DatabaseFull(Unavailable):
    """The relay's database has no room for more; nothing was changed, and what was accepted before is kept. Repeat the
    request with the same `Idempotency-Key` after `Retry-After`: it is taken once the operator has made room."""


class FacilitatorUnavailable(Unavailable):
    """The payment could not be settled because its facilitator does not answer. Repeat with the same payment."""


class PaymentPending(Unavailable):
    """Whether the payment has settled is not known yet. Repeat the request with the same `PAYMENT-SIGNATURE`: it is
    served once the payment is found. Do not sign another one, or you may pay twice."""


class ProviderUnavailable(Unavailable):
    """No provider of the chain answers the relay at the moment. Repeat the request after `Retry-After`."""


def problem_from(
    status: int, document: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
) -> Problem:
    """The problem that an answer stands for; of an unknown type, the nearest by status."""
    document = document or {}
    slug = urlsplit(str(document.get("type", ""))).path.rpartition("/")[2]
    kind = ALL.get(slug) or _BY_STATUS.get(status, Problem)
    problem = kind.__new__(kind)
    extras = {name: value for name, value in document.items() if name not in _STANDARD_MEMBERS}
    # Past the subclass's own constructor: the server's words and headers stand as they were sent.
    Problem.__init__(problem, str(document.get("detail") or ""), headers=headers, **extras)
    if isinstance(problem, InvalidBody | InvalidQuery):
        problem.extras.setdefault("errors", [])
    problem.status = status
    problem.instance = document.get("instance")
    return problem


def _told(errors: list[dict[str, str]], key: str) -> str:
    """The errors of fields as one sentence each: what a person reads first."""
    shown = "; ".join(f"{error.get(key) or 'body'}: {error.get('detail', '')}" for error in errors[:3])
    return f"{shown}; and {more} more" if (more := len(errors) - 3) > 0 else shown


def _tree(kind: type[Problem]) -> Iterator[type[Problem]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)


ALL: Mapping[str, type[Problem]] = {kind.slug: kind for kind in _tree(Problem)}
"""Every problem by its slug."""

_BY_STATUS: Mapping[int, type[Problem]] = {kind.status: kind for kind in Problem.__subclasses__()}
