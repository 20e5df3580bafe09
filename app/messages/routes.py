"""The operations of messages."""

from app.kit.operations import Call, Operation
from app.messages.service import Messages
from tocsin.problems import NotFound
from tocsin.schemas.messages import (
    Message,
    MessageDetail,
    MessageQuery,
    NewMessage,
    NewMessages,
    PublishedMessage,
    PublishedMessages,
)
from tocsin.schemas.wire import Page


async def publish_message(call: Call[Messages], body: NewMessage) -> PublishedMessage:
    """Publish a message.

    It goes to those of your endpoints, or of the endpoints and agents that `to` names, which take it. It is durable
    once this is answered.
    """
    call.ring("deliveries")
    return await call.service.publish(call.db, call.agent.id, body, call.now)


async def publish_messages(call: Call[Messages], body: NewMessages) -> PublishedMessages:
    """Publish up to 100 messages, all or none."""
    call.ring("deliveries")
    return await call.service.publish_all(call.db, call.agent.id, body, call.now)


async def list_messages(call: Call[Messages], query: MessageQuery) -> Page[Message]:
    """List the messages that you published, newest first."""
    return await call.service.list(call.db, call.agent.id, query)


async def get_message(call: Call[Messages], id: str) -> MessageDetail:
    """Show a message that you published, and how many of its deliveries are in which state."""
    return await call.service.get(call.db, call.agent.id, id)


OPERATIONS = (
    Operation("POST", "/v1/messages", publish_message, status=202),
    Operation("POST", "/v1/messages/batch", publish_messages, status=202),
    Operation("GET", "/v1/messages", list_messages),
    Operation("GET", "/v1/messages/{id}", get_message, problems=(NotFound,)),
)
