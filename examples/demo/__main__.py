"""Watch the main job done, live, on real processes, in under a minute.

A relay (Postgres, Valkey, API, worker), a private chain with a dollar token, a payment facilitator, and three agents
with receivers of their own. Exits with 0 once everything has been seen, or with the number of the step that failed:

    1 stage   2 agents   3 payment   4 schedule   5 transfer   6 reorganisation   7 end
"""

import asyncio
import sys
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

from eth_account import Account

from examples.demo.agents import Agent, agent
from examples.demo.stage import PAY_TO, Stage, price, stage
from examples.demo.timeline import Timeline
from examples.devchain import payments_network, transfer_topic
from examples.paid_schedule import wallet
from tocsin.schemas.schedules import NewSchedule, Schedule
from tocsin.schemas.subscriptions import EvmLog, NewSubscription

seconds_max = 58.0
rings_wanted = 3
log_lines_shown = 25


class StepFailed(Exception):
    """A step did not come to its end."""

    def __init__(self, number: int, name: str, why: str) -> None:
        super().__init__(f"step {number}, {name}: {why}")
        self.number = number


@dataclass
class Play:
    """The demo as it runs: what is on stage, and what has been seen."""

    timeline: Timeline
    seen: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    @contextmanager
    def step(self, number: int, name: str, title: str) -> Generator[None]:
        """Whatever goes wrong in the block, or takes longer than there is time, is this step's failure."""
        self.timeline.title(f"{number} · {title}")
        try:
            yield
        except StepFailed:
            raise
        except Exception as error:
            why = "nothing came of it in time" if isinstance(error, TimeoutError) else f"{error}"
            raise StepFailed(number, name, why or type(error).__name__) from error

    def saw(self, what: str, how: str) -> None:
        """A line of the summary."""
        self.seen.append((what, how))


async def perform(play: Play) -> None:
    """The whole play, from an empty folder to an empty folder."""
    async with AsyncExitStack() as stack:
        with play.step(1, "stage", "Real processes start in a temporary home"):
            on = await stack.enter_async_context(stage(play.timeline.say))
            play.timeline.say("relay", f"is up at {on.relay.url}")
        try:
            await tell(play, on)
        except Exception:
            play.timeline.plain("\n".join(on.relay.said().splitlines()[-log_lines_shown:]))
            raise
        with play.step(7, "end", "Everything stops"):
            code = await asyncio.to_thread(on.relay.stop)
            assert code == 0, f"the relay ended with exit code {code}"
            play.timeline.say("relay", "has stopped, in reverse order")


async def tell(play: Play, on: Stage) -> None:
    """What happens once the relay is up."""
    async with AsyncExitStack() as stack:
        with play.step(2, "agents", "Three agents register, and prove that they want to be rung"):
            purse = Account.create()
            await on.token.mint(purse.address, 1_000_000)
            ada = await stack.enter_async_context(agent("ada", on.relay.url, play.timeline, wallet(purse.key.hex())))
            bob, cyd = [await stack.enter_async_context(agent(n, on.relay.url, play.timeline)) for n in ("bob", "cyd")]
            all_three = [ada, bob, cyd]
            await within(play, 10, *(each.wait_until(lambda each=each: bool(each.rings)) for each in all_three))
        with play.step(3, "payment", f"ada asks to be rung every two seconds; here that costs {price}, paid by x402"):
            schedule = await buy_a_schedule(play, on, ada, purse.address)
        with play.step(4, "schedule", "ada sleeps, and the relay rings her on time"):
            await within(play, 20, ada.wait_until(lambda: len(ada.of_type("schedule.fired")) >= rings_wanted))
            rings = sorted(ada.of_type("schedule.fired"), key=lambda ring: ring.data["run"])[:rings_wanted]
            times = [datetime.fromisoformat(ring.data["scheduled_at"]) for ring in rings]
            gaps = {(later - earlier).total_seconds() for earlier, later in pairwise(times)}
            assert gaps == {2.0}, f"the rings are {gaps} seconds apart"
            play.saw("A schedule every 2 s", f"{len(rings)} rings for {schedule.id[:12]}…, 2 s apart, to one agent")
        with play.step(5, "transfer", "All three subscribe to one token; one transfer rings all of them"):
            await watch_a_transfer(play, on, all_three)
        with play.step(6, "reorganisation", "The chain takes that block back; the relay retracts what it told"):
            await take_it_back(play, on, all_three)
        rings = [ring for each in all_three for ring in each.rings.values()]
        both = sum(ring.verified == ("v1", "v1a") for ring in rings)
        assert both == len(rings), f"{len(rings) - both} of {len(rings)} webhooks lack a signature"
        assert not any(each.refused for each in all_three), "a webhook was refused"
        play.saw("Webhooks", f"{both}, each verified by v1 (shared secret) and v1a (the relay's public key)")


async def buy_a_schedule(play: Play, on: Stage, ada: Agent, purse: str) -> Schedule:
    """Register a schedule that costs money; show who had what before and after."""

    async def balances() -> tuple[int, int]:
        return await on.token.balance_of(purse), await on.token.balance_of(PAY_TO)

    before = await balances()
    play.timeline.say("chain", f"before: ada {usdc(before[0])}, the relay's operator {usdc(before[1])}")
    new = NewSchedule(spec={"every": "PT2S"}, endpoint_id=ada.endpoint_id, name="tick", payload={"for": "ada"})
    schedule = await ada.client.schedules.create(new)
    [payment] = [payment async for payment in ada.client.payments.list()]
    play.timeline.say("ada", f"402, signed a payment, 201: {schedule.id[:16]}…")
    after = await balances()
    play.timeline.say("chain", f"after:  ada {usdc(after[0])}, the relay's operator {usdc(after[1])}")
    moved = (before[0] - after[0], after[1] - before[1])
    assert moved == (1_000, 1_000), f"{moved} moved instead of 1000 micro-dollars"
    assert payment.state == "done", f"the payment is {payment.state}"
    play.saw("A registration paid by x402", f"{price} once; ada {usdc(before[0])} → {usdc(after[0])}")
    return schedule


async def watch_a_transfer(play: Play, on: Stage, agents: list[Agent]) -> None:
    """Three subscriptions, one watcher, one transfer, three rings of one event."""
    wanted = EvmLog(kind="evm.log", chain=payments_network, address=on.token.address, topics=[transfer_topic])
    for each in agents:
        new = NewSubscription(source=wanted, endpoint_id=each.endpoint_id)
        subscription = await each.client.subscriptions.create(new)
        play.timeline.say(each.name, f"subscribed: source {subscription.source_id[:16]}…")
    await within(play, 15, *(active(each) for each in agents))
    await on.token.mint(on.chain.accounts[1], 5_000_000)
    play.timeline.say("chain", "a transfer of 5.00 USDC is mined")
    await within(play, 15, *(each.wait_until(lambda each=each: bool(each.of_type("event.matched"))) for each in agents))
    events = {each.of_type("event.matched")[0].data["event_id"] for each in agents}
    watchers = [watcher async for watcher in agents[0].client.subscriptions.watchers()]
    assert len(events) == 1, f"the agents were told of {len(events)} events"
    assert len(watchers) == 1, f"there are {len(watchers)} watchers"
    play.saw("One transfer, three agents", f"1 watcher, {watchers[0].subscriptions} subscriptions, 1 event, 3 rings")


async def take_it_back(play: Play, on: Stage, agents: list[Agent]) -> None:
    """A reorganisation drops the block with the transfer."""
    await on.chain.reorg(1)
    await on.chain.mine()
    play.timeline.say("chain", "the last block is replaced by two without the transfer")
    rung = (each.wait_until(lambda each=each: bool(each.of_type("event.retracted"))) for each in agents)
    await within(play, 15, *rung)
    told = {each.of_type("event.matched")[0].data["event_id"] for each in agents}
    retracted = {each.of_type("event.retracted")[0].data["retracts"] for each in agents}
    assert retracted == told, f"{retracted} was retracted instead of {told}"
    play.saw("A reorganisation", "the event was retracted to all three, by its id")


async def active(each: Agent) -> None:
    """Wait until the agent's subscription is being watched."""
    while not all([found.state == "active" async for found in each.client.subscriptions.list()]):
        await asyncio.sleep(0.1)


async def within(play: Play, seconds: float, *waiting: object) -> None:
    """All of these, within so many seconds and what is left of the minute."""
    async with asyncio.timeout(min(seconds, seconds_max - play.timeline.seconds)):
        await asyncio.gather(*waiting)  # type: ignore[arg-type]


def usdc(amount: int) -> str:
    return f"{amount / 1_000_000:.3f} USDC"


def main() -> int:
    play = Play(Timeline())
    try:
        asyncio.run(perform(play))
    except StepFailed as failure:
        play.timeline.say("", f"The demo failed in {failure}", "bold red")
        return failure.number
    except KeyboardInterrupt:
        return 130
    play.saw("From nothing to here", f"{play.timeline.seconds:.1f} s")
    play.timeline.summary(play.seen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
