"""Signed requests: RFC 9421 HTTP Message Signatures over RFC 9530 digests, in one fixed profile.

>>> from datetime import UTC, datetime, timedelta
>>> from tocsin.keys import PrivateKey
>>> key, now = PrivateKey.from_seed(bytes(32)), datetime(2026, 11, 22, 9, tzinfo=UTC)
>>> request = Request.of("POST", "https://relay.example/v1/schedules", body=b"{}")
>>> headers = sign(request, key, created=now, expires=now + timedelta(seconds=60), nonce="IJ5r9Mk7bCtU2Qw0")
>>> sorted(headers)
['Content-Digest', 'Signature', 'Signature-Input']
>>> arrived = Request.of("POST", "https://relay.example/v1/schedules", headers, b"{}")
>>> verify(arrived, key.public, now=now).nonce
'IJ5r9Mk7bCtU2Qw0'

A server does it in two steps, because only the signature says whose key to look up: `parse`, then `verify` with the
key it found. What is covered is fixed: method, authority, path and query always, `content-digest` whenever there is
a body, `idempotency-key`, `if-match` and `if-none-match` whenever they are sent, in this order. Everything here is
pure: `now` comes in.
"""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import http_sf

from tocsin.keys import PrivateKey, PublicKey
from tocsin.problems import InvalidSignature, MalformedSignature, MissingSignature, SignatureExpired

__all__ = ["Request", "Signature", "content_digest", "covered", "parse", "sign", "signature_base", "verify"]

TAG = "tocsin-v1"
ALGORITHM = "ed25519"

skew_seconds_max = 60
lifetime_seconds_max = 300
field_chars_max = 4096
nonce_chars_min, nonce_chars_max = 8, 128

Component = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Request:
    """The parts of a request that a signature covers, as they go over the wire."""

    method: str
    authority: str
    path: str
    query: str
    """Without its question mark; an absent query and an empty one look the same, as in RFC 9421."""
    fields: Mapping[str, str]
    """Header fields by lower-case name; of a repeated one, the values joined by a comma and a space."""
    body: bytes = b""
    scheme: str = "https"

    @classmethod
    def of(
        cls, method: str, url: str, headers: Mapping[str, str] | Iterable[tuple[str, str]] = (), body: bytes = b""
    ) -> "Request":
        """A request as a client writes it."""
        parts = urlsplit(url)
        pairs = cast(Mapping[str, str], headers).items() if isinstance(headers, Mapping) else headers
        return cls(
            method=method,
            authority=authority_of(parts.netloc.rpartition("@")[2], parts.scheme),
            path=parts.path or "/",
            query=parts.query,
            fields=joined(pairs),
            body=body,
            scheme=parts.scheme.lower(),
        )


@dataclass(frozen=True)
class Signature:
    """A signature of our profile, well-formed, and not yet verified by having been parsed."""

    keyid: str
    nonce: str
    created: datetime
    expires: datetime
    value: bytes
    base: str
    """What must have been signed: the request as it arrived, and the parameters as they were sent."""

    @property
    def nonce_until(self) -> datetime:
        """Until when the nonce must be remembered; from then on the signature has expired for every clock."""
        return self.expires + timedelta(seconds=skew_seconds_max)


def sign(request: Request, key: PrivateKey, *, created: datetime, expires: datetime, nonce: str) -> dict[str, str]:
    """The header fields to add to the request: its signature, and its digest where there is a body."""
    added: dict[str, str] = {}
    fields = dict(request.fields)
    if request.body or "content-digest" in fields:
        added["Content-Digest"] = fields["content-digest"] = content_digest(request.body)
    parameters = {
        "created": int(created.timestamp()),
        "expires": int(expires.timestamp()),
        "nonce": nonce,
        "keyid": key.public.keyid,
        "alg": ALGORITHM,
        "tag": TAG,
    }
    to_sign = Request(request.method, request.authority, request.path, request.query, fields, b"", request.scheme)
    components: list[Component] = [(name, {}) for name in covered(to_sign)]
    signature_parameters = http_sf.ser([(cast(Any, components), cast(Any, parameters))])
    base = signature_base(to_sign, components, signature_parameters)
    value = b64encode(key.sign(base.encode("ascii"))).decode()
    return added | {"Signature-Input": f"sig={signature_parameters}", "Signature": f"sig=:{value}:"}


def verify(
    request: Request,
    key: PublicKey,
    *,
    now: datetime,
    signature: Signature | None = None,
    authorities: Collection[str] | None = None,
) -> Signature:
    """The signature, now known to be this key's over this request at this time; else the problem that says why not.

    `authorities` are the names that this server answers to; without them any will do. Whether the nonce is fresh and
    the key still counts is the caller's to decide.
    """
    signature = signature or parse(request)
    _check_time(signature, now)
    if authorities is not None and request.authority not in authorities:
        names = ", ".join(sorted(authorities))
        raise _differs(
            "@authority", f"{request.authority} is not a name of this relay; it answers to {names}", signature
        )
    if "content-digest" in request.fields:
        _check_digest(request, signature)
    if signature.keyid != key.keyid:
        raise _differs("@signature-params", "keyid is not the RFC 7638 thumbprint of the key", signature)
    if not key.verify(signature.base.encode("ascii"), signature.value):
        component = _what_differs(signature, key, authorities or ())
        hint = f"it verifies if {component} is written differently" if component else "no single component explains it"
        raise _differs(component, f"the signature does not verify over signature_base; {hint}", signature)
    return signature


def parse(request: Request) -> Signature:
    """The one signature of our profile that a request carries. Nothing about it has been verified yet."""
    label, members, parameters = _tagged(_dictionary(request, "signature-input"))
    value = _dictionary(request, "signature").get(label, (None, {}))[0]
    if not isinstance(value, bytes) or len(value) != 64:
        raise MalformedSignature(f"Signature: {label} must be the 64 bytes of an Ed25519 signature between colons.")
    created, expires = (_moment(parameters, name) for name in ("created", "expires"))
    nonce, keyid = (_text(parameters, name) for name in ("nonce", "keyid"))
    if _text(parameters, "alg") != ALGORITHM or len(parameters) != 6:
        raise MalformedSignature(
            f'The parameters are created, expires, nonce, keyid, alg="{ALGORITHM}" and tag="{TAG}", and no others.'
        )
    if not nonce_chars_min <= len(nonce) <= nonce_chars_max:
        raise MalformedSignature(f"nonce must have {nonce_chars_min} to {nonce_chars_max} characters.")
    components = [_component(member) for member in members]
    _check_components(request, components, parameters)
    # Serialised again, not cut out of the header: what was parsed is what is verified.
    base = signature_base(request, components, http_sf.ser([(members, parameters)]))
    return Signature(keyid, nonce, created, expires, value, base)


def covered(request: Request) -> tuple[str, ...]:
    """The components that a signature over this request must cover, in their order."""
    components = ["@method", "@authority", "@path", "@query"]
    if request.body or "content-digest" in request.fields:
        components.append("content-digest")
    # They decide what a request does. Proxies have no reason to add them.
    components += [name for name in ("idempotency-key", "if-match", "if-none-match") if name in request.fields]
    return tuple(components)


def signature_base(request: Request, components: Iterable[Component], parameters: str) -> str:
    """The signature base of RFC 9421 section 2.5, for any components that we know of.

    Raises `MalformedSignature` where the request lacks a component or its value cannot stand in a base.
    """
    lines = list[str]()
    for name, flags in components:
        identifier = http_sf.ser((name, dict(flags)))
        value = _value(request, name, flags)
        if not value.isascii() or not value.replace("\t", " ").isprintable():
            raise MalformedSignature(f"{identifier} holds characters other than visible ASCII; percent-encode them.")
        lines.append(f"{identifier}: {value}")
    if len(set(lines)) != len(lines):
        raise MalformedSignature("A component is listed twice.")
    return "\n".join([*lines, f'"@signature-params": {parameters}'])


def content_digest(body: bytes) -> str:
    """The `Content-Digest` of a body (RFC 9530)."""
    return f"sha-256=:{b64encode(hashlib.sha256(body).digest()).decode()}:"


def authority_of(host: str, scheme: str) -> str:
    """The authority as it is signed: in lower case, without the scheme's default port."""
    default = {"https": ":443", "http": ":80"}.get(scheme.lower(), "")
    return host.lower().removesuffix(default) if default else host.lower()


def joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Header fields by lower-case name, repeated ones joined as RFC 9421 section 2.1 says."""
    fields: dict[str, str] = {}
    for name, value in pairs:
        name, value = name.lower(), value.strip(" \t")
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


def _value(request: Request, name: str, flags: Mapping[str, Any]) -> str:
    """The value of one component of this request."""
    if name.startswith("@"):
        derived = None if flags else _derived(request, name)
        if derived is None:
            raise MalformedSignature(f"There is no component {http_sf.ser((name, dict(flags)))} that this relay knows.")
        return derived
    if name not in request.fields:
        raise MalformedSignature(f"The signature covers {name}, but the request has no such header.")
    if not flags:
        return request.fields[name]
    member = _dictionary(request, name).get(flags.get("key", ""))
    if set(flags) != {"key"} or member is None:
        raise MalformedSignature(f"The request has no {http_sf.ser((name, dict(flags)))}.")
    return http_sf.ser([cast(Any, member)])


def _derived(request: Request, name: str) -> str | None:
    target = request.path + (f"?{request.query}" if request.query else "")
    match name:
        case "@method":
            return request.method
        case "@authority":
            return request.authority
        case "@scheme":
            return request.scheme
        case "@target-uri":
            return f"{request.scheme}://{request.authority}{target}"
        case "@request-target":
            return target
        case "@path":
            return request.path
        case "@query":
            return f"?{request.query}"
        case _:
            return None


def _dictionary(request: Request, name: str) -> dict[str, tuple[Any, dict[str, Any]]]:
    """A header field as a dictionary of structured fields (RFC 9651)."""
    value = request.fields.get(name, "")
    if not value and name in ("signature", "signature-input"):
        raise MissingSignature(f"The request has no {name.title()} header.")
    if len(value) > field_chars_max:
        raise MalformedSignature(f"{name.title()} is longer than {field_chars_max} characters.")
    try:
        parsed = http_sf.parse(value.encode(), tltype="dictionary", on_duplicate_key=_refuse_duplicate)
    except (ValueError, TypeError) as error:
        raise MalformedSignature(f"{name.title()} is no dictionary of structured fields: {error}") from None
    return cast(dict[str, tuple[Any, dict[str, Any]]], parsed)


def _refuse_duplicate(key: str, _context: str) -> None:
    raise ValueError(f"{key} appears twice")


def _tagged(inputs: Mapping[str, tuple[Any, dict[str, Any]]]) -> tuple[str, list[Any], dict[str, Any]]:
    """Label, components and parameters of the one signature with our tag; others are none of our business."""
    labels = [label for label, (_, parameters) in inputs.items() if parameters.get("tag") == TAG]
    if not labels:
        raise MissingSignature(f'No member of Signature-Input has the parameter tag="{TAG}".')
    if len(labels) > 1:
        raise MalformedSignature(f'Several signatures are tagged "{TAG}"; send one.')
    members, parameters = inputs[labels[0]]
    if not isinstance(members, list):
        raise MalformedSignature(f"Signature-Input: {labels[0]} must be a list of components in parentheses.")
    return labels[0], cast(list[Any], members), parameters


def _component(member: Any) -> Component:
    name, flags = cast(tuple[Any, dict[str, Any]], member)
    if not isinstance(name, str):
        raise MalformedSignature("Components are written as strings in double quotes.")
    return name, flags


def _moment(parameters: Mapping[str, Any], name: str) -> datetime:
    value = parameters.get(name)
    if type(value) is not int or not 0 <= value < 2**37:  # beyond the year 6000 arithmetic would overflow
        raise MalformedSignature(f"The parameter {name} must be an integer: seconds since 1970.")
    return datetime.fromtimestamp(value, UTC)


def _text(parameters: Mapping[str, Any], name: str) -> str:
    value = parameters.get(name)
    if not isinstance(value, str):
        raise MalformedSignature(f"The parameter {name} must be a string in double quotes.")
    return value


def _check_components(request: Request, components: list[Component], parameters: dict[str, Any]) -> None:
    """Exactly what the profile covers, in its order: a signature that covers less protects less."""
    expected = covered(request)
    if "content-digest" in expected and "content-digest" not in request.fields:
        raise InvalidSignature("A request with a body needs a Content-Digest.", component="content-digest")
    given = [name for name, flags in components if not flags]
    if len(given) == len(components) and tuple(given) == expected:
        return
    missing = [name for name in expected if name not in given]
    extra = [name for name, flags in components if flags or name not in expected]
    to_sign: list[Component] = [(name, {}) for name in expected]
    raise InvalidSignature(
        "This request must be signed over exactly ({}), in this order; see signature_base for what to sign.".format(
            " ".join(f'"{name}"' for name in expected)
        ),
        component=next(iter(missing or extra), None),
        signature_base=signature_base(request, to_sign, http_sf.ser([(cast(Any, to_sign), parameters)])),
    )


def _check_time(signature: Signature, now: datetime) -> None:
    skew = timedelta(seconds=skew_seconds_max)
    lifetime = signature.expires - signature.created
    if signature.created > now + skew:
        reason = "created lies in the future"
    elif now >= signature.nonce_until:  # not a moment longer than its nonce is remembered
        reason = "expires has passed"
    elif not timedelta(0) < lifetime <= timedelta(seconds=lifetime_seconds_max):
        reason = f"expires must lie 1 to {lifetime_seconds_max} seconds after created"
    else:
        return
    raise SignatureExpired(
        f"Of this signature, {reason}; the clock here says {int(now.timestamp())}.",
        component="@signature-params",
        signature_base=signature.base,
    )


def _check_digest(request: Request, signature: Signature) -> None:
    """The body hashed by ourselves: a signature over a digest says nothing until the digest is compared."""
    given = _dictionary(request, "content-digest").get("sha-256", (None, {}))[0]
    if not isinstance(given, bytes):
        raise _differs("content-digest", "Content-Digest must have a member sha-256", signature)
    if not hmac.compare_digest(given, hashlib.sha256(request.body).digest()):
        seen = f"the {len(request.body)} bytes that arrived have {content_digest(request.body)}"
        raise _differs("content-digest", f"the body is not the one that was digested; {seen}", signature)


def _differs(component: str | None, reason: str, signature: Signature) -> InvalidSignature:
    detail = reason[0].upper() + reason[1:] + "."
    return InvalidSignature(detail, component=component, signature_base=signature.base)


def _what_differs(signature: Signature, key: PublicKey, authorities: Collection[str]) -> str | None:
    """Which line to change so that the signature verifies: the usual mistakes, tried one by one.

    Only a signature by the right key can be explained so; this costs a few milliseconds and happens only on refusal.
    """
    lines = signature.base.split("\n")
    for index, line in enumerate(lines):
        identifier, _, value = line.partition(": ")
        for variant in _variants(identifier.strip('"'), value, authorities):
            base = "\n".join([*lines[:index], f"{identifier}: {variant}", *lines[index + 1 :]])
            if variant != value and key.verify(base.encode("utf-8"), signature.value):
                return identifier.strip('"')
    return None


def _variants(component: str, value: str, authorities: Collection[str]) -> Iterator[str]:
    """How a client may have written a component by mistake."""
    match component:
        case "@method":
            yield from ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", value.lower())
        case "@authority":
            host = value.partition(":")[0]
            yield from (host, f"{host}:443", f"{host}:80", *sorted(authorities)[:8])
        case "@path":
            yield from (unquote(value), value.rstrip("/"), value + "/")
        case "@query":
            yield from ("", "?", value[1:], unquote(value))
        case "idempotency-key" | "if-match" | "if-none-match":
            yield from (value.strip('"'), f'"{value}"')
        case _:
            return
