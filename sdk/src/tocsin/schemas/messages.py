"""Messages: what an agent has to say, to endpoints of its own and of agents that listen to it."""

from typing import Annotated, Any, cast

from pydantic import AfterValidator, Field

from tocsin.schemas.wire import Json, ListQuery, Timestamp, Wire, in_words

__all__ = [
    "DeliveryCounts",
    "Message",
    "MessageDelivery",
    "MessageDetail",
    "MessageQuery",
    "MessageType",
    "NewMessage",
    "NewMessages",
    "PublishedMessage",
    "PublishedMessages",
    "TypePattern",
    "takes",
]

data_depth_max = 64

_OWN = frozenset({"schedule", "event", "endpoint", "subscription", "tocsin"})
_ENVELOPES = frozenset({"verification", "gap", "terminated"})
_PARTS = r"[a-zA-Z0-9_]+(\.[a-zA-Z0-9_]+)*"
_SAID_OF_TYPES = "a type is letters, digits and _ between dots, such as order.paid"


def _free(type_: str) -> str:
    first = type_.partition(".")[0]
    if first in _OWN:
        raise ValueError(f"types that begin with {first}. are the relay's own; choose another beginning: app.{type_}")
    if type_ in _ENVELOPES:
        raise ValueError(f"{type_} is the type of a message of the relay itself; choose another: app.{type_}")
    return type_


def _bounded(data: Any) -> Any:
    level: list[Any] = [data]
    for _ in range(data_depth_max):
        level = [inner for value in level for inner in _within(value)]
        if not level:
            return data
    raise ValueError(f"data is nested at most {data_depth_max} deep")


def _within(value: Any) -> list[Any]:
    """The objects and arrays that this one holds, if it is one."""
    if isinstance(value, dict):
        found = list(cast(dict[str, Any], value).values())
    elif isinstance(value, list):
        found = cast(list[Any], value)
    else:
        return []
    return [inner for inner in found if isinstance(inner, dict | list)]


MessageType = Annotated[
    str,
    Field(max_length=128, pattern=f"^{_PARTS}$", description="Your own, such as `order.paid`: parts between dots."),
    in_words(_PARTS, _SAID_OF_TYPES),
    AfterValidator(_free),
]

_PATTERN = rf"(\*|{_PARTS}(\.\*)?)"
TypePattern = Annotated[
    str,
    Field(max_length=130, pattern=f"^{_PATTERN}$"),
    in_words(_PATTERN, "write a type such as order.paid, all that begin with one as order.*, or * for all"),
]
"""`order.paid`, `order.*` (whatever begins with `order.`), or `*`."""

_RECIPIENT = r"(ep|agt)_[0-9a-hjkmnp-tv-z]{26}"
Recipient = Annotated[
    str,
    Field(pattern=f"^{_RECIPIENT}$"),
    in_words(_RECIPIENT, "name an endpoint, ep_…, or an agent, agt_…: the prefix and 26 characters"),
]
OrderKey = Annotated[str, Field(min_length=1, max_length=128)]


class NewMessage(Wire):
    """A message to publish."""

    type: MessageType
    data: Annotated[Json, AfterValidator(_bounded)] = Field(description="Any JSON value, sent along as it is.")
    to: Annotated[list[Recipient], Field(min_length=1, max_length=100)] | None = Field(
        default=None,
        description="Whom: endpoints (`ep_…`) and agents (`agt_…`: all of their endpoints), of your own or that list "
        "you among their `senders`. Absent: all of your own. Of these, those whose `types` and `filter` take it.",
    )
    order_key: OrderKey | None = Field(
        default=None, description="An endpoint gets messages with the same key in order, one after the other."
    )


class NewMessages(Wire):
    """Messages to publish together: all of them, or none."""

    messages: list[NewMessage] = Field(min_length=1, max_length=100)


class MessageDelivery(Wire):
    """A published message on its way to one endpoint."""

    id: str = Field(description="dlv_…")
    endpoint_id: str


class PublishedMessage(Wire):
    """A message that is on its way, to those that take it: to nobody, where `deliveries` is empty."""

    id: str = Field(description="msg_…")
    type: str
    deliveries: list[MessageDelivery]
    created_at: Timestamp


class PublishedMessages(Wire):
    """What was published, in the order of the request."""

    messages: list[PublishedMessage]


class Message(Wire):
    """A message that you published."""

    id: str
    type: str
    order_key: str | None = None
    created_at: Timestamp


class DeliveryCounts(Wire):
    """How many deliveries of a message are in which state."""

    pending: int = 0
    delivered: int = 0
    failed: int = 0
    cancelled: int = 0


class MessageDetail(Message):
    """A message with what was said, and what became of it."""

    data: Json = Field(description="Null once it has been expunged.")
    expunged_at: Timestamp | None = Field(default=None, description="Since when the relay no longer has its content.")
    deliveries: DeliveryCounts


class MessageQuery(ListQuery):
    """Which messages, newest first."""

    type: str | None = Field(default=None, max_length=128, description="Only those of exactly this type.")


def takes(patterns: list[str] | None, type_: str) -> bool:
    """Whether one of these patterns is met by the type; None stands for any.

    >>> takes(["order.*"], "order.paid"), takes(["order.*"], "order"), takes(["order"], "order"), takes([], "order")
    (True, False, True, False)
    """
    return patterns is None or any(_meets(pattern, type_) for pattern in patterns)


def _meets(pattern: str, type_: str) -> bool:
    return pattern in ("*", type_) or (pattern.endswith(".*") and type_.startswith(pattern[:-1]))
