"""Endpoints: registered, changed, challenged, stopped and taken up again by their owners."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries import archive, lane_book, register
from app.deliveries.conclusions import Conclusions
from app.deliveries.ending import endpoint_deleted, tell_of
from app.deliveries.history import shown_delivery
from app.deliveries.models import Endpoint
from app.deliveries.notices import Notices
from app.deliveries.profiles import expiry, subscription_id
from app.deliveries.secrets import Entry, Secrets, stored_headers
from app.deliveries.sending import Outgoing, Sending
from app.events import Happened, record
from app.kit import limits, pages
from app.kit.headers import BadHeaders, check_headers
from app.kit.ids import Ids
from app.kit.operations import require
from app.kit.outbound import Fault, Outbound
from app.kit.sql import sql
from app.kit.urls import BadUrl, parse_url
from tocsin import webhooks
from tocsin.filters import BadFilter, Filter
from tocsin.problems import Conflict, EndpointNotActive, ForbiddenAddress, InvalidBody
from tocsin.schemas import deliveries as delivery_wire
from tocsin.schemas import endpoints as wire
from tocsin.schemas.webhooks import EndpointTest, Tested
from tocsin.schemas.wire import Page, rfc3339

__all__ = ["Endpoints"]

# What its owner chooses, is kept as it is, and is null where the relay's own rule suits.
_CHOSEN = ("max_in_flight", "rate_per_second", "retry_seconds", "timeout_seconds", "types", "filter", "senders")


class Endpoints:
    """Where agents want to be rung."""

    def __init__(
        self,
        ids: Ids,
        outbound: Outbound,
        secrets: Secrets,
        conclusions: Conclusions,
        notices: Notices,
        sending: Sending,
    ) -> None:
        self._ids = ids
        self._outbound = outbound
        self._secrets = secrets
        self._conclusions = conclusions
        self._notices = notices
        self._sending = sending

    async def vet(self, url: str) -> None:
        """Look the URL's host up, and refuse what we would not call. May take seconds: hold no transaction."""
        fault = await self._outbound.vet(_understood(url))
        if fault is not None:
            raise ForbiddenAddress.at("/url", _refusal(fault))

    async def create(
        self, db: AsyncSession, agent_id: str, new: wire.NewEndpoint, now: datetime
    ) -> wire.CreatedEndpoint:
        """Register an endpoint. It is pending until it has answered its challenge, which is due at once.

        A subscription of MCP Events that is there already is refreshed: in time and secret, and in nothing else.
        """
        if new.mcp is not None:
            id = _subscription(agent_id, _understood(new.url), new.mcp)
            # Two that ask for the same at once follow one another, also where there is nothing to lock yet.
            await db.execute(sql("select pg_advisory_xact_lock(hashtextextended(:id, 0))"), {"id": id})
            known = await register.endpoint(db, agent_id, id, lock=True)
            if known is not None:
                asked = wire.RefreshEndpoint(ttl_seconds=new.mcp.ttl_seconds, secret=new.secret)
                refreshed = await self._refresh(db, known, asked, now)
                return wire.CreatedEndpoint(**refreshed.model_dump(), secret=new.secret or "")
        if await register.count_endpoints(db, agent_id) >= limits.endpoints_per_agent_max:
            raise Conflict(f"an agent has at most {limits.endpoints_per_agent_max} endpoints; delete one first")
        _check_filter(new.filter)
        secret, url = new.secret or webhooks.new_secret(), _understood(new.url)
        id = self._ids.new("ep") if new.mcp is None else _subscription(agent_id, url, new.mcp)
        endpoint = Endpoint(
            id=id,
            agent_id=agent_id,
            url=url,
            description=new.description,
            **{**_chosen(new, _CHOSEN), **_terms(new, now)},
            state="pending",
            secrets=[self._secrets.seal(id, secret, now)],
            headers=self._sealed_headers(id, new.headers or {}),
            due_at=now,
            created_at=now,
            updated_at=now,
        )
        db.add(endpoint)
        await record(db, Happened("endpoint.created", endpoint.id, agent_id, now, {"url": endpoint.url}))
        return wire.CreatedEndpoint(**self._shown(endpoint).model_dump(), secret=secret)

    async def list(self, db: AsyncSession, agent_id: str, query: wire.EndpointQuery) -> Page[wire.Endpoint]:
        """One page of an agent's endpoints, oldest first."""
        rows = await register.endpoints(db, agent_id, query.state, pages.decode(query.cursor), query.limit + 1)
        return pages.page(rows, query.limit, self._shown, lambda row: row.id)

    async def get(self, db: AsyncSession, agent_id: str, endpoint_id: str) -> wire.Endpoint:
        """One endpoint."""
        return self._shown(require(await register.endpoint(db, agent_id, endpoint_id), "endpoint"))

    async def change(
        self, db: AsyncSession, agent_id: str, endpoint_id: str, patch: wire.PatchEndpoint, now: datetime
    ) -> wire.Endpoint:
        """Change what the patch names. A new URL has not been verified, whatever the old one was."""
        endpoint = await self._locked(db, agent_id, endpoint_id)
        _check_filter(patch.filter)
        for name, value in _chosen(patch, patch.model_fields_set & {"description", *_CHOSEN}).items():
            setattr(endpoint, name, value)
        if "url" in patch.model_fields_set and endpoint.profile == "mcp":
            raise InvalidBody.at("/url", "a subscription of MCP Events is bound to its URL; subscribe anew for another")
        if "url" in patch.model_fields_set:
            if patch.url is None:
                raise InvalidBody.at("/url", "an endpoint cannot be without a URL; DELETE it instead")
            url = _understood(patch.url)
            if url != endpoint.url:
                endpoint.url, endpoint.verified_at = url, None
                # One that is paused stays so: it is challenged when it is resumed.
                if endpoint.state != "paused":
                    _challenge(endpoint, now)
        if "headers" in patch.model_fields_set:
            endpoint.headers = self._sealed_headers(endpoint.id, patch.headers or {})
        endpoint.updated_at = now
        if patch.model_fields_set & {"max_in_flight", "rate_per_second"}:
            # What is held is looked at by the terms that it has now.
            await db.flush()
            await lane_book.make_due(db, [endpoint.id], now)
        changed = sorted(patch.model_fields_set)
        await record(db, Happened("endpoint.changed", endpoint.id, agent_id, now, {"changed": changed}))
        return self._shown(endpoint)

    async def delete(self, db: AsyncSession, agent_id: str, endpoint_id: str, now: datetime) -> None:
        """Remove an endpoint. What was on its way to it is cancelled, and stays readable: some of it here, and all that
        is left, or comes meanwhile, by the couriers that claim it and find that its endpoint is no more."""
        require(await register.endpoint(db, agent_id, endpoint_id), "endpoint")
        # Deliveries before their endpoint, as the courier does: two that lock in one order never wait in a circle.
        left = await archive.on_their_way(db, endpoint_id, limits.cancelled_at_once_max)
        await archive.lock_keys(db, left)
        cancelled = await archive.cancel(db, left, endpoint_deleted, now)
        endpoint = await self._locked(db, agent_id, endpoint_id)
        await lane_book.leave(db, endpoint_id, now)
        subjects = [each.subject for each in cancelled if each.subject is not None]
        await self._conclusions.endpoint_leaves(db, endpoint_id, subjects)
        await db.delete(endpoint)
        await db.flush()
        await tell_of(db, self._conclusions, cancelled, "cancelled", endpoint_deleted, now)
        await record(db, Happened("endpoint.deleted", endpoint_id, agent_id, now, {"url": endpoint.url}))

    async def rotate_secret(
        self, db: AsyncSession, agent_id: str, endpoint_id: str, asked: wire.RotateSecret, now: datetime
    ) -> wire.RotatedEndpoint:
        """Give an endpoint a new secret. Those before it sign beside it until the overlap has passed."""
        endpoint = await self._locked(db, agent_id, endpoint_id)
        if endpoint.secret is not None:
            endpoint.secrets = [self._secrets.seal(endpoint.id, endpoint.secret, endpoint.created_at)]
            endpoint.secret = None
        if asked.secret is not None and asked.secret == self._secrets.text(endpoint.id, endpoint.secrets[0]):
            raise InvalidBody.at("/secret", "this is the endpoint's secret already")
        secret = asked.secret or webhooks.new_secret()
        entries = self._secrets.replaced(endpoint.id, endpoint.secrets, secret, asked.overlap_seconds, now)
        if len(entries) > limits.secrets_alive_max:
            first = min(entry["expires_at"] for entry in entries[1:])
            raise Conflict(
                f"{limits.secrets_alive_max} secrets sign already, which is the most; wait until {first}, when one "
                'of them ends, or end all before at once by "overlap_seconds": 0'
            )
        endpoint.secrets, endpoint.updated_at = entries, now
        about = {"overlap_seconds": asked.overlap_seconds}
        await record(db, Happened("endpoint.secret-rotated", endpoint.id, agent_id, now, about))
        ends_at = now + timedelta(seconds=asked.overlap_seconds) if len(entries) > 1 else None
        shown = self._shown(endpoint).model_dump()
        return wire.RotatedEndpoint(**shown, secret=secret, previous_expires_at=ends_at)

    async def verify(self, db: AsyncSession, agent_id: str, endpoint_id: str, now: datetime) -> wire.Endpoint:
        """Challenge a pending endpoint again, at once. One that is active has nothing left to prove."""
        endpoint = await self._locked(db, agent_id, endpoint_id)
        if endpoint.state == "disabled":
            raise EndpointNotActive("the endpoint is disabled; POST …/enable first")
        if endpoint.state == "paused":
            raise EndpointNotActive("the endpoint is paused; POST …/resume first")
        if endpoint.state == "pending":
            _challenge(endpoint, now)
        return self._shown(endpoint)

    async def pause(self, db: AsyncSession, agent_id: str, endpoint_id: str, now: datetime) -> wire.Endpoint:
        """Send nothing to an endpoint until it is resumed. What is in flight still arrives."""
        endpoint = await self._locked(db, agent_id, endpoint_id)
        if endpoint.state == "disabled":
            raise EndpointNotActive(
                "the endpoint is disabled, so nothing is sent to it; POST …/enable takes it up again"
            )
        if endpoint.state != "paused":
            endpoint.state, endpoint.state_reason, endpoint.due_at = "paused", None, None
            endpoint.attempts += 1  # a challenge in flight counts no more
            endpoint.updated_at = now
            await record(db, Happened("endpoint.paused", endpoint.id, agent_id, now))
        return self._shown(endpoint)

    async def resume(self, db: AsyncSession, agent_id: str, endpoint_id: str, now: datetime) -> wire.Endpoint:
        """Take a paused endpoint up again, with what has been kept for it. One that was never verified, or has moved
        since, is challenged first."""
        endpoint = await self._locked(db, agent_id, endpoint_id)
        if endpoint.state == "disabled":
            raise EndpointNotActive("the endpoint is disabled; POST …/enable first")
        if endpoint.state == "paused":
            if endpoint.verified_at is None:
                _challenge(endpoint, now)
            else:
                endpoint.state = "active"
                await self._begin_anew(db, endpoint, now)
            endpoint.updated_at = now
            await record(db, Happened("endpoint.resumed", endpoint.id, agent_id, now))
        return self._shown(endpoint)

    async def enable(self, db: AsyncSession, agent_id: str, endpoint_id: str, now: datetime) -> wire.Endpoint:
        """Take a disabled endpoint up again. It is challenged first: it was disabled for not wanting to be rung."""
        endpoint = await self._locked(db, agent_id, endpoint_id)
        if endpoint.state == "disabled":
            _challenge(endpoint, now)
            endpoint.updated_at = now
            await record(db, Happened("endpoint.enabled", endpoint.id, agent_id, now))
        return self._shown(endpoint)

    async def refresh(
        self, db: AsyncSession, agent_id: str, endpoint_id: str, asked: wire.RefreshEndpoint, now: datetime
    ) -> wire.Endpoint:
        """Let a subscription of MCP Events hold for longer, and take it up again if it was disabled."""
        endpoint = await self._locked(db, agent_id, endpoint_id)
        if endpoint.profile != "mcp":
            raise Conflict("only endpoints of the profile mcp expire; there is nothing to refresh")
        return await self._refresh(db, endpoint, asked, now)

    async def _refresh(
        self, db: AsyncSession, endpoint: Endpoint, asked: wire.RefreshEndpoint, now: datetime
    ) -> wire.Endpoint:
        endpoint.expires_at, endpoint.updated_at = expiry(asked.ttl_seconds, now), now
        if asked.secret is not None:
            # Both sign for a while: a ring may be on its way to a host that does not use the new one yet.
            overlap = limits.mcp_secret_overlap_seconds
            entries = self._secrets.replaced(endpoint.id, endpoint.secrets, asked.secret, overlap, now)
            endpoint.secrets = entries[: limits.secrets_alive_max]
        if endpoint.state == "disabled":
            if endpoint.verified_at is None:
                _challenge(endpoint, now)
            else:
                endpoint.state, endpoint.state_reason = "active", None
                await self._begin_anew(db, endpoint, now)
        until = None if endpoint.expires_at is None else rfc3339(endpoint.expires_at)
        await record(db, Happened("endpoint.refreshed", endpoint.id, endpoint.agent_id, now, {"expires_at": until}))
        return self._shown(endpoint)

    async def expire(self, db: AsyncSession, now: datetime) -> int:
        """Ring those whose time is over no more, until they are refreshed. Returns how many."""
        expired = await register.expired(db, now, limits.endpoints_expired_batch_max)
        if expired:
            await self._notices.disable(db, expired, "expired: POST …/refresh takes it up again", now, tell=False)
        return len(expired)

    async def test(self, db: AsyncSession, agent_id: str, endpoint_id: str, now: datetime) -> delivery_wire.Delivery:
        """Send a test ring to an active endpoint."""
        endpoint = require(await register.endpoint(db, agent_id, endpoint_id), "endpoint")
        if endpoint.state != "active":
            raise EndpointNotActive(f"the endpoint is {endpoint.state}")
        ring = EndpointTest(timestamp=now, data=Tested(endpoint_id=endpoint_id))
        [sent] = await self._sending.send(db, [Outgoing.of(ring, [endpoint_id], agent_id)], now)
        [delivery_id] = sent.delivery_ids
        delivery, message = require(await archive.delivery(db, agent_id, delivery_id), "delivery")
        return shown_delivery(delivery, message.type, message.subject)

    async def leave_revoked(self, db: AsyncSession, now: datetime) -> int:
        """Ring the endpoints of revoked agents no more: nobody is left who could stop it. Returns how many."""
        orphaned = await register.orphaned(db)
        if orphaned:
            await self._notices.disable(db, orphaned, "the agent was revoked", now, tell=False)
        return len(orphaned)

    async def _begin_anew(self, db: AsyncSession, endpoint: Endpoint, now: datetime) -> None:
        """It is active from now on: have what is held for it looked at."""
        await db.flush()
        await lane_book.begin_anew(db, [endpoint.id], now)

    def _sealed_headers(self, endpoint_id: str, given: Mapping[str, str]) -> Entry | None:
        """Headers as they are stored, once each of them may be sent."""
        try:
            check_headers(given)
        except BadHeaders as bad:
            raise InvalidBody(errors=[_misfit(each.name, each.reason) for each in bad.found]) from bad
        if redacted := [name for name, value in given.items() if value == wire.HEADER_SHOWN_AS]:
            reason = "this is how a value is shown, and not one; name it again, or leave `headers` out"
            raise InvalidBody(errors=[_misfit(name, reason) for name in redacted])
        return self._secrets.seal_headers(endpoint_id, given)

    def _headers_of(self, endpoint: Endpoint) -> Mapping[str, str]:
        return self._secrets.headers(endpoint.id, stored_headers(endpoint.headers))

    async def _locked(self, db: AsyncSession, agent_id: str, endpoint_id: str) -> Endpoint:
        return require(await register.endpoint(db, agent_id, endpoint_id, lock=True), "endpoint")

    def _shown(self, endpoint: Endpoint) -> wire.Endpoint:
        return wire.Endpoint.model_validate(
            {
                "id": endpoint.id,
                "url": endpoint.url,
                "description": endpoint.description,
                "state": endpoint.state,
                "state_reason": endpoint.state_reason,
                **{name: getattr(endpoint, name) for name in _CHOSEN},
                "profile": endpoint.profile,
                "subscription_id": endpoint.id if endpoint.profile == "mcp" else None,
                "expires_at": endpoint.expires_at,
                "headers": dict.fromkeys(self._headers_of(endpoint), wire.HEADER_SHOWN_AS),
                "secrets": [{name: each[name] for name in ("created_at", "expires_at")} for each in _entries(endpoint)],
                "next_verification_at": endpoint.due_at,
                "verified_at": endpoint.verified_at,
                "created_at": endpoint.created_at,
                "updated_at": endpoint.updated_at,
            }
        )


def _understood(url: str) -> str:
    """The URL as we understood it."""
    try:
        return str(parse_url(url))
    except BadUrl as bad:
        raise InvalidBody.at("/url", str(bad)) from bad


def _subscription(agent_id: str, url: str, asked: wire.McpSubscription) -> str:
    return subscription_id(agent_id, url, asked.name, asked.arguments)


def _terms(new: wire.NewEndpoint, now: datetime) -> dict[str, Any]:
    """What an endpoint of MCP Events has, and others have not. It takes the events that it is named after."""
    if new.mcp is None:
        return {}
    return {
        "profile": "mcp",
        "types": new.types or [new.mcp.name],
        "expires_at": expiry(new.mcp.ttl_seconds, now),
    }


def _check_filter(filter: object) -> None:
    """Refuse what is no filter."""
    try:
        if filter is not None:
            Filter(filter)
    except BadFilter as bad:
        raise InvalidBody.at(f"/filter{bad.pointer}", str(bad)) from bad


def _chosen(asked: wire.NewEndpoint | wire.PatchEndpoint, names: Iterable[str]) -> dict[str, Any]:
    """What was chosen under these names, as it is kept: of senders there is a list, if an empty one."""
    chosen = {name: getattr(asked, name) for name in names}
    return chosen | {"senders": chosen["senders"] or []} if "senders" in chosen else chosen


def _refusal(fault: Fault) -> str:
    if fault.category == "https_required":
        return "use https; plain http is for networks that this relay's operator listed"
    # One answer for a name that does not exist and one that is at an address of ours: see Outbound.
    return "the host does not resolve, or not only to public addresses"


def _challenge(endpoint: Endpoint, now: datetime) -> None:
    """Make the endpoint prove at once that it wants to be rung; a challenge in flight counts no more."""
    endpoint.state, endpoint.state_reason, endpoint.due_at = "pending", None, now
    endpoint.attempts += 1
    endpoint.attempts_before = endpoint.attempts


def _entries(endpoint: Endpoint) -> Sequence[Entry]:
    """Its secrets, also where a release before sealing left one."""
    return endpoint.secrets or [{"created_at": endpoint.created_at.isoformat(), "expires_at": None}]


def _misfit(name: str, reason: str) -> dict[str, str]:
    """What is wrong with one header, by its JSON pointer."""
    escaped = name.replace("~", "~0").replace("/", "~1")
    return {"pointer": f"/headers/{escaped}" if name else "/headers", "detail": reason}
