"""The operations of watchers."""

from app.kit.operations import Call, Operation
from app.watchers.service import Watchers
from tocsin.problems import BlockGone, NotFound, NotProvable, ProviderUnavailable, TooManyRequests
from tocsin.schemas.proofs import EventProof, ProofQuery
from tocsin.schemas.watchers import Watcher, WatcherQuery
from tocsin.schemas.wire import Page


async def list_watchers(call: Call[Watchers], query: WatcherQuery) -> Page[Watcher]:
    """List the watchers of what you subscribe to."""
    return await call.service.list(call.db, call.agent.id, query)


async def get_event_proof(call: Call[Watchers], id: str, query: ProofQuery) -> EventProof:
    """Get the proof of an event on a chain.

    Of one that a subscription of yours was told, by its `event_id`. What you then have to trust is its block's hash.
    """
    return await call.service.proof(call.agent.id, id, query.subscription_id)


OPERATIONS = (
    Operation("GET", "/v1/watchers", list_watchers),
    Operation(
        "GET",
        "/v1/events/{id}/proof",
        get_event_proof,
        problems=(NotFound, NotProvable, BlockGone, TooManyRequests, ProviderUnavailable),
        waits=True,
    ),
)
