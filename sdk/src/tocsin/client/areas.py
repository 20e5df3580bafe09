"""What a relay can be asked, area by area. Each method is written once and serves both clients."""

from tocsin.client.calls import Area, C, Call, delete, get, listing, operation, patch, post, segment
from tocsin.keys import PrivateKey, base64url, rotation_statement
from tocsin.schemas.agents import Agent, Jwk, NewAgent, RevokeKey, RotateKey
from tocsin.schemas.deliveries import Delivery, DeliveryDetail, DeliveryState
from tocsin.schemas.endpoints import CreatedEndpoint, Endpoint, EndpointState, NewEndpoint, PatchEndpoint
from tocsin.schemas.events import Event
from tocsin.schemas.payments import Payment, PriceList
from tocsin.schemas.subscriptions import EventPage, NewSubscription, Subscription
from tocsin.schemas.watchers import Watcher
from tocsin.schemas.wire import Page

__all__ = ["Agents", "Deliveries", "Endpoints", "Events", "Payments", "Subscriptions"]


class Agents(Area[C]):
    """You."""

    @operation
    def register(self, key: PrivateKey, name: str | None = None) -> Call[Agent]:
        """Register the key that this client signs with."""
        return post("/v1/agents", Agent, NewAgent(public_key=_jwk(key), name=name))

    @operation
    def me(self) -> Call[Agent]:
        """Show the agent that this client's key speaks for."""
        return get("/v1/agents/me", Agent)

    @operation
    def rotate(self, me: Agent, new: PrivateKey) -> Call[Agent]:
        """Let a new key speak for you. This client still signs with the old one, which ends with the answer."""
        proof = base64url(new.sign(rotation_statement(me.id, me.keyid, new.public.keyid)))
        return post("/v1/agents/me/rotate", Agent, RotateKey(public_key=_jwk(new), proof=proof))

    @operation
    def revoke(self, reason: str | None = None) -> Call[Agent]:
        """End your key for good; no other follows it."""
        return post("/v1/agents/me/revoke", Agent, RevokeKey(reason=reason))


class Endpoints(Area[C]):
    """Where you are rung."""

    @operation
    def create(self, url: str, description: str | None = None, secret: str | None = None) -> Call[CreatedEndpoint]:
        """Register an endpoint. The answer shows its webhook secret, this once."""
        return post("/v1/endpoints", CreatedEndpoint, NewEndpoint(url=url, description=description, secret=secret))

    @listing
    def list(self, state: EndpointState | None = None) -> Call[Page[Endpoint]]:
        """Your endpoints, oldest first."""
        return get("/v1/endpoints", Page[Endpoint], state=state, limit=100)

    @operation
    def get(self, id: str) -> Call[Endpoint]:
        """One endpoint."""
        return get(f"/v1/endpoints/{segment(id)}", Endpoint)

    @operation
    def change(self, id: str, changes: PatchEndpoint) -> Call[Endpoint]:
        """Change what `changes` sets; a new URL has to be verified again."""
        return patch(f"/v1/endpoints/{segment(id)}", Endpoint, changes)

    @operation
    def delete(self, id: str) -> Call[None]:
        """Delete an endpoint; what is still under way to it is cancelled."""
        return delete(f"/v1/endpoints/{segment(id)}")

    @operation
    def verify(self, id: str) -> Call[Endpoint]:
        """Send the verification challenge again, now."""
        return post(f"/v1/endpoints/{segment(id)}/verify", Endpoint)

    @operation
    def enable(self, id: str) -> Call[Endpoint]:
        """Take a disabled endpoint up again; it is challenged first."""
        return post(f"/v1/endpoints/{segment(id)}/enable", Endpoint)

    @operation
    def test(self, id: str) -> Call[Delivery]:
        """Ring this endpoint once, as a test."""
        return post(f"/v1/endpoints/{segment(id)}/test", Delivery)


class Subscriptions(Area[C]):
    """What you want to hear of."""

    @operation
    def create(self, new: NewSubscription) -> Call[Subscription]:
        """Subscribe."""
        return post("/v1/subscriptions", Subscription, new)

    @listing
    def list(self) -> Call[Page[Subscription]]:
        """Your subscriptions, oldest first."""
        return get("/v1/subscriptions", Page[Subscription], limit=100)

    @operation
    def get(self, id: str) -> Call[Subscription]:
        """One subscription."""
        return get(f"/v1/subscriptions/{segment(id)}", Subscription)

    @operation
    def delete(self, id: str) -> Call[None]:
        """End a subscription."""
        return delete(f"/v1/subscriptions/{segment(id)}")

    @operation
    def events(self, id: str, after: str | None = None, wait_seconds: int = 0, limit: int = 100) -> Call[EventPage]:
        """Events after a cursor, in the order of their source. With `wait_seconds` the relay waits for the first."""
        path = f"/v1/subscriptions/{segment(id)}/events"
        return get(path, EventPage, wait_seconds, after=after, wait=wait_seconds, limit=limit)

    @listing
    def watchers(self) -> Call[Page[Watcher]]:
        """The watchers of what you are subscribed to."""
        return get("/v1/watchers", Page[Watcher], limit=100)


class Payments(Area[C]):
    """What costs something, and what you paid."""

    @operation
    def prices(self) -> Call[PriceList]:
        """What costs something; all else is free."""
        return get("/v1/prices", PriceList)

    @listing
    def list(self) -> Call[Page[Payment]]:
        """Your payments, newest first."""
        return get("/v1/payments", Page[Payment], limit=100)

    @operation
    def get(self, id: str) -> Call[Payment]:
        """One payment."""
        return get(f"/v1/payments/{segment(id)}", Payment)


class Deliveries(Area[C]):
    """What is under way to you, or has arrived, or has not."""

    @listing
    def list(self, state: DeliveryState | None = None, endpoint: str | None = None) -> Call[Page[Delivery]]:
        """Deliveries, newest first."""
        return get("/v1/deliveries", Page[Delivery], state=state, endpoint=endpoint, limit=100)

    @operation
    def get(self, id: str) -> Call[DeliveryDetail]:
        """One delivery with its message and its attempts."""
        return get(f"/v1/deliveries/{segment(id)}", DeliveryDetail)

    @operation
    def redeliver(self, id: str) -> Call[Delivery]:
        """Attempt a delivery again, with the same webhook-id."""
        return post(f"/v1/deliveries/{segment(id)}/redeliver", Delivery)


class Events(Area[C]):
    """What happened to your things."""

    @listing
    def list(self, kind: str | None = None, subject: str | None = None) -> Call[Page[Event]]:
        """What happened, oldest first."""
        return get("/v1/events", Page[Event], kind=kind, subject=subject, limit=100)


def _jwk(key: PrivateKey) -> Jwk:
    return Jwk(x=base64url(key.public.raw))
