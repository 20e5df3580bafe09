"""What an open stream costs that has nothing to say: memory of the API process, and connections to the database."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import psutil

from app.local.ports import free_port
from bench.report import line
from bench.stage import Stage, answering
from tocsin import AsyncClient, PrivateKey, signatures
from tocsin.schemas.subscriptions import EvmLog, NewSubscription

__all__ = ["report_idle"]

streams = 1_000
agents = 10
chain = "eip155:31337"


def report_idle(stage: Stage, workers: int) -> None:
    """Open a thousand streams, and look at the process once they have been silent for a while."""
    asyncio.run(_report(stage))


async def _report(stage: Stage) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    watched = f'{{"{chain}": {{"rpc_url": "http://127.0.0.1:1"}}}}'
    environment = {"TOCSIN_API_PORT": str(port), "TOCSIN_CHAINS": watched}
    api = stage.start("-c", "from tocsin.cli import main; main()", "api", **environment)
    await answering(url)
    paths = [await _subscribed(url, number) for number in range(agents)]
    # What the first ones make the process load is not counted for each.
    first = [await _opened(url, key, path) for key, path in paths]
    before = _memory(api.pid)
    opened = [await _opened(url, key, path) for key, path in paths for _ in range(streams // agents - 1)]
    await asyncio.sleep(5)
    used = (_memory(api.pid) - before) / len(opened)
    cpu = psutil.Process(api.pid).cpu_times()
    started = time.monotonic()
    await asyncio.sleep(30)
    after = psutil.Process(api.pid).cpu_times()
    share = (after.user + after.system - cpu.user - cpu.system) / (time.monotonic() - started)
    line("open streams", str(len(first) + len(opened)))
    line("memory of one", f"{used / 1024:.1f} KiB")
    line("connections to the database", str(_connections(api.pid, stage)))
    line("CPU while nothing happens", f"{share:.1%} of a core")
    for writer in (*first, *opened):
        writer.close()


async def _subscribed(url: str, number: int) -> tuple[PrivateKey, str]:
    """An agent with a subscription of its own, and the path of its stream."""
    key = PrivateKey.generate()
    async with AsyncClient(url, key) as client:
        await client.agents.register(key)
        source = EvmLog(kind="evm.log", chain=chain, address=f"0x{number:040x}")
        created = await client.subscriptions.create(NewSubscription(source=source))
    return key, f"/v1/subscriptions/{created.id}/stream"


async def _opened(url: str, key: PrivateKey, path: str) -> asyncio.StreamWriter:
    """A stream, opened and heard from once."""
    host = urlsplit(url).netloc
    reader, writer = await asyncio.open_connection(*host.split(":"))
    now = datetime.now(UTC)
    request = signatures.Request.of("GET", f"{url}{path}", {}, b"")
    signed = signatures.sign(
        request, key, created=now, expires=now + timedelta(seconds=60), nonce=PrivateKey.generate().public.keyid[:22]
    )
    fields = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
    writer.write(f"GET {path} HTTP/1.1\r\nhost: {host}\r\n{fields}\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    return writer


def _memory(pid: int) -> int:
    return sum(process.memory_info().rss for process in _all(pid))


def _connections(pid: int, stage: Stage) -> int:
    port = urlsplit(stage.postgres.url).port
    found = [connection for process in _all(pid) for connection in process.net_connections("tcp")]
    return sum(1 for each in found if each.raddr and each.raddr.port == port)


def _all(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]
