"""Carries deliveries: claims what is due, posts it, and writes down what came of it.

One round is one short transaction: it concludes what has landed, claims what is due and attends the lanes of endpoints
that are not simply rung. Between rounds the requests fly with no transaction open. A round is never waited for by a
request, nor a request by a round.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from math import inf
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from app.deliveries import attendance, breaker, ending, landings, lane_book, order, store, watching
from app.deliveries.attempts import Retry
from app.deliveries.attendance import Lane, Limits
from app.deliveries.conclusions import Conclusions
from app.deliveries.ending import endpoint_deleted
from app.deliveries.flights import Flights
from app.deliveries.landings import Grounded, Landing, Load
from app.deliveries.lanes import Lanes
from app.deliveries.notices import Notices
from app.deliveries.profiles import shaped, timeout_of
from app.deliveries.relay_key import RelayKey
from app.deliveries.rounds import Round
from app.deliveries.secrets import Secrets
from app.deliveries.shares import ahead
from app.deliveries.store import Addressed, Claimed, Departure, NewMessage
from app.events import record
from app.kit import limits
from app.kit.clock import Clock
from app.kit.database import Transaction
from app.kit.outbound import Outbound
from app.kit.wake import Wake
from app.settings import DeliverySettings
from tocsin import webhooks

__all__ = ["Courier", "content_headers", "lease_margin_seconds"]

# Between the deadline of an attempt and the end of its lease: some of it to wait for a place, the rest to write down
# what came of it. A worker that has the delivery again before that would send it again.
lease_margin_seconds = 5.0
kept_to_conclude_seconds = lease_margin_seconds / 2

# How long a round waits for landings that it can conclude together; longer while nothing at all moves. And how far
# apart conclusions are while there is always something that has landed: each is a transaction, whatever it holds.
landing_wait_seconds = 0.040
idle_wait_seconds_max = 0.080
rounds_apart_seconds = 0.060
# A round waits for Postgres, and at each statement for its turn among the flights. So many are claimed as are sent off
# meanwhile, or places are idle until the next; not more, as the loop does nothing else while they are taken in.
claim_batch_max = 1500
# Of the room, kept for what fell due last while a backlog fills the rest; and among how many of those it is looked for.
reserve_share = 0.125
reserve_max = 192
newest_max = 1500
# An endpoint of which so many wait here needs none of the reserve.
enough_waiting = 16
flight_seconds_expected = 0.05
# Lanes are looked at this often while rounds follow one another, so many at a time.
lanes_apart_seconds = 0.05
lanes_attended_max = 200
orphans_max = 500

content_headers = {"Content-Type": "application/json"}

Carried = TypeVar("Carried", bound=Load | Landing | Grounded)


class Courier:
    """Everything of one worker process that is in flight to endpoints."""

    def __init__(
        self,
        transaction: Transaction,
        clock: Clock,
        wake: Wake,
        outbound: Outbound,
        relay_key: RelayKey,
        secrets: Secrets,
        conclusions: Conclusions,
        notices: Notices,
        settings: DeliverySettings,
        jitter: random.Random,
    ) -> None:
        self._transaction = transaction
        self._clock = clock
        self._wake = wake
        self._outbound = outbound
        self._relay_key = relay_key
        self._secrets = secrets
        self._conclusions = conclusions
        self._notices = notices
        self._settings = settings
        self._jitter = jitter
        # Claimed ahead of free places, so that none is idle during a round, which takes as long as a few flights.
        waiting_max = ahead(settings.connections, flight_seconds_expected)
        self._flight_seconds = flight_seconds_expected
        self._lanes = Lanes[Load](settings.connections, settings.host_connections, clock.monotonic)
        self._flights = Flights(self._carry, places=settings.connections, ahead=waiting_max, queue=self._lanes)
        self._wait_seconds = landing_wait_seconds
        self._lanes_looked_at = self._look_at = -inf
        # What this process has its hands on, by the claim that each is concluded by. A clock that steps ends leases of
        # what is in flight: whoever claims that again here knows it by this, and sends nothing.
        self._aloft = dict[str, Claimed]()
        # Whether lanes that may have been due were not looked at, for want of room: they come first the next time.
        self._lanes_passed_over = False
        # Endpoints that have done nothing but fail for days, to be disabled by the next round: lanes are locked after
        # endpoints. Should we die before, the next failure says so again.
        self._hopeless = set[str]()
        self._started = self._stopping = self._in_round = False

    def start(self) -> None:
        """This process carries deliveries from now on: it calls `deliver_next` whenever "deliveries" is rung."""
        self._started = True

    def stop(self) -> None:
        """Claim nothing more; what flies is still concluded by the rounds that follow."""
        self._stopping = True

    def hurry(self) -> None:
        """Something new may be due: let the round that waits for landings look at once."""
        self._flights.nudge()

    @property
    def in_flight(self) -> int:
        return self._flights.outstanding

    async def deliver_next(self) -> int:
        """Conclude what has landed, claim what is due and send it off. Returns how many of both, or how many are still
        in flight; 0 when nothing is due and nothing in flight."""
        landed = [self._back(each) for each in await self._flights.landed(self._wait_seconds, rounds_apart_seconds)]
        # Slower than they seemed when these came: what waits for them waits better in their lanes.
        put_back = [self._back(each) for each in self._lanes.give_up()]
        began = self._clock.monotonic()
        round = await self._committed(landed, put_back)
        # Claimed and committed: if we die from here on, the leases end and the attempts are made again.
        self._take_up(round)
        self._learn(landed)
        self._show(round, self._clock.monotonic() - began)
        moved = len(landed) + round.acted_on
        self._wait_seconds = landing_wait_seconds if moved else min(self._wait_seconds * 2, idle_wait_seconds_max)
        return moved or self._flights.outstanding

    async def dispatch(
        self, db: AsyncSession, messages: Sequence[NewMessage], addressed: Sequence[Addressed], now: datetime
    ) -> tuple[Sequence[Departure], Callable[[], None]]:
        """Set these on their way. Those that there is room for are ours from the start, and fly by the second answer.

        They are inserted as a claim would leave them: attempt 1, due again when the lease ends. So whatever happens to
        this process is what happens to a claim: if it dies after the commit, be it before the take-off, the lease ends
        and the attempt is made by whoever claims it then, as number 2. If there is no commit, there is no delivery.
        """
        room = self._flights.room if self._started and not self._stopping else 0
        by = await self._take_off_by(db, now)
        lease = self._settings.lease_seconds
        departures = await store.add(db, messages, addressed, now, claim=room, lease_seconds=lease)
        by_id = {message.id: message for message in messages}
        keys = await self._relay_key.get(db, now)
        loads = [Load.of(landings.carried(d, by_id[d.message_id], now), keys, by) for d in departures if d.attempts]
        # Between here and the take-off, a round may fill the same room. Then these wait a little longer for a place.
        return departures, partial(self._take_off, loads, others=len(departures) - len(loads))

    def _take_off(self, loads: Sequence[Load], others: int) -> None:
        """Committed: send off what is ours. What is not, is due, and anybody's."""
        # While something is in flight, rounds follow one another; rung, they would hurry, and conclude one by one.
        rounds_go_on = self._in_round or self._flights.outstanding > 0
        self._start(loads)
        if others or (loads and not rounds_go_on):
            self._wake.ring("deliveries")

    def _start(self, loads: Sequence[Load]) -> None:
        self._aloft |= {load.id: load.claimed for load in loads}
        self._flights.start(loads)

    def _back(self, each: Carried) -> Carried:
        """This, no more aloft, by the claim that it is concluded by."""
        claimed = self._aloft.pop(each.claimed.id, each.claimed)
        return each if claimed is each.claimed else replace(each, claimed=claimed)

    def _learn(self, ended: Sequence[Landing | Grounded]) -> None:
        """Let as many wait for a place as suits the pace of flights, by a running mean over a few dozen of them."""
        durations = [each.duration_ms / 1000 for each in ended if isinstance(each, Landing)]
        if durations:
            share = len(durations) / (len(durations) + self._settings.connections)
            self._flight_seconds += (sum(durations) / len(durations) - self._flight_seconds) * share
            self._flights.ahead = ahead(self._settings.connections, self._flight_seconds)

    async def _take_off_by(self, db: AsyncSession, claimed_at: datetime) -> float:
        """Until when what is claimed as of then may take off, so that it has landed, and there is time to conclude it,
        when its lease ends."""
        since = (await self._clock.now(db) - claimed_at).total_seconds()
        left = self._settings.lease_seconds - since - self._settings.timeout_seconds - kept_to_conclude_seconds
        return self._clock.monotonic() + left

    def _is_time_for_lanes(self) -> bool:
        return self._clock.monotonic() - self._lanes_looked_at >= lanes_apart_seconds

    def _look_in(self, seconds: float) -> None:
        """Have a round when the next lane is due, unless there is one sooner, or the sweep comes first."""
        now = self._clock.monotonic()
        if 0 < seconds < limits.sweep_seconds and not now < self._look_at <= now + seconds:
            self._look_at = now + seconds
            self._wake.ring_in(seconds, "deliveries")

    # A round

    async def _committed(self, landed: Sequence[Landing | Grounded], put_back: Sequence[Load]) -> Round:
        """A round, in a transaction. Where it can't be, these are as they were before it."""
        self._in_round = True
        try:
            async with self._transaction() as db:
                return await self._stepped_through(db, landed, put_back)
        except BaseException:
            # The answers are known, only not written down: they are concluded by the next round that can.
            self._flights.put_back(landed)
            self._start(put_back)
            raise
        finally:
            self._in_round = False

    async def _stepped_through(
        self, db: AsyncSession, landed: Sequence[Landing | Grounded], put_back: Sequence[Load]
    ) -> Round:
        """The steps of a round, in the order in which everybody locks."""
        round = Round(await self._clock.now(db))
        await self._conclude(db, landed, round)
        await self._disable(db, round)
        await self._claim(db, round)
        round.put_aside(load.claimed for load in put_back)
        await self._tend(db, round)
        if round.is_for_lanes or self._lanes_passed_over or self._is_time_for_lanes():
            await self._attend(db, round)
        round.moved += await order.release_next(db, round.freed_keys, round.now)
        # The last, because it locks schedules: deliveries, endpoints and lanes come before them everywhere.
        round.is_heard = await self._conclusions.tell(db, round.concluded, round.now)
        round.loads = await self._loaded(db, round)
        return round

    def _take_up(self, round: Round) -> None:
        """Send off what this round has claimed, and keep in mind what the next has to see to."""
        self._lanes.look_again()
        self._start(round.loads)
        self._flights.put_back([Grounded(each) for each in round.orphans])
        self._aloft |= {each.id: self._aloft[each.id].renewed(each) for each in round.renewed if each.id in self._aloft}
        self._hopeless = round.hopeless
        if round.is_heard:
            self._wake.ring("schedules")
        if round.next_look is not None:
            self._look_in((round.next_look - round.now).total_seconds())

    def _show(self, round: Round, seconds: float) -> None:
        """Tell those who watch what this round came to."""
        watching.attempted([landings.attempted(each, verdict) for each, verdict in round.judged], round.now)
        watching.round_ended(seconds, flying=self._flights.flying, waiting=self._flights.waiting)

    # Its steps

    async def _conclude(self, db: AsyncSession, ended: Sequence[Landing | Grounded], round: Round) -> None:
        """Write down what came of these."""
        now = round.now
        landed = [each for each in ended if isinstance(each, Landing)]
        judged = [(each, landings.judged(each, now, self._jitter.random())) for each in landed]
        grounded = [each.claimed for each in ended if isinstance(each, Grounded)]
        over = [each.claimed for each, verdict in judged if not isinstance(verdict, Retry)]
        # Before any delivery is locked: whoever has one of these keys may be waiting for its deliveries.
        await order.lock(db, {each.key for each in [*over, *grounded] if each.key is not None})
        if grounded:
            await self._let_off(db, grounded, round)
        if not landed:
            return
        ours = await store.conclude(db, [landings.outcome(each, verdict, now) for each, verdict in judged])
        round.landed(judged, ours)
        concluded = [(each, verdict) for each, verdict in judged if each.claimed.id in ours]
        happened = [landings.happened(each, verdict, now) for each, verdict in concluded]
        await record(db, *(each for each in happened if each is not None))

    async def _let_off(self, db: AsyncSession, grounded: Sequence[Claimed], round: Round) -> None:
        """Give back what was not sent, and cancel what has no endpoint any more."""
        orphans = [each for each in grounded if each.endpoint_state is None]
        cancelled = await store.cancel(db, orphans, endpoint_deleted, round.now) if orphans else ()
        await record(db, *(ending.happened(each, "cancelled", endpoint_deleted, round.now) for each in cancelled))
        round.cancelled(cancelled)
        left = [each for each in grounded if each.endpoint_state is not None]
        if left:
            await store.release(db, left, round.now)
        round.ended(grounded)

    async def _disable(self, db: AsyncSession, round: Round) -> None:
        """Disable the endpoints that say that they are gone, and those that have done nothing but fail for days."""
        rings = False
        if round.gone:
            # Only while it is still there that the endpoint is rung: its owner may have moved it meanwhile.
            urls = sorted({claimed.url for claimed in round.gone if claimed.url})
            ids = sorted({claimed.endpoint_id for claimed in round.gone})
            rings = await self._notices.disable(db, ids, "the endpoint answered 410 Gone", round.now, urls=urls)
        if self._hopeless:
            days = self._settings.disable_after_days
            lanes = await lane_book.look(db, self._hopeless)
            # Looked at again: it may have answered, or have been taken up anew, since it was found to be so.
            ids = [lane.endpoint_id for lane in lanes if breaker.is_hopeless(lane.breaker, round.now, days)]
            reason = f"every attempt has failed for {days:g} days; POST …/enable"
            rings = await self._notices.disable(db, ids, reason, round.now) or rings
        round.moved += rings

    async def _claim(self, db: AsyncSession, round: Round) -> None:
        """Take what is due; and what fell due last, while a backlog is in front of it."""
        room = 0 if self._stopping else self._flights.room
        if self._lanes_passed_over:
            room -= max(1, int(room * reserve_share))
        if room <= 0:
            return
        lease, reserve = self._settings.lease_seconds, min(int(room * reserve_share), reserve_max)
        limit = min(room - reserve, claim_batch_max)
        claimed = await store.claim(db, round.now, lease, limit)
        if len(claimed) == limit and reserve:
            over = [*self._lanes.busy(enough_waiting), *_frequent(claimed, enough_waiting)]
            newest = await store.claim_newest(db, round.now, lease, reserve, over, newest_max)
            claimed = [*claimed, *newest]
        if claimed:
            round.sort(await self._new(db, claimed, round), self._lanes)

    async def _new(self, db: AsyncSession, claimed: Sequence[Claimed], round: Round) -> Sequence[Claimed]:
        """Those of these that can be sent, and are not on their way from here already."""
        again = [each for each in claimed if each.id in self._aloft]
        if again:
            await store.renew(db, again)
            round.renewed += again
        round.orphans += [each for each in claimed if each.endpoint_state is None and each.id not in self._aloft]
        return [each for each in claimed if each.endpoint_state is not None and each.id not in self._aloft]

    async def _tend(self, db: AsyncSession, round: Round) -> None:
        """Tell lanes what came of their endpoints' attempts, and hold what is for them."""
        tallies = round.tallies()
        held = await store.hold(db, round.aside) if round.aside else set[str]()
        endpoint_ids = {*tallies, *round.holders, *held}
        if not endpoint_ids:
            return
        # All that this round waits for, in one order; whatever follows finds them locked.
        lanes = await lane_book.lock(db, endpoint_ids)
        after = [self._told(lane, tallies, round) for lane in lanes]
        # What was claimed for one that has just been found broken is not sent after all.
        broken = {lane.endpoint_id for lane in after if lane.breaker.state == "open"}
        if withdrawn := round.withdraw(broken):
            held |= await store.hold(db, withdrawn)
        # From here on what is held is found again by whoever attends its lane, be it after our death.
        after = [attendance.holding(lane, round.now) if lane.endpoint_id in held else lane for lane in after]
        changed = [lane for lane, before in zip(after, lanes, strict=True) if lane != before]
        if changed:
            await lane_book.write(db, changed)

    def _told(self, lane: Lane, tallies: Mapping[str, breaker.Tally], round: Round) -> Lane:
        after = attendance.freed(lane, round.holders.get(lane.endpoint_id, ()), round.now)
        tally = tallies.get(lane.endpoint_id)
        if tally is None:
            return after
        after = attendance.told(after, tally, round.now, self._jitter.random())
        if tally.failures and breaker.is_hopeless(after.breaker, round.now, self._settings.disable_after_days):
            round.hopeless.add(lane.endpoint_id)
        return after

    async def _attend(self, db: AsyncSession, round: Round) -> None:
        """Let go what the lanes that are due have held, as far as each of them permits and there is room."""
        self._lanes_looked_at = self._clock.monotonic()
        room = 0 if self._stopping else self._flights.room - len(round.claimed)
        self._lanes_passed_over = room <= 0 and not self._stopping
        if room <= 0:
            return
        # No more than there is room for: those that are not looked at keep their place in front of those that were.
        lanes = await lane_book.lock_due(db, round.now, self._lanes.full(), min(room, lanes_attended_max))
        if not lanes:
            return
        bounds = await self._bounds(db, [lane.endpoint_id for lane in lanes], round)
        lanes = [lane for lane in lanes if lane.endpoint_id in bounds]
        numbers = self._numbers(lanes, bounds, room, round)
        taken = await lane_book.claim_held(db, numbers, round.now, self._settings.lease_seconds) if numbers else ()
        round.claimed += await self._new(db, taken, round)
        await self._leave(db, lanes, bounds, taken, round)

    async def _bounds(self, db: AsyncSession, endpoint_ids: Sequence[str], round: Round) -> Mapping[str, Limits]:
        """What bounds these endpoints, whose lanes are locked; without those whose lanes are not attended just now."""
        # Asked only now that the lanes are locked: whoever makes one of these endpoints active waits for us, or has
        # committed before we look.
        bounds = await lane_book.limits(db, endpoint_ids)
        orphaned = [id for id in endpoint_ids if id not in bounds]
        if orphaned:
            await lane_book.let_go(db, orphaned, round.now, orphans_max)
            round.moved += len(orphaned)
        idle = [id for id, each in bounds.items() if not each.is_active]
        settled = await lane_book.settled(db, idle) if idle else set[str]()
        # The lane of one that somebody is changing stays due: it is looked at again when he has.
        return {id: each for id, each in bounds.items() if each.is_active or id in settled}

    def _numbers(
        self, lanes: Sequence[Lane], bounds: Mapping[str, Limits], room: int, round: Round
    ) -> Mapping[str, int]:
        """How many of each lane may go."""
        numbers = dict[str, int]()
        each = max(1, room // max(1, len(lanes)))
        for lane in lanes:
            own = self._lanes.room(lane.endpoint_id) - round.claimed_for(lane.endpoint_id)
            number = attendance.may_go(lane, bounds[lane.endpoint_id], min(own, each, room), round.now)
            if number > 0:
                numbers[lane.endpoint_id] = number
                room -= number
        return numbers

    async def _leave(
        self,
        db: AsyncSession,
        lanes: Sequence[Lane],
        bounds: Mapping[str, Limits],
        taken: Sequence[Claimed],
        round: Round,
    ) -> None:
        """Write down what has gone from these lanes, and when they are due again."""
        until = round.now + timedelta(seconds=self._settings.lease_seconds)
        gone = defaultdict[str, dict[str, datetime]](dict)
        for each in taken:
            gone[each.endpoint_id][each.id] = until
        # What others have locked is seen, too: the lane stays due for it.
        holding = await lane_book.holding(db, [lane.endpoint_id for lane in lanes])
        after = [
            attendance.left(
                lane,
                bounds[lane.endpoint_id],
                gone[lane.endpoint_id],
                is_empty=lane.endpoint_id not in holding,
                now=round.now,
                lease_end=until,
            )
            for lane in lanes
        ]
        await lane_book.write(db, after)
        round.next_look = min((lane.due_at for lane in after if lane.due_at is not None), default=None)

    async def _loaded(self, db: AsyncSession, round: Round) -> Sequence[Load]:
        """What is to fly."""
        if not round.claimed:
            return ()
        keys, by = await self._relay_key.get(db, round.now), await self._take_off_by(db, round.now)
        return [Load.of(claimed, keys, by) for claimed in round.claimed]

    # Between rounds

    async def _carry(self, load: Load) -> Landing | Grounded:
        try:
            return await self._attempt(load)
        except BaseException:
            # Nothing will come of it here. When its lease has ended it is claimed again, here too.
            self._aloft.pop(load.id, None)
            raise

    async def _attempt(self, load: Load) -> Landing | Grounded:
        started = self._clock.monotonic()
        if started > load.take_off_by:
            return Grounded(load.claimed)
        delivery, at = load.claimed, self._clock.wall()
        assert delivery.url is not None
        assert delivery.secrets is not None
        webhook_id, body, named = shaped(delivery.profile, delivery.endpoint_id, delivery.message_id, delivery.body)
        signature = webhooks.sign(
            webhook_id,
            at,
            body,
            secrets=self._secrets.signing(delivery.endpoint_id, delivery.secrets, at),
            keys=load.keys,
        )
        timeout = timeout_of(delivery.profile, delivery.timeout_seconds, self._settings.timeout_seconds)
        theirs, leg = self._secrets.headers(delivery.endpoint_id, delivery.headers), landings.leg_of(load)
        headers = {**theirs, **content_headers, **named, **signature}
        if leg is not None:
            headers["traceparent"] = leg.traceparent
        result = await self._outbound.post(delivery.url, body, headers, timeout_seconds=timeout)
        landing = Landing(delivery, at, round((self._clock.monotonic() - started) * 1000), result)
        if leg is not None:
            leg.ended(landing.status, landing.error)
        return landing


def _frequent(claimed: Sequence[Claimed], least: int) -> Sequence[str]:
    """The endpoints that have at least so many of these."""
    count = defaultdict[str, int](int)
    for each in claimed:
        count[each.endpoint_id] += 1
    return [id for id, number in count.items() if number >= least]
