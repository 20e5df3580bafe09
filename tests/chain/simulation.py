"""A chain that moves, providers that fail and lie, and a watcher that dies: all of it out of one seed.

After every step, what was told is replayed: nothing is told twice, nothing is taken back that does not stand, and all
of it was once true of the chain. Whenever all is calm, what stands is what an independent reading of the chain finds.

`python -m tests.chain.simulation --seed 7 --steps 2000` plays one; the same seed plays the same again.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.kit import telemetry
from app.kit.database import Database
from app.kit.operator_http import operator_client
from app.kit.wake import Silence as NoBell
from app.local import migrations
from app.local.postgres import Postgres
from app.local.watchdog import Watchdog
from app.services import open_services
from app.settings import ChainSettings, DatabaseSettings, ProviderSettings, SecretSettings, Settings, ValkeySettings
from app.subscriptions import store
from app.subscriptions.models import Filter, Source
from app.subscriptions.sources import taken_apart
from app.tables import metadata
from app.watchers.chains import Chains
from app.watchers.opening import chain_of
from examples.devchain import DevChain, Token, transfer_topic
from tests.chain.faults import FAULTS, LIES, Faulty
from tests.chain.proxy import Proxy
from tests.sealed import SECRET_KEY
from tests.world import OwnClock
from tocsin.schemas.subscriptions import EvmLog

NETWORK = "eip155:31337"
EPOCH_BLOCKS = 8
REST_STEPS = 50


class Broken(AssertionError):
    """What was told is not what it has to be."""


class Crash(Exception):
    """The process ends here."""


@dataclass
class World:
    """The chain, and everything that was ever true of it."""

    chain: DevChain
    token: Token
    random: random.Random
    names: dict[str, str] = field(default_factory=dict[str, str])
    truth: dict[tuple[str, str, int], int] = field(default_factory=dict[tuple[str, str, int], int])
    heights: Counter[int] = field(default_factory=Counter[int])
    floor: int = 0
    seen: int = 0

    async def mine(self, blocks: int, transfers: int) -> None:
        """Mine blocks with some transfers in the first, and some in the last."""
        await self._keep_the_token()
        for block in range(blocks):
            for _ in range(transfers if block in (0, blocks - 1) else 0):
                await self.token.transfer(self._account(), self._account(), self.random.randrange(1000))
            await self.chain.call("evm_mine")
        await self.learn()

    async def reorg(self, depth: int, transfers: int) -> None:
        """Other blocks in the place of the newest, with other transfers in them."""
        moved = [
            (self.token.transferring(self._account(), self._account(), self.random.randrange(1000)), place % depth)
            for place in range(transfers)
        ]
        await self._afresh()
        await self.chain.reorg(depth, sorted(moved, key=lambda each: each[1]))
        await self.learn()

    async def rollback(self, depth: int) -> None:
        """Nothing in the place of the newest blocks."""
        await self.chain.rollback(depth)
        await self._afresh()
        await self.learn()

    async def learn(self) -> None:
        """Note what is true of the blocks that are new since last time."""
        head = int((await self.chain.head())["number"], 16)
        self.floor = max(self.floor, head - 2 * EPOCH_BLOCKS)
        for number in range(head, -1, -1):
            block = await self.chain.call("eth_getBlockByNumber", hex(number), False)
            if block["hash"] in self.names:
                break
            self.heights[number] += 1
            self.names[block["hash"]] = f"{number}.{self.heights[number]}"
            self.truth |= await self._logs(blockHash=block["hash"])
        self.seen = head

    async def standing(self, after: int) -> dict[tuple[str, str, int], int]:
        """What the chain holds beyond a block, by a reading of its own."""
        return await self._logs(fromBlock=hex(after + 1), toBlock="latest") if self.seen > after else {}

    def depth(self, wanted: int) -> int:
        """As deep as that, but not below what may have been final."""
        return max(0, min(wanted, self.seen - self.floor))

    async def _logs(self, **where: str) -> dict[tuple[str, str, int], int]:
        found = await self.chain.call(
            "eth_getLogs", {"address": self.token.address, "topics": [transfer_topic], **where}
        )
        return {(each["blockHash"], each["transactionHash"], 0): int(each["data"], 16) for each in found}

    async def _afresh(self) -> None:
        """Forget transactions that wait for others which are gone: nothing of those accounts would be mined again."""
        await self.chain.call("anvil_dropAllTransactions")

    async def _keep_the_token(self) -> None:
        """After some hundreds of blocks anvil goes back to states that it has forgotten in part: contracts are gone."""
        if await self.chain.call("eth_getCode", self.token.address, "latest") == "0x":
            await Token.plant(self.chain, self.token.address)
            for account in self.chain.accounts[:3]:
                await self.token.mint(account, 10**12)

    def _account(self) -> str:
        return self.random.choice(self.chain.accounts[:3])


class Model:
    """What a listener believes who heard everything, in order, and nothing else."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._keys: dict[str, tuple[str, str, int]] = {}
        self._told_at: dict[int, str] = {}
        self.standing: dict[tuple[str, str, int], int] = {}
        self.heard = 0
        self.undone = 0
        self.trace = hashlib.sha256()

    async def hear(self, db: AsyncSession) -> None:
        """Replay what was told since last time."""
        question = text("select seq, event_id, undoes, payload from sightings where seq > :heard order by seq")
        for seq, event_id, undoes, told in await db.execute(question, {"heard": self.heard}):
            self.heard += 1
            _require(seq == self.heard, f"{seq} was told after {self.heard - 1}")
            payload = orjson.loads(told)
            key = (payload["block"]["hash"], payload["transaction"]["hash"], payload["log"]["index"])
            place = f"{self._world.names.get(key[0])}/{payload['transaction']['index']}/{key[2]}"
            self.trace.update(f"{seq} {place} {undoes}\n".encode())
            _require(self._keys.setdefault(event_id, key) == key, f"{event_id} is two events")
            if undoes is None:
                self._applied(event_id, key, int(payload["log"]["data"], 16), seq)
            else:
                self.undone += 1
                _require(self._told_at.get(undoes) == event_id, f"{seq} takes back {undoes}, which told something else")
                _require(self.standing.pop(key, None) is not None, f"{place} was taken back twice")

    def _applied(self, event_id: str, key: tuple[str, str, int], value: int, seq: int) -> None:
        _require(key not in self.standing, f"{key} was told twice")
        _require(self._world.truth.get(key) == value, f"{key} was never true")
        self.standing[key] = value
        self._told_at[seq] = event_id


class Relay:
    """A watcher with all its lives: each begins with what the database knows, and nothing else."""

    def __init__(self, settings: Settings, clock: OwnClock) -> None:
        self._settings = settings
        self._clock = clock
        self._stack = AsyncExitStack()
        self.lives = 0
        self.dies_at: tuple[int, str] | None = None
        self.looks = 0

    async def live(self) -> None:
        """Begin the next life."""
        await self._stack.aclose()
        self.lives += 1
        services = await self._stack.enter_async_context(
            open_services(self._settings, NoBell(), name="simulation", clock=self._clock)
        )
        http = await self._stack.enter_async_context(operator_client(timeout_seconds=20))
        chains = {name: chain_of(name, each, http, self._clock) for name, each in self._settings.chains.items()}
        self._services = services
        self._kind = Chains(self._transaction, self._clock, services.subscriptions, chains)

    async def look(self) -> None:
        """Look until nothing is due. A life that is to end, ends at its place in the look."""
        try:
            while True:
                async with self._services.database.transaction() as db:
                    taken = await self._services.subscriptions.take(db, ["evm"], self._clock.at, 1)
                if not taken:
                    return
                self.looks += 1
                self._transactions = 0
                await self._kind.look(taken[0])
        except Crash:
            self.dies_at = None
            await self.live()

    async def close(self) -> None:
        await self._stack.aclose()

    @property
    def database(self) -> Database:
        return self._services.database

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncSession]:
        """A transaction before, in or after which the process may end."""
        self._transactions += 1
        number = self._transactions
        if self.dies_at == (number, "before"):
            raise Crash
        async with self._services.database.transaction() as db:
            yield db
            if self.dies_at == (number, "in"):
                raise Crash
        if self.dies_at == (number, "after"):
            raise Crash


@dataclass
class Played:
    """What a simulation came to."""

    seed: int
    steps: Counter[str]
    told: int
    undone: int
    lives: int
    looks: int
    calls: int
    trace: str

    def __str__(self) -> str:
        steps = ", ".join(f"{name} {number}" for name, number in sorted(self.steps.items()))
        return (
            f"seed {self.seed}: {self.steps.total()} steps ({steps}); {self.looks} looks in {self.lives} lives, "
            f"{self.calls} calls; {self.told} told, {self.undone} of them taken back; trace {self.trace[:16]}"
        )


class Simulation:
    """One seed's story."""

    def __init__(
        self, seed: int, world: World, faulty: list[Faulty], relay: Relay, clock: OwnClock, stray: DevChain | None
    ) -> None:
        self._seed = seed
        self._stray = stray
        self._random = random.Random(seed)
        self._world, self._faulty, self._relay, self._clock = world, faulty, relay, clock
        self._model = Model(world)
        self._begun_at, self._begun_with = 0, ""
        self._played: Counter[str] = Counter()

    async def play(self, steps: int, telling: Callable[[str], None]) -> Played:
        """Take so many steps, and come to rest. Now and then it says how far it is."""
        await self._relay.live()
        await self._begin()
        step = 0
        try:
            for step in range(steps):
                await self._step()
                if step % REST_STEPS == REST_STEPS - 1:
                    await self._rest()
                    telling(f"  {step + 1} of {steps} steps; {self._model.heard} told")
            await self._rest()
        except AssertionError as broken:
            raise Broken(f"seed {self._seed}, step {step} of {steps}: {broken}") from broken
        calls = sum(each.proxy.calls.total() for each in self._faulty)
        model, relay = self._model, self._relay
        return Played(
            self._seed,
            self._played,
            model.heard,
            model.undone,
            relay.lives,
            relay.looks,
            calls,
            model.trace.hexdigest(),
        )

    async def _begin(self) -> None:
        """Somebody wishes for all transfers; the watcher begins at the head."""
        wish = taken_apart(
            EvmLog(kind="evm.log", chain=NETWORK, address=self._world.token.address, topics=[transfer_topic])
        )
        now = self._clock.at
        source = Source(id=wish.source_id, kind=wish.kind, params=dict(wish.params), state="idle", created_at=now)
        async with self._relay.database.transaction() as db:
            await store.add_source(db, source)
            await store.wake_source(db, source.id, now)
            await store.add_filter(db, Filter(id=wish.filter_id, source_id=source.id, spec=dict(wish.spec)))
        await self._world.learn()
        self._begun_at, self._begun_with = self._world.seen, (await self._world.chain.head())["hash"]
        await self._relay.look()

    async def _step(self) -> None:
        step = self._random.choices(
            ["mine", "reorg", "race", "rollback", "absence", "fault", "heal", "crash", "look"],
            [10, 5, 3, 2, 1, 5, 3, 3, 6],
        )[0]
        self._played[step] += 1
        for each in self._faulty:
            each.turn += 1
        await getattr(self, f"_{step}")()
        self._clock.advance(seconds=1)
        await self._relay.look()
        for each in self._faulty:
            each.ambush = None
        async with self._relay.database.transaction() as db:
            await self._model.hear(db)

    async def _mine(self) -> None:
        await self._world.mine(self._random.randint(1, 3), self._random.randint(0, 2))

    async def _reorg(self) -> None:
        depth = self._world.depth(self._random.randint(1, 8))
        if depth:
            await self._world.reorg(depth, self._random.randint(0, 3))

    async def _race(self) -> None:
        """A reorganisation while the watcher looks, between two answers."""
        await self._mine()
        method = self._random.choice(["eth_getBlockByNumber", "eth_getBlockByHash", "eth_getBlockReceipts"])
        for each in self._faulty:
            each.ambush = (method, self._ambush)

    async def _ambush(self) -> None:
        for each in self._faulty:
            each.ambush = None
        await self._reorg()

    async def _rollback(self) -> None:
        # What follows has to be above what was final, and above where the watcher began.
        depth = min(self._world.depth(self._random.randint(1, 3)), self._world.seen - self._begun_at)
        if depth > 0:
            await self._world.rollback(depth)

    async def _absence(self) -> None:
        await self._world.mine(self._random.randint(20, 90), self._random.randint(1, 3))

    async def _fault(self) -> None:
        faulty = self._random.choice(self._faulty)
        faulty.heal()
        faulty.share = self._random.choice([0.3, 1.0])
        if self._random.random() < 0.3:
            # Now and then it is behind, now and then not: two nodes behind one address.
            faulty.lag = self._random.randint(1, 4)
        elif self._stray is not None and self._random.random() < 0.3:
            await self._go_astray(faulty)
        else:
            faults = {**FAULTS, **LIES}
            faulty.fault = faults[self._random.choice(sorted(faults))]

    async def _go_astray(self, faulty: Faulty) -> None:
        """The provider serves another fork, which is about as long as the chain."""
        assert self._stray is not None
        ahead = self._world.seen + self._random.randint(-2, 4) - int((await self._stray.head())["number"], 16)
        for _ in range(0, ahead, 100):
            await self._stray.call("anvil_mine", hex(100))
        faulty.elsewhere = self._stray.url

    async def _heal(self) -> None:
        self._random.choice(self._faulty).heal()

    async def _crash(self) -> None:
        self._relay.dies_at = (self._random.choice([1, 2, 2]), self._random.choice(["before", "in", "after"]))
        await self._mine()

    async def _look(self) -> None:
        """Time alone passes."""

    async def _rest(self) -> None:
        """All is well again: after a while, what stands is what the chain holds."""
        for each in self._faulty:
            each.heal()
        for _ in range(8):
            self._clock.advance(seconds=40)
            await self._relay.look()
        async with self._relay.database.transaction() as db:
            await self._model.hear(db)
            state, reason = (await db.execute(text("select state, state_reason from sources"))).one()
        _require(state == "active", f"the chain is {state}: {reason}")
        # What the block holds that it began with was there before; what stands in its place since, was not.
        there = await self._world.standing(self._begun_at - 1)
        expected = {key: value for key, value in there.items() if key[0] != self._begun_with}
        missing = [self._world.names[key[0]] for key in expected.keys() - self._model.standing.keys()]
        excess = [self._world.names[key[0]] for key in self._model.standing.keys() - expected.keys()]
        _require(not missing and not excess, f"missing in blocks {sorted(missing)}, not gone from {sorted(excess)}")
        _require(expected == self._model.standing, "a value differs")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Broken(otherwise)


def _quietly(line: str) -> None:
    """Say nothing of it."""


async def simulate(seed: int, steps: int, settings: Settings, telling: Callable[[str], None] = _quietly) -> Played:
    """Play one seed on a chain and an empty database of its own."""
    clock, rng = OwnClock(), random.Random(seed)
    names: dict[str, str] = defaultdict(str)
    async with AsyncExitStack() as stack:
        chain = await stack.enter_async_context(
            DevChain.start(mining=False, timestamp=1_700_000_000, epoch_blocks=EPOCH_BLOCKS)
        )
        # By the blocks alone: who lags is told by their times, and those of a slow machine would differ.
        await chain.call("anvil_setBlockTimestampInterval", 1)
        token = await Token.deploy(chain)
        for account in chain.accounts[:3]:
            await token.mint(account, 10**12)
        # Nothing below is final yet, so the first forks may go far.
        await chain.mine(3 * EPOCH_BLOCKS)
        world = World(chain, token, rng, names)
        proxies = [await stack.enter_async_context(Proxy.before(chain.url)) for _ in range(1 + seed % 3)]
        faulty = [Faulty(proxy, seed + place, names.__getitem__) for place, proxy in enumerate(proxies)]
        providers = tuple(
            ProviderSettings(url=proxy.url, label=f"provider-{place}") for place, proxy in enumerate(proxies)
        )
        agreement = len(proxies) > 1 and seed % 2 == 0
        followed = ChainSettings(rpc_url=providers, poll_seconds=1, agreement=agreement, verified="receipts-root")
        relay = Relay(settings.model_copy(update={"chains": {NETWORK: followed}}), clock)
        stack.push_async_callback(relay.close)
        # Alone, a provider of another fork cannot be told from a fork.
        stray = None
        if agreement:
            stray = await stack.enter_async_context(DevChain.start(mining=False, timestamp=1_600_000_000))
        return await Simulation(seed, world, faulty, relay, clock, stray).play(steps, telling)


async def emptied(url: str) -> None:
    """Forget what an earlier simulation left."""
    database = Database(url, name="simulation")
    tables = ", ".join(table.name for table in metadata.sorted_tables)
    async with database.transaction() as db:
        await db.execute(text(f"truncate {tables} restart identity cascade"))
    await database.close()


def main() -> int:
    """Play one seed, or one after the other; returns 1 when one of them broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.chain.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--seeds", type=int, default=1, help="how many (default: 1)")
    parser.add_argument("--steps", type=int, default=2000, help="of each (default: 2000)")
    asked = parser.parse_args()
    telemetry.configure("text", "error")
    with tempfile.TemporaryDirectory(prefix="tocsin-chain-") as home, closing(Watchdog()) as watchdog:
        postgres = Postgres.start(Path(home), durable=False, watchdog=watchdog)
        try:
            url = postgres.url_of("simulation")
            migrations.migrate(url)
            return asyncio.run(_play_all(range(asked.seed, asked.seed + asked.seeds), asked.steps, url))
        finally:
            postgres.stop()


async def _play_all(seeds: range, steps: int, url: str) -> int:
    settings = relay_settings(url)
    for seed in seeds:
        await emptied(url)
        try:
            print(await simulate(seed, steps, settings, _aloud), flush=True)
        except Broken as broken:
            print(f"{broken}\nAgain: python -m tests.chain.simulation --seed {seed} --steps {steps}", file=sys.stderr)
            return 1
    return 0


def _aloud(line: str) -> None:
    print(line, flush=True)


def relay_settings(url: str) -> Settings:
    """A relay that has this database and nothing else."""
    return Settings(
        database=DatabaseSettings(url=url),
        valkey=ValkeySettings(url="redis://127.0.0.1:1"),
        secret=SecretSettings(key=SECRET_KEY),
    )


if __name__ == "__main__":
    sys.exit(main())
