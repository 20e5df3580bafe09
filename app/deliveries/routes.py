"""The operations of deliveries."""

from app.deliveries.service import Deliveries
from app.kit.limits import relay_key_cached_seconds
from app.kit.operations import Call, Operation
from tocsin.problems import (
    Conflict,
    DeliveryConcluded,
    DeliveryPending,
    EndpointNotActive,
    ForbiddenAddress,
    PayloadGone,
)
from tocsin.schemas.deliveries import Delivery, DeliveryDetail, DeliveryQuery, EndpointStats
from tocsin.schemas.endpoints import (
    CreatedEndpoint,
    Endpoint,
    EndpointQuery,
    NewEndpoint,
    PatchEndpoint,
    RefreshEndpoint,
    RotatedEndpoint,
    RotateSecret,
)
from tocsin.schemas.recoveries import NewRecovery, NewRedrive, Recovery, RecoveryQuery
from tocsin.schemas.webhooks import JwkSet
from tocsin.schemas.wire import Page


async def vet(service: Deliveries, body: NewEndpoint | PatchEndpoint) -> None:
    """Look up where the relay is asked to call, before there is a transaction to hold open meanwhile."""
    if body.url is not None:
        await service.endpoints.vet(body.url)


async def create_endpoint(call: Call[Deliveries], body: NewEndpoint) -> CreatedEndpoint:
    """Register an endpoint.

    The relay posts it a signed `endpoint.verification` at once; it becomes active by answering 2xx with
    `{"challenge": "<the same>"}`. What is sent to it before waits. The secret is shown this once.
    """
    call.ring("endpoints")
    return await call.service.endpoints.create(call.db, call.agent.id, body, call.now)


async def list_endpoints(call: Call[Deliveries], query: EndpointQuery) -> Page[Endpoint]:
    """List your endpoints, oldest first."""
    return await call.service.endpoints.list(call.db, call.agent.id, query)


async def get_endpoint(call: Call[Deliveries], id: str) -> Endpoint:
    """Show an endpoint."""
    return await call.service.endpoints.get(call.db, call.agent.id, id, call.now)


async def change_endpoint(call: Call[Deliveries], id: str, body: PatchEndpoint) -> Endpoint:
    """Change an endpoint.

    Absent members stay as they are. A new URL is challenged before the next ring.
    """
    call.ring("endpoints")
    return await call.service.endpoints.change(call.db, call.agent.id, id, body, call.now)


async def delete_endpoint(call: Call[Deliveries], id: str) -> None:
    """Delete an endpoint.

    What was on its way to it is cancelled, and stays readable. The host of a subscription of MCP Events is told that it
    has ended.
    """
    # Runs that wait for those that are cancelled may begin.
    call.ring("schedules")
    call.ring("endpoints")
    await call.service.endpoints.delete(call.db, call.agent.id, id, call.now)


async def rotate_endpoint_secret(call: Call[Deliveries], id: str, body: RotateSecret) -> RotatedEndpoint:
    """Give an endpoint a new webhook secret.

    Every ring is then signed by the new secret and by those before it, until the overlap has passed. The new one is
    shown this once. At most five sign at a time.
    """
    return await call.service.endpoints.rotate_secret(call.db, call.agent.id, id, body, call.now)


async def verify_endpoint(call: Call[Deliveries], id: str) -> Endpoint:
    """Challenge a pending endpoint again, at once."""
    call.ring("endpoints")
    return await call.service.endpoints.verify(call.db, call.agent.id, id, call.now)


async def enable_endpoint(call: Call[Deliveries], id: str) -> Endpoint:
    """Take a disabled endpoint up again.

    It is challenged first. What has been kept for it is sent once it has answered.
    """
    call.ring("endpoints")
    return await call.service.endpoints.enable(call.db, call.agent.id, id, call.now)


async def pause_endpoint(call: Call[Deliveries], id: str) -> Endpoint:
    """Send nothing to an endpoint until you resume it.

    What is sent to it meanwhile is kept. What is in flight still arrives.
    """
    return await call.service.endpoints.pause(call.db, call.agent.id, id, call.now)


async def resume_endpoint(call: Call[Deliveries], id: str) -> Endpoint:
    """Take a paused endpoint up again.

    What has been kept for it is sent. One that was never verified is challenged first.
    """
    call.ring("endpoints")
    call.ring("deliveries")
    return await call.service.endpoints.resume(call.db, call.agent.id, id, call.now)


async def refresh_endpoint(call: Call[Deliveries], id: str, body: RefreshEndpoint) -> Endpoint:
    """Let a subscription of MCP Events hold for longer.

    With a `secret`, that one signs from now on. One that was disabled or has expired is taken up again.
    `delivery_status` says how it did until now.
    """
    call.ring("endpoints")
    call.ring("deliveries")
    return await call.service.endpoints.refresh(call.db, call.agent.id, id, body, call.now)


async def test_endpoint(call: Call[Deliveries], id: str) -> Delivery:
    """Send a test ring to an active endpoint."""
    call.ring("deliveries")
    return await call.service.endpoints.test(call.db, call.agent.id, id, call.now)


async def show_endpoint_stats(call: Call[Deliveries], id: str) -> EndpointStats:
    """Show how an endpoint does: what was sent to it and what became of that, what waits, and since when it fails."""
    return await call.service.history.stats(call.db, call.agent.id, id, call.now)


async def recover_endpoint(call: Call[Deliveries], id: str, body: NewRecovery) -> Recovery:
    """Send again what was sent to an endpoint in a span of time.

    By default what has failed or was cancelled; with `delivered` among the states, all of it. The webhook-ids stay.
    """
    call.ring("recoveries")
    return await call.service.recoveries.recover(call.db, call.agent.id, id, body, call.now)


async def list_deliveries(call: Call[Deliveries], query: DeliveryQuery) -> Page[Delivery]:
    """List your deliveries, newest first."""
    return await call.service.history.list(call.db, call.agent.id, query)


async def get_delivery(call: Call[Deliveries], id: str) -> DeliveryDetail:
    """Show a delivery with its body and its attempts."""
    return await call.service.history.get(call.db, call.agent.id, id)


async def redeliver(call: Call[Deliveries], id: str) -> Delivery:
    """Send a concluded delivery again.

    It keeps its webhook-id, so a receiver that has it already can drop it.
    """
    call.ring("deliveries")
    return await call.service.history.redeliver(call.db, call.agent.id, id, call.now)


async def cancel_delivery(call: Call[Deliveries], id: str) -> Delivery:
    """Cancel a delivery that is on its way.

    An attempt in flight may still arrive; it changes nothing any more.
    """
    # Runs that wait for it may begin, and deliveries behind it follow.
    call.ring("schedules")
    call.ring("deliveries")
    return await call.service.history.cancel(call.db, call.agent.id, id, call.now)


async def expunge_delivery(call: Call[Deliveries], id: str) -> DeliveryDetail:
    """Remove the payload of a delivery's message for good.

    It goes for all deliveries of that message, with what their receivers answered. Those that are on their way are
    cancelled. What became of each stays on record.
    """
    call.ring("schedules")
    call.ring("deliveries")
    return await call.service.history.expunge(call.db, call.agent.id, id, call.now)


async def redrive_deliveries(call: Call[Deliveries], body: NewRedrive) -> Recovery:
    """Send dead letters again: what has failed for good, at one endpoint or all."""
    call.ring("recoveries")
    return await call.service.recoveries.redrive(call.db, call.agent.id, body, call.now)


async def list_recoveries(call: Call[Deliveries], query: RecoveryQuery) -> Page[Recovery]:
    """List your recoveries, newest first."""
    return await call.service.recoveries.list(call.db, call.agent.id, query, call.now)


async def get_recovery(call: Call[Deliveries], id: str) -> Recovery:
    """Show a recovery and how far it has got."""
    return await call.service.recoveries.get(call.db, call.agent.id, id, call.now)


async def cancel_recovery(call: Call[Deliveries], id: str) -> Recovery:
    """Cancel a recovery.

    What it has set on its way stays so.
    """
    return await call.service.recoveries.cancel(call.db, call.agent.id, id, call.now)


async def list_webhook_keys(call: Call[Deliveries]) -> JwkSet:
    """Show the public keys that verify `v1a` signatures of webhooks, as a JWK set."""
    return await call.service.keys(call.db, call.now)


OPERATIONS = (
    Operation("POST", "/v1/endpoints", create_endpoint, status=201, problems=(ForbiddenAddress, Conflict), ask=vet),
    Operation("GET", "/v1/endpoints", list_endpoints),
    Operation("GET", "/v1/endpoints/{id}", get_endpoint),
    Operation("PATCH", "/v1/endpoints/{id}", change_endpoint, problems=(ForbiddenAddress,), ask=vet),
    Operation("DELETE", "/v1/endpoints/{id}", delete_endpoint, status=204),
    Operation("POST", "/v1/endpoints/{id}/rotate-secret", rotate_endpoint_secret, problems=(Conflict,)),
    Operation("POST", "/v1/endpoints/{id}/verify", verify_endpoint, problems=(EndpointNotActive,)),
    Operation("POST", "/v1/endpoints/{id}/enable", enable_endpoint, problems=(Conflict,)),
    Operation("POST", "/v1/endpoints/{id}/pause", pause_endpoint, problems=(EndpointNotActive,)),
    Operation("POST", "/v1/endpoints/{id}/resume", resume_endpoint, problems=(EndpointNotActive,)),
    Operation("POST", "/v1/endpoints/{id}/refresh", refresh_endpoint, problems=(Conflict,)),
    Operation("POST", "/v1/endpoints/{id}/test", test_endpoint, status=202, problems=(EndpointNotActive,)),
    Operation("GET", "/v1/deliveries", list_deliveries),
    Operation("GET", "/v1/deliveries/{id}", get_delivery),
    Operation(
        "POST",
        "/v1/deliveries/{id}/redeliver",
        redeliver,
        status=202,
        problems=(DeliveryPending, EndpointNotActive, PayloadGone),
    ),
    Operation("POST", "/v1/deliveries/{id}/cancel", cancel_delivery, problems=(DeliveryConcluded,)),
    Operation("POST", "/v1/deliveries/{id}/expunge", expunge_delivery, problems=(Conflict,)),
    Operation("GET", "/v1/endpoints/{id}/stats", show_endpoint_stats),
    Operation(
        "POST", "/v1/endpoints/{id}/recover", recover_endpoint, status=202, problems=(Conflict, EndpointNotActive)
    ),
    Operation("POST", "/v1/deliveries/redrive", redrive_deliveries, status=202, problems=(Conflict, EndpointNotActive)),
    Operation("GET", "/v1/recoveries", list_recoveries),
    Operation("GET", "/v1/recoveries/{id}", get_recovery),
    Operation("DELETE", "/v1/recoveries/{id}", cancel_recovery),
    Operation(
        "GET", "/.well-known/jwks.json", list_webhook_keys, signed=False, cached_seconds=relay_key_cached_seconds
    ),
)
