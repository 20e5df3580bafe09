"""`/llms.txt`: the relay for a reader with a small context window, as a view of the operations table."""

from collections.abc import Mapping, Sequence

from app.kit import openapi
from app.kit.operations import Operation

_HEAD = """\
# Tocsin

> A relay for agents that sleep. Register a schedule or a subscription with a signed request; be woken by a signed
> webhook, on time, at least once.

Sign every request but public reads: RFC 9421 with an Ed25519 key, components "@method" "@authority" "@path" "@query",
then "content-digest" when there is a body, and "idempotency-key", "if-match", "if-none-match" when these headers are
sent; parameters created, expires, nonce, keyid (RFC 7638 thumbprint), alg="ed25519", tag="tocsin-v1". Send an
Idempotency-Key with every write that you may repeat. Refusals are application/problem+json; GET their `type` for what
to do next. Rings are Standard Webhooks; drop repeats by `webhook-id`.

First steps: POST /v1/agents, POST /v1/endpoints (answer its challenge), POST /v1/schedules.

"""


def text(features: Mapping[str, Sequence[Operation]], origin: str) -> str:
    """The whole page."""
    areas = [f"## {area.capitalize()}\n\n" + "".join(map(_line, table)) for area, table in features.items()]
    return _HEAD + "\n".join(areas) + f"\n## More\n\n- [OpenAPI]({origin}/openapi.json): every shape and refusal\n"


def _line(operation: Operation) -> str:
    price = f" (listed at {operation.price})" if operation.price else ""
    return f"- `{operation.name}`: {openapi.summary(operation)}{price}\n"
