"""Endpoints: registered, changed, challenged, stopped and taken up again by their owners."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries import archive, attendance, lane_book, register, statuses
from app.deliveries.conclusions import Conclusions
from app.deliveries.ending import endpoint_deleted, tell_of
from app.deliveries.history import shown_delivery
from app.deliveries.models import Endpoint
from app.deliveries.notices import Notices
from app.deliveries.profiles import DELETED, ENDED, EXPIRED, REVOKED, expiry, subscription_id
from app.deliveries.secrets import Entry, Secrets, alive, stored_headers
from app.deliveries.sending import Outgoing, Sending
from app.events import Happened, record
from app.kit import limits, pages
from app.kit.headers import BadHeaders, check_headers
from app.kit.ids import Ids
from app.kit.operations import require
from app.kit.outbound import Outbound
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

# What an endpoint needs before it can be rung.
_FIRST = {
    "pending": "let it answer its verification challenge first, which POST …/verify sends again",
    "paused": "POST …/resume first",
    "disabled": "POST …/enable first",
}


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
            raise ForbiddenAddress.at("/url", fault.refusal)

    async def create(
        self, db: AsyncSession, agent_id: str, new: wire.NewEndpoint, now: datetime
    ) -> wire.CreatedEndpoint:
        """Register an endpoint. It is pending until it has answered its challenge, which is due at once.

        A subscription of MCP Events that is there already is refreshed, and has what else is given from now on.
        """
        if new.mcp is not None:
            id = _subscription(agent_id, _understood(new.url), new.mcp)
            # Two that ask for the same at once follow one another, also where there is nothing to lock yet.
            await db.execute(sql("select pg_advisory_xact_lock(hashtextextended(:id, 0))"), {"id": id})
            known = await register.endpoint(db, agent_id, id, lock=True)
            if known is not None:
                return await self._subscribe_again(db, known, new, new.mcp, now)
            await register.forget_farewells(db, agent_id, id)
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
        shown = self._shown(endpoint, status=statuses.status(endpoint.state, None, None, statuses.NOTHING, now))
        return wire.CreatedEndpoint(**shown.model_dump(), secret=secret)

    async def list(self, db: AsyncSession, agent_id: str, query: wire.EndpointQuery) -> Page[wire.Endpoint]:
        """One page of an agent's endpoints, oldest first."""
        rows = await register.endpoints(db, agent_id, query.state, pages.decode(query.cursor), query.limit + 1)
        return pages.page(rows, query.limit, self._shown, lambda row: row.id)

    async def get(self, db: AsyncSession, agent_id: str, endpoint_id: str, now: datetime) -> wire.Endpoint:
        """One endpoint."""
        endpoint = require(await register.endpoint(db, agent_id, endpoint_id), "endpoint")
        return self._shown(endpoint, status=await self._status(db, endpoint, now))

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
            await self._attend_lane(db, endpoint, now)
        changed = sorted(patch.model_fields_set)
        await record(db, Happened("endpoint.changed", endpoint.id, agent_id, now, {"changed": changed}))
        return self._shown(endpoint)

    async def delete(self, db: AsyncSession, agent_id: str, endpoint_id: str, now: datetime) -> None:
        """Remove an endpoint. What was on its way to it is cancelled, and stays readable: some of it here, and all that
        is left, or comes meanwhile, by the couriers that claim it and find that its endpoint is no more.

        Ring "endpoints" after the commit: the host of a subscription of MCP Events is told that it has ended.
        """
        known = require(await register.endpoint(db, agent_id, endpoint_id), "endpoint")
        # Of a subscription of MCP Events all is: it may be made anew, under the same id.
        most = None if known.profile == "mcp" else limits.cancelled_at_once_max
        # Deliveries before their endpoint, as the courier does: two that lock in one order never wait in a circle.
        left = await archive.on_their_way(db, endpoint_id, most)
        await archive.lock_keys(db, left)
        cancelled = await archive.cancel(db, left, endpoint_deleted, now)
        endpoint = await self._locked(db, agent_id, endpoint_id)
        await lane_book.leave(db, endpoint_id, now)
        subjects = [each.subject for each in cancelled if each.subject is not None]
        await self._conclusions.endpoint_leaves(db, endpoint_id, subjects)
        await db.delete(endpoint)
        await db.flush()
        if _is_to_be_told(endpoint):
            db.add(self._left_behind(endpoint, now))
        await tell_of(db, self._conclusions, cancelled, "cancelled", endpoint_deleted, now)
        await record(db, Happened("endpoint.deleted", endpoint_id, agent_id, now, {"url": endpoint.url}))

    async def rotate_secret(
        self, db: AsyncSession, agent_id: str, endpoint_id: str, asked: wire.RotateSecret, now: datetime
    ) -> wire.RotatedEndpoint:
        """Give an endpoint a new secret. Those before it sign beside it until the overlap has passed."""
        endpoint = await self._locked(db, agent_id, endpoint_id)
        endpoint.secrets, endpoint.secret = self._sealed_secrets(endpoint), None
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
        if endpoint.state == "disabled" and endpoint.expires_at is not None and endpoint.expires_at <= now:
            raise Conflict("the subscription has expired, and would again; POST …/refresh takes it up")
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

    async def _subscribe_again(
        self, db: AsyncSession, endpoint: Endpoint, new: wire.NewEndpoint, mcp: wire.McpSubscription, now: datetime
    ) -> wire.CreatedEndpoint:
        """What is given takes the place of what was; what is absent stays."""
        _check_filter(new.filter)
        given = new.model_fields_set & {"description", "headers", *_CHOSEN}
        for name, value in _chosen(new, given - {"headers"}).items():
            setattr(endpoint, name, value)
        if "types" in given:
            endpoint.types = new.types or [mcp.name]
        if "headers" in given:
            endpoint.headers = self._sealed_headers(endpoint.id, new.headers or {})
        if given:
            changed = {"changed": sorted(given)}
            await record(db, Happened("endpoint.changed", endpoint.id, endpoint.agent_id, now, changed))
        if given & {"max_in_flight", "rate_per_second"}:
            await self._attend_lane(db, endpoint, now)
        asked = wire.RefreshEndpoint(ttl_seconds=mcp.ttl_seconds, secret=new.secret)
        refreshed = await self._refresh(db, endpoint, asked, now)
        return wire.CreatedEndpoint(**refreshed.model_dump(), secret=new.secret or "")

    async def _refresh(
        self, db: AsyncSession, endpoint: Endpoint, asked: wire.RefreshEndpoint, now: datetime
    ) -> wire.Endpoint:
        # How it did until now: what was suspended is so no more when this is read.
        status = await self._status(db, endpoint, now)
        endpoint.expires_at, endpoint.updated_at = expiry(asked.ttl_seconds, now), now
        if asked.secret is not None:
            # Both sign for a while: a ring may be on its way to a host that does not use the new one yet.
            overlap = limits.mcp_secret_overlap_seconds
            entries = self._secrets.replaced(endpoint.id, self._sealed_secrets(endpoint), asked.secret, overlap, now)
            endpoint.secrets, endpoint.secret = entries[: limits.secrets_alive_max], None
        if endpoint.verified_at is None and (endpoint.state == "disabled" or _has_failed_its_challenge(endpoint)):
            _challenge(endpoint, now)
        elif endpoint.state == "disabled":
            endpoint.state, endpoint.state_reason, endpoint.due_at = "active", None, None
            endpoint.attempts += 1  # that its host was told of its end changes nothing any more
            await self._begin_anew(db, endpoint, now)
        await self._revive_lane(db, endpoint, now)
        until = None if endpoint.expires_at is None else rfc3339(endpoint.expires_at)
        await record(db, Happened("endpoint.refreshed", endpoint.id, endpoint.agent_id, now, {"expires_at": until}))
        return self._shown(endpoint, status=status)

    async def expire(self, db: AsyncSession, now: datetime) -> int:
        """Ring those whose time is over no more, until they are refreshed. Returns how many."""
        expired = await register.expired(db, now, limits.endpoints_expired_batch_max)
        if expired:
            await self._notices.disable(db, expired, EXPIRED, now, tell=False)
        return len(expired)

    async def test(self, db: AsyncSession, agent_id: str, endpoint_id: str, now: datetime) -> delivery_wire.Delivery:
        """Send a test ring to an active endpoint."""
        endpoint = require(await register.endpoint(db, agent_id, endpoint_id), "endpoint")
        if endpoint.state != "active":
            raise EndpointNotActive(f"the endpoint is {endpoint.state}; {_FIRST[endpoint.state]}")
        ring = EndpointTest(timestamp=now, data=Tested(endpoint_id=endpoint_id))
        [sent] = await self._sending.send(db, [Outgoing.of(ring, [endpoint_id], agent_id)], now)
        [delivery_id] = sent.delivery_ids
        delivery, message = require(await archive.delivery(db, agent_id, delivery_id), "delivery")
        return await shown_delivery(db, delivery, message)

    async def leave_revoked(self, db: AsyncSession, now: datetime) -> int:
        """Ring the endpoints of revoked agents no more: nobody is left who could stop it. Returns how many."""
        orphaned = await register.orphaned(db)
        if orphaned:
            await self._notices.disable(db, orphaned, REVOKED, now, tell=False)
        return len(orphaned)

    async def _status(self, db: AsyncSession, endpoint: Endpoint, now: datetime) -> wire.DeliveryStatus | None:
        """How the deliveries of a subscription of MCP Events do; None of other endpoints."""
        if endpoint.profile != "mcp":
            return None
        seen = await archive.latest(db, endpoint.agent_id, endpoint.id)
        lane = await archive.lane(db, endpoint.id)
        standing = None if lane is None else lane_book.breaker_of(lane)
        return statuses.status(endpoint.state, endpoint.state_reason, standing, seen, now)

    async def _revive_lane(self, db: AsyncSession, endpoint: Endpoint, now: datetime) -> None:
        """Have what is held for it tried at once, if it is left alone for its failures."""
        if await archive.lane(db, endpoint.id) is None:
            return
        await db.flush()
        lanes = await lane_book.lock(db, [endpoint.id])
        await lane_book.write(db, [attendance.revived(lane, now) for lane in lanes])

    def _left_behind(self, endpoint: Endpoint, now: datetime) -> Endpoint:
        """What is there of a deleted subscription until its host has been told. Under an id of its own: nothing finds
        it by that of the subscription, which may be made anew meanwhile."""
        id = self._ids.new("ep")
        entries = alive(self._sealed_secrets(endpoint), now)
        return Endpoint(
            id=id,
            agent_id=endpoint.agent_id,
            url=endpoint.url,
            state="ended",
            state_reason=DELETED,
            secrets=self._secrets.handed_over(endpoint.id, entries, id),
            headers=self._secrets.headers_handed_over(endpoint.id, endpoint.headers, id),
            timeout_seconds=endpoint.timeout_seconds,
            profile="mcp",
            subscription_id=endpoint.id,
            due_at=now,
            created_at=now,
            updated_at=now,
        )

    def _sealed_secrets(self, endpoint: Endpoint) -> Sequence[Entry]:
        """Its secrets, of which a release before sealing may have left one as it is."""
        if endpoint.secret is None:
            return endpoint.secrets
        return [self._secrets.seal(endpoint.id, endpoint.secret, endpoint.created_at)]

    async def _attend_lane(self, db: AsyncSession, endpoint: Endpoint, now: datetime) -> None:
        """Have what is held for it looked at, by the terms that it has now."""
        await db.flush()
        await lane_book.make_due(db, [endpoint.id], now)

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

    def _shown(self, endpoint: Endpoint, *, status: wire.DeliveryStatus | None = None) -> wire.Endpoint:
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
                "delivery_status": status if endpoint.profile == "mcp" else None,
                "headers": dict.fromkeys(self._headers_of(endpoint), wire.HEADER_SHOWN_AS),
                "secrets": [{name: each[name] for name in ("created_at", "expires_at")} for each in _entries(endpoint)],
                "next_verification_at": endpoint.due_at if endpoint.state == "pending" else None,
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


def _challenge(endpoint: Endpoint, now: datetime) -> None:
    """Make the endpoint prove at once that it wants to be rung; a challenge in flight counts no more."""
    endpoint.state, endpoint.state_reason, endpoint.due_at = "pending", None, now
    endpoint.attempts += 1
    endpoint.attempts_before = endpoint.attempts


def _has_failed_its_challenge(endpoint: Endpoint) -> bool:
    """Whether it is not asked any more, and has not answered."""
    return endpoint.state == "pending" and endpoint.due_at is None


def _is_to_be_told(endpoint: Endpoint) -> bool:
    """Whether it leaves a host behind that has wanted to be told of events, and does not know of the end."""
    knows = endpoint.state == "disabled" and endpoint.state_reason in ENDED and endpoint.due_at is None
    return endpoint.profile == "mcp" and endpoint.verified_at is not None and not knows


def _entries(endpoint: Endpoint) -> Sequence[Entry]:
    """Its secrets, also where a release before sealing left one."""
    return endpoint.secrets or [{"created_at": endpoint.created_at.isoformat(), "expires_at": None}]


def _misfit(name: str, reason: str) -> dict[str, str]:
    """What is wrong with one header, by its JSON pointer."""
    escaped = name.replace("~", "~0").replace("/", "~1")
    return {"pointer": f"/headers/{escaped}" if name else "/headers", "detail": reason}
