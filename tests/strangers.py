"""Servers on loopback that behave as badly as a test says, names that answer as it says, and a dialler that notes."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.kit.addresses import networks
from app.kit.outbound import Answer, Fault, Outbound

LOOPBACK = networks(["127.0.0.0/8"])

Talk = Callable[["Stranger", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Names:
    """Names that answer as written, and count how often they were asked."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def addresses(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


class RecordingDialer:
    """Notes what it was asked to dial, and reaches nothing but loopback: this port of it, or nobody."""

    def __init__(self, port: int | None = None) -> None:
        self.port = port
        self.dialled: list[tuple[str, int]] = []

    async def connect(self, address: str, port: int) -> socket.socket:
        self.dialled.append((address, port))
        if self.port is None:
            raise ConnectionRefusedError("nobody is there")
        connected = socket.socket()
        connected.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connected, ("127.0.0.1", self.port))
        return connected


class Stranger:
    """What a server was sent, connection by connection."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self.port = 0
        self.connections = 0
        self.heads: list[bytes] = []
        self.written = 0
        self._talking: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        talking = asyncio.ensure_future(self._talk(self, reader, writer))
        self._talking.add(talking)
        await asyncio.wait((talking,))
        self._talking.discard(talking)
        writer.close()
        if not talking.cancelled() and not isinstance(talking.exception(), ConnectionError | EOFError | None):
            talking.result()

    def hush(self) -> None:
        """Say and hear nothing more."""
        for talking in self._talking:
            talking.cancel()

    async def request(self, reader: asyncio.StreamReader) -> bytes:
        """The next request: its head, which is noted, while its body is read and dropped."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        _, _, rest = head.lower().partition(b"content-length: ")
        if rest:
            await reader.readexactly(int(rest.split(b"\r\n")[0]))
        return head

    async def write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        await writer.drain()
        self.written += len(data)


@asynccontextmanager
async def stranger(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[Stranger]:
    """A server that talks like this, until the block ends."""
    made = Stranger(talk)
    server = await asyncio.start_server(made.converse, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        made.hush()


def says(*parts: bytes, then: str = "wait") -> Talk:
    """To each request the same: these parts, and then `wait` for the next, `close`, or `reset`."""

    async def talk(me: Stranger, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await me.request(reader)
            for part in parts:
                await me.write(writer, part)
            if then == "close":
                return
            if then == "reset":
                writer.transport.abort()
                return

    return talk


def says_endlessly(first: bytes, again: bytes) -> Talk:
    """To a request: `first`, then `again` and again for as long as somebody listens."""

    async def talk(me: Stranger, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await me.request(reader)
        await me.write(writer, first)
        while True:
            await me.write(writer, again)
            await asyncio.sleep(0)  # the one who listens lives on the same loop

    return talk


def drips(first: bytes, again: bytes, every_seconds: float = 0.01) -> Talk:
    """To a request: `first`, then a little at a time, so that something always arrives."""

    async def talk(me: Stranger, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await me.request(reader)
        await me.write(writer, first)
        while True:
            await asyncio.sleep(every_seconds)
            await me.write(writer, again)

    return talk


@asynccontextmanager
async def outbound(**options) -> AsyncIterator[Outbound]:
    made = Outbound(**{"allow": LOOPBACK, **options})
    try:
        yield made
    finally:
        await made.close()


async def post(out: Outbound, url: str, *, body: bytes = b'{"a":1}', timeout_seconds: float = 5) -> Answer | Fault:
    return await out.post(url, body, {"Content-Type": "application/json"}, timeout_seconds=timeout_seconds)


async def category(out: Outbound, url: str, *, timeout_seconds: float = 5) -> str | int:
    """The category of the fault, or the status of the answer."""
    result = await post(out, url, timeout_seconds=timeout_seconds)
    return result.category if isinstance(result, Fault) else result.status


def certificate(folder: Path, *addresses: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server that can prove to be hook.example and to have these addresses, and a client that believes it."""
    proven = [x509.DNSName("hook.example"), *(x509.IPAddress(ip_address(address)) for address in addresses)]
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hook.example")])
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName(proven), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "hook.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cafile=str(path))
