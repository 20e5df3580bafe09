"""Writes what the documentation says about code from the code itself: `make docs`.

Whole pages (problems, settings, metrics, vectors.json), and the blocks of other pages that stand between
`<!-- generated: name -->` and `<!-- end -->`. A test compares them with what is checked in.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from pydantic.fields import FieldInfo

from app.kit import limits
from app.kit.ids import derived_id
from app.kit.telemetry import metrics
from app.kit.telemetry.distribution import Distribution
from app.settings import Part, Settings
from docs import clock_changes, vectors
from tocsin import problems, webhooks
from tocsin.problems import ALL, Problem
from tocsin.recurrence import Occurrence
from tocsin.recurrence.jitters import hashed

HERE = Path(__file__).parent
PROTOCOL = HERE / "protocol"
CONCEPTS = HERE / "concepts"
REQUEST_ID = "req_06nnr8a4k2v9w3d7s1y5t0f6mc"

_BLOCK = re.compile(r"(?P<open><!-- generated: (?P<name>[a-z-]+) -->\n).*?(?P<close><!-- end -->)", re.DOTALL)


def main() -> None:
    for path, content in pages().items():
        path.write_text(content, encoding="utf-8")


def pages() -> dict[Path, str]:
    """Every page that is generated, whole or in part, with what should stand in it."""
    whole = {
        PROTOCOL / "problems.md": problems_page(),
        PROTOCOL / "vectors.json": json.dumps(vectors.everything(), indent=2) + "\n",
        HERE / "settings.md": settings_page(),
        HERE / "operating" / "metrics.md": metrics_page(),
    }
    written = sorted(path for folder in (PROTOCOL, CONCEPTS) for path in folder.glob("*.md") if path not in whole)
    return whole | {path: filled(path.read_text(encoding="utf-8")) for path in written}


def filled(page: str) -> str:
    """A page with its generated blocks as they should be."""
    return _BLOCK.sub(lambda match: match["open"] + BLOCKS[match["name"]]() + match["close"], page)


# --- blocks of the pages that people write


def fenced(language: str, text: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```\n"


def keys_block() -> str:
    facts = vectors.key_facts(vectors.AGENT_KEY)
    lines = [
        f"seed (hex)   {facts['seed_hex']}",
        f"public key   {facts['public_key']}",
        f"JWK          {json.dumps(facts['jwk'])}",
        f'hashed       {{"crv":"Ed25519","kty":"OKP","x":"{facts["public_key"]}"}}',
        f"keyid        {facts['keyid']}",
    ]
    return fenced("text", "\n".join(lines))


def rotation_block() -> str:
    rotation = vectors.rotation()
    body = json.dumps({"public_key": rotation["new_key"], "proof": rotation["proof"]}, indent=2)
    return fenced("text", rotation["statement"]) + "\nThe body of the request:\n\n" + fenced("json", body)


def ring_keys_block() -> str:
    lines = [
        f"secret        {vectors.SECRET}",
        f"secret (hex)  {webhooks.parse_secret(vectors.SECRET).hex()}",
        f"public key    {webhooks.public_key_text(vectors.RELAY_KEY.public)}",
        f"endpoint id   {vectors.ENDPOINT_ID}",
    ]
    return fenced("text", "\n".join(lines))


def clock_changes_block() -> str:
    lines = ["| spec | 2027-03-28, forward | 2026-10-25, back |", "|---|---|---|"]
    for spec in vectors.CLOCK_SPECS:
        told = " ".join(f"{name}: {value}" for name, value in spec.items() if name != "timezone")
        lines.append(f"| `{told}` | " + " | ".join(map(_slots, vectors.slots_around_clock_changes(spec))) + " |")
    return "\n".join(lines) + "\n"


def _slots(slots: list[Occurrence]) -> str:
    return ", ".join(f"{slot.local:%d. %H:%M}{slot.local.isoformat()[-6:-3]}" for slot in slots)


def event_id_block() -> str:
    return _derivations("evt", "event_id", ("chain", "block", "transaction", "log"), [vectors.LOG_KEY])


def fire_id_block() -> str:
    return _derivations("fir", "fire_id", ("schedule", "kind", "nominal time"), vectors.FIRE_KEYS)


def _derivations(prefix: str, name: str, names: Sequence[str], keys: Sequence[Sequence[str]]) -> str:
    """What each id is a hash of."""
    blocks: list[str] = []
    for parts in keys:
        lines = [f"{what:<12} {part}" for what, part in zip(names, parts, strict=True)]
        text = "".join(f"{len(part):08x}{part.encode().hex()}" for part in parts)
        blocks.append("\n".join([*lines, f"{'hashed':<12} {text}", f"{name:<12} {derived_id(prefix, *parts)}"]))
    return fenced("text", "\n\n".join(blocks))


def jitter_block() -> str:
    rows = vectors.jitters()
    lines = [
        f"For the slot {rows[0]['scheduled_at']} of `{rows[0]['schedule_id']}`, n is "
        f"{hashed(vectors.SCHEDULE_ID, vectors.NOW)}, and",
        "",
        "| `jitter` | following slot | delay |",
        "|---|---|---|",
        *(f"| {row['limit_seconds']} s | {row['following'] or 'none'} | {row['jitter_ms']} ms |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def paused_block() -> str:
    return fenced("json", (HERE.parent / "openapi/examples/SchedulePaused.json").read_text(encoding="utf-8"))


BLOCKS: Mapping[str, Callable[[], str]] = {
    "keys": keys_block,
    "rotation": rotation_block,
    "read-base": lambda: fenced("text", vectors.READ.base),
    "read-request": lambda: fenced("http", vectors.READ.text),
    "registration-base": lambda: fenced("text", vectors.REGISTRATION.base),
    "registration-request": lambda: fenced("http", vectors.REGISTRATION.text),
    "write-base": lambda: fenced("text", vectors.KEYED_WRITE.base),
    "write-request": lambda: fenced("http", vectors.KEYED_WRITE.text),
    "conditional-base": lambda: fenced("text", vectors.CONDITIONAL_WRITE.base),
    "conditional-request": lambda: fenced("http", vectors.CONDITIONAL_WRITE.text),
    "clock-changes": clock_changes_block,
    "clock-changes-compared": clock_changes.compared,
    "event-id": event_id_block,
    "fire-id": fire_id_block,
    "jitter": jitter_block,
    "paused-body": paused_block,
    "ring-keys": ring_keys_block,
    "fire-content": lambda: fenced("text", vectors.FIRED.content),
    "fire-request": lambda: fenced("http", vectors.FIRED.text),
    "challenge-request": lambda: fenced("http", vectors.CHALLENGE.text),
    "challenge-answer": lambda: fenced("json", (webhooks.challenge_answer(vectors.CHALLENGE.verified) or b"").decode()),
}


# --- problems.md

_PROBLEMS_HEAD = """\
# Problems

<!-- Written by `make docs` from the classes in sdk/src/tocsin/problems.py. -->

Whatever a relay refuses, it answers with a problem document (RFC 9457): media type `application/problem+json`, with

| member | is |
|---|---|
| `type` | `/problems/<slug>`, relative to the relay. It names the kind of problem; GET it for what to do next |
| `title` | the kind in words, always the same |
| `status` | the HTTP status, as on the answer |
| `detail` | what is wrong with this very request, for people. Do not take it apart |
| `instance` | the id of the request, as in the answer's `x-request-id` and in the relay's log |

Some kinds have more members, shown below. Decide by `type`; if you do not know it, by the status. Members may be added.

A refused request has changed nothing, except that the nonce of its signature may be used up: sign again before you
send it again. 408, 409 `idempotency-conflict`, 429 and 503 are worth a repeat as it is, after `Retry-After` seconds
where that header is present; a write with the same `Idempotency-Key`. Other refusals will be refused again.

`500 internal-error` is a defect of the relay. A request that ended without any answer may or may not have been
performed: repeat it with the same `Idempotency-Key`, and if it was, you get its answer.

A relay answers `too-many-requests` to who holds too many streams or has too many proofs made at once, and to who posts
more to an inbox than it takes; a proxy before it may for other reasons. Those whose names are only their status
(`bad-request`, `forbidden`, `conflict` and so on) stand for whatever has no name of its own.
"""

# What a problem looks like where its class alone does not say it.
_EXAMPLES: tuple[Problem, ...] = (
    problems.InvalidQuery(errors=[{"parameter": "limit", "detail": "Input should be less than or equal to 100"}]),
    problems.MissingSignature("The request has no Signature-Input header."),
    problems.MalformedSignature("The parameter created must be an integer: seconds since 1970."),
    problems.InvalidSignature(
        "The signature does not verify over signature_base; it verifies if @query is written differently.",
        component="@query",
        signature_base=vectors.READ.base,
    ),
    problems.SignatureExpired(
        "Of this signature, expires has passed; the clock here says 1795338400.",
        component="@signature-params",
        signature_base=vectors.READ.base,
    ),
    vectors.payment_required(),
    problems.NotFound("there is no such schedule"),
    problems.MethodNotAllowed(headers={"Allow": "GET, POST"}),
    problems.RequestTimeout(f"the body did not arrive within {limits.body_read_seconds} s"),
    problems.IdempotencyConflict(headers={"Retry-After": "1"}),
    problems.InvalidPrecondition('If-Match is one or more entity tags in double quotes, such as If-Match: "3", or *'),
    problems.PreconditionFailed("The version is 4; If-Match names another version.", version=4),
    problems.ContentTooLarge(
        f"the body may have at most {limits.body_bytes_max} bytes", bytes_max=limits.body_bytes_max
    ),
    problems.InvalidBody.at("/name", "String should have at least 1 character"),
    vectors.bad_recurrence(),
    problems.ForbiddenAddress.at("/url", "the host does not resolve, or not only to public addresses"),
    problems.InvalidKey.at("/public_key", "an Ed25519 public key has 32 bytes, this one 31"),
    problems.TooManyRequests(headers={"Retry-After": "12"}),
    problems.NotProvable(
        "events of kind evm.call: a block does not commit to what contracts answer; ask a node of your own by "
        "eth_call at this block"
    ),
    problems.BlockGone(
        "no provider has block 0x" + "5e" * 32 + " of eip155:8453 any more: a reorganisation took it from the chain",
        chain="eip155:8453",
        hash="0x" + "5e" * 32,
        retracted=True,
    ),
)


def problems_page() -> str:
    """docs/protocol/problems.md."""
    kinds = [kind for kind in ALL.values() if kind is not Problem]
    return _PROBLEMS_HEAD + "".join(_statuses(sorted(kinds, key=lambda kind: kind.status)))


def example(kind: type[Problem]) -> Problem:
    """A problem of this kind, as it might be answered."""
    return next((problem for problem in _EXAMPLES if type(problem) is kind), None) or kind()


def _statuses(kinds: list[type[Problem]]) -> Iterator[str]:
    status = 0
    for kind in kinds:
        if kind.status != status:
            status = kind.status
            yield f"\n## {_phrase(status)}\n"
        yield _problem(kind)


def _problem(kind: type[Problem]) -> str:
    shown = example(kind)
    headers = "".join(f"{name}: {value}\n" for name, value in shown.headers.items())
    document = json.dumps(shown.document(instance=REQUEST_ID), indent=2)
    head = f"HTTP/1.1 {_phrase(kind.status)}\nContent-Type: {problems.MEDIA_TYPE}\n{headers}"
    return f"\n### {kind.slug}\n\n{fill(kind.advice(), 120)}\n\n" + fenced("http", f"{head}\n{document}")


def _phrase(status: int) -> str:
    """The status in words of ours: those of the standard library differ between versions of Python."""
    return f"{status} {next(kind.title for kind in Problem.__subclasses__() if kind.status == status)}"


# --- settings.md

_SETTINGS_HEAD = """\
# Settings

<!-- Written by `make docs` from app/settings.py. -->

A relay is set up by environment variables. They are read once, when a process starts. Without any, `tocsin up` runs
a whole relay on this machine.

Lists are written with commas: `TOCSIN_OUTBOUND_ALLOW=127.0.0.0/8,::1/128`. All processes of one relay need the same
settings; addresses to listen on may differ. A name that is probably a misspelt one of these is refused. Kubernetes sets
variables of its own for each service: with one called `tocsin-api`, say `enableServiceLinks: false` in the pods.
"""


def settings_page() -> str:
    """docs/settings.md."""
    groups: dict[str, list[str]] = {"": []}
    for name, info in Settings.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Part):
            members = info.annotation.model_fields
            groups[name] = [_setting(f"{name}_{member}", about) for member, about in members.items()]
        else:
            groups[""].append(_setting(name, info))
    titles = {name: f"\n## {name.capitalize() or 'General'}\n\n" for name in groups}
    return _SETTINGS_HEAD + "".join(titles[name] + "".join(lines) for name, lines in groups.items())


def _setting(name: str, info: FieldInfo) -> str:
    assert info.description, f"the setting {name} has no description"
    facts = [_default(info), *_bounds(info)]
    text = f"`TOCSIN_{name.upper()}` ({', '.join(facts)}): {info.description}"
    return fill(text, 120, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False) + "\n"


def _default(info: FieldInfo) -> str:
    value = info.get_default(call_default_factory=True)
    return "unset" if value in (None, (), {}) else f"default `{value}`"


def _bounds(info: FieldInfo) -> Iterator[str]:
    annotation: Any = info.annotation
    if get_origin(annotation) is UnionType:
        [annotation] = [kind for kind in get_args(annotation) if kind is not NoneType]
    if get_origin(annotation) is Literal:
        yield "one of " + ", ".join(f"`{choice}`" for choice in get_args(annotation))
    words: dict[type, str] = {Ge: "at least", Gt: "more than", Le: "at most", Lt: "less than"}
    for bound in info.metadata:
        if isinstance(bound, Ge | Gt | Le | Lt):
            yield f"{words[type(bound)]} {next(getattr(bound, slot) for slot in bound.__slots__)}"


# --- operating/metrics.md

_METRICS_HEAD = """\
# Metrics

<!-- Written by `make docs` from app/kit/telemetry/metrics.py. -->

Every process has all of these. Of what it has nothing to say, those without labels stay at 0, and most with labels have
no series yet. So add up what workers count, and take the greatest of what they all look at. [watching.md](watching.md)
says which of them to look at, and why.

Beside them stand those of the Prometheus client itself: `process_*` (memory, CPU, open files) and `python_*`.

| metric | kind | labels | says |
|---|---|---|---|
"""


def metrics_page() -> str:
    """docs/operating/metrics.md."""
    rows = sorted((family.name, _metric(family, labels)) for family, labels in families())
    return _METRICS_HEAD + "".join(row for _, row in rows)


def families() -> Iterator[tuple[Metric, Sequence[str]]]:
    """Every metric of ours, and the names of its labels."""
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase | Distribution):
            # What a metric is labelled by is nowhere said in public while it has no values.
            labels: Sequence[str] = getattr(metric, "_labelnames", ())
            [family] = metric.describe() if isinstance(metric, MetricWrapperBase) else metric.collect()
            yield family, labels


def _metric(family: Metric, labels: Sequence[str]) -> str:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    named = ", ".join(f"`{label}`" for label in labels)
    return f"| `{name}` | {family.type} | {named} | {family.documentation} |\n"


if __name__ == "__main__":
    main()
