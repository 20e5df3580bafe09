"""When a connection is used again, and when it must not be; and where the time of a request goes."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import pytest

from app.kit.outbound import Answer, Fault, Outbound, Timings
from app.kit.outbound.pool import Pool
from tests.strangers import Names, RecordingDialer, Stranger, category, certificate, outbound, post, says, stranger

EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"


async def no_connection(out: Outbound) -> None:
    """Returns when none is open any more, be it in use or idle."""
    async with asyncio.timeout(5):
        while out._pool is None or out._pool._open:
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    "answer",
    [
        EMPTY,
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500 Oh\r\nKeep-Alive: timeout=5, max=100\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=never\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n",  # offered, not done
    ],
)
async def test_a_connection_is_used_again_when_its_answer_has_ended(answer: bytes) -> None:
    async with stranger(says(answer)) as them, outbound() as out:
        for _ in range(3):
            assert isinstance(await post(out, them.url), Answer)

    assert (them.connections, len(them.heads)) == (1, 3)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 0\r\n\r\n",  # a second before that is now
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef",  # longer than it said
        EMPTY + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",  # an answer to what nobody asked
        EMPTY + b"HTTP/1.1 20",
        EMPTY + b"?",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n" + b"x" * 20_000,  # cut off, and so never ended
    ],
)
async def test_a_connection_is_not_used_again_after_an_answer_that_left_doubts(answer: bytes) -> None:
    async with stranger(says(answer)) as them, outbound() as out:
        for _ in range(2):
            assert isinstance(await post(out, them.url), Answer)

    assert them.connections == 2


async def test_what_comes_when_nobody_asked_is_not_the_answer_to_the_next_request() -> None:
    told = asyncio.Event()

    async def talk(me: Stranger, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await me.request(reader)
        await me.write(writer, EMPTY)
        if me.connections == 1:
            await told.wait()
            await me.write(writer, b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")
        await reader.read()

    async with stranger(talk) as them, outbound() as out:
        await post(out, them.url)
        told.set()
        await no_connection(out)
        answer = await post(out, them.url)

    assert isinstance(answer, Answer)
    assert (answer.status, answer.body, them.connections) == (204, b"", 2)


async def test_a_connection_that_was_closed_meanwhile_is_not_used() -> None:
    async def talk(me: Stranger, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await me.request(reader)
        await me.write(writer, EMPTY)

    async with stranger(talk) as them, outbound() as out:
        await post(out, them.url)
        await no_connection(out)
        assert isinstance(await post(out, them.url), Answer)

    assert them.connections == 2


async def closes_on_the_second_request(
    me: Stranger, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    await me.request(reader)
    await me.write(writer, EMPTY)
    await me.request(reader)


async def test_a_post_is_not_repeated_when_its_connection_is_closed_for_an_answer() -> None:
    async with stranger(closes_on_the_second_request) as them, outbound() as out:
        await post(out, them.url)
        assert await category(out, them.url) == "connection_lost"

    assert (them.connections, len(them.heads)) == (1, 2)


async def test_a_get_is_repeated_once_when_its_connection_is_closed_for_an_answer() -> None:
    async with stranger(closes_on_the_second_request) as them, outbound() as out:
        await out.get(them.url, {}, timeout_seconds=5)
        assert isinstance(await out.get(them.url, {}, timeout_seconds=5), Answer)

    assert (them.connections, len(them.heads)) == (2, 3)


async def test_a_get_on_a_new_connection_is_not_repeated() -> None:
    async with stranger(says(b"", then="close")) as them, outbound() as out:
        fault = await out.get(them.url, {}, timeout_seconds=5)

    assert isinstance(fault, Fault)
    assert (fault.category, len(them.heads)) == ("connection_lost", 1)


async def test_requests_at_once_have_a_connection_each() -> None:
    async def talk(me: Stranger, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await me.request(reader)
            place = head.split()[1]
            await me.write(writer, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(place), place))

    async with stranger(talk) as them, outbound() as out:
        for _ in range(3):
            asked = [post(out, f"http://127.0.0.1:{them.port}/{number}") for number in range(20)]
            answers = await asyncio.gather(*asked)
            assert [a.body for a in answers if isinstance(a, Answer)] == [b"/%d" % number for number in range(20)]

    assert them.connections == 20


async def test_a_request_that_is_called_off_takes_its_connection_along() -> None:
    gone = asyncio.Event()

    async def talk(me: Stranger, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await me.request(reader)
        await reader.read()
        gone.set()

    async with stranger(talk) as them, outbound() as out:
        asking = asyncio.ensure_future(post(out, them.url))
        while not them.heads:
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait_for(gone.wait(), 5)

    assert asking.cancelled()


async def test_closing_ends_what_is_in_flight() -> None:
    async with stranger(says(b"")) as them:
        async with outbound() as out:
            asking = asyncio.ensure_future(post(out, them.url))
            while not them.heads:
                await asyncio.sleep(0)
        fault = await asking

    assert isinstance(fault, Fault)
    assert fault.category == "connection_lost"


async def test_what_is_dialled_while_we_close_is_not_kept() -> None:
    async with stranger(says(EMPTY)) as them:
        dialer = SlowDialer(them.port)
        async with outbound(dialer=dialer) as out:
            asking = asyncio.ensure_future(post(out, "http://127.0.0.1:8000/"))
            await dialer.asked.wait()
        dialer.go.set()
        fault = await asking

    assert isinstance(fault, Fault)
    assert (fault.category, them.heads) == ("connection_lost", [])


class SlowDialer(RecordingDialer):
    """Connects when it is told to."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.asked, self.go = asyncio.Event(), asyncio.Event()

    async def connect(self, address: str, port: int) -> socket.socket:
        self.asked.set()
        await self.go.wait()
        return await super().connect(address, port)


async def test_connections_that_nobody_uses_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.kit.outbound.connection.idle_connection_seconds", 0.1)
    gone = asyncio.Event()

    async def talk(me: Stranger, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await me.request(reader)
        await me.write(writer, EMPTY)
        await reader.read()
        gone.set()

    async with stranger(talk) as them, outbound() as out:
        assert isinstance(await post(out, them.url), Answer)
        await asyncio.wait_for(gone.wait(), 5)


class TestNamesThatMove:
    async def test_a_connection_is_reused_for_the_same_address_only(self) -> None:
        dialer = None
        async with stranger(says(EMPTY)) as them:
            dialer = RecordingDialer(them.port)
            names = Names(["127.0.0.1"], ["127.0.0.2"], ["127.0.0.1"], ["127.0.0.2"])
            async with outbound(resolver=names, dialer=dialer) as out:
                for _ in range(4):
                    assert isinstance(await post(out, "http://hook.example:8000/"), Answer)

        assert dialer.dialled == [("127.0.0.1", 8000), ("127.0.0.2", 8000)]
        assert len(names.asked) == 4

    async def test_a_name_that_turns_to_a_forbidden_address_has_no_use_of_the_open_connection(self) -> None:
        async with stranger(says(EMPTY)) as them:
            dialer = RecordingDialer(them.port)
            names = Names(["127.0.0.1"], ["10.0.0.1"], ["127.0.0.1", "10.0.0.1"], [])
            async with outbound(resolver=names, dialer=dialer) as out:
                assert isinstance(await post(out, "http://hook.example:8000/"), Answer)
                for _ in range(3):
                    assert await category(out, "http://hook.example:8000/") == "no_public_address"

        assert (len(dialer.dialled), len(them.heads)) == (1, 1)

    async def test_another_port_or_scheme_of_the_same_address_is_another_connection(self, tmp_path: Path) -> None:
        _, client = certificate(tmp_path)
        async with stranger(says(EMPTY)) as them:
            dialer = RecordingDialer(them.port)
            async with outbound(resolver=Names(["127.0.0.1"]), dialer=dialer, tls=client) as out:
                await post(out, "http://hook.example:8000/")
                await post(out, "http://hook.example:8001/")
                await post(out, "https://hook.example:8000/", timeout_seconds=0.1)

        assert dialer.dialled == [("127.0.0.1", 8000), ("127.0.0.1", 8001), ("127.0.0.1", 8000)]

    async def test_a_proven_name_does_not_vouch_for_another_at_the_same_address(self, tmp_path: Path) -> None:
        server, client = certificate(tmp_path)
        async with (
            stranger(says(EMPTY), tls=server) as them,
            outbound(resolver=Names(["127.0.0.1"]), tls=client) as out,
        ):
            assert isinstance(await post(out, f"https://hook.example:{them.port}/"), Answer)
            assert isinstance(await post(out, f"https://hook.example:{them.port}/"), Answer)
            assert await category(out, f"https://other.example:{them.port}/") == "tls_error"

        assert len(them.heads) == 2

    async def test_a_hundred_records_are_all_judged_and_a_few_are_dialled(self) -> None:
        good, bad = [f"9.9.9.{n}" for n in range(100)], [f"9.9.9.{n}" for n in range(99)] + ["10.0.0.1"]
        dialer = RecordingDialer()
        async with outbound(resolver=Names(good, bad), dialer=dialer) as out:
            assert await category(out, "https://hook.example/") == "connection_failed"
            assert await category(out, "https://hook.example/") == "no_public_address"

        assert dialer.dialled == [(address, 443) for address in good[:4]]


class TestTimings:
    async def test_phases_that_happened_are_timed_and_others_are_not(self, tmp_path: Path) -> None:
        server, client = certificate(tmp_path)
        async with (
            stranger(says(EMPTY), tls=server) as them,
            outbound(resolver=Names(["127.0.0.1"]), tls=client) as out,
        ):
            first = await post(out, f"https://hook.example:{them.port}/")
            second = await post(out, f"https://hook.example:{them.port}/")

        assert [phase is not None for phase in first.timings] == [True, True, True, True, True]
        assert [phase is not None for phase in second.timings] == [True, False, False, True, True]

    async def test_a_literal_address_is_not_looked_up_and_plain_http_has_no_tls(self) -> None:
        async with stranger(says(EMPTY)) as them, outbound() as out:
            answer = await post(out, them.url)

        assert [phase is not None for phase in answer.timings] == [False, True, False, True, True]

    async def test_waiting_and_reading_are_told_apart(self) -> None:
        async def talk(me: Stranger, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await me.request(reader)
            await asyncio.sleep(0.05)
            await me.write(writer, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
            await asyncio.sleep(0.1)
            await me.write(writer, b"abc")

        async with stranger(talk) as them, outbound() as out:
            timings = (await post(out, them.url)).timings

        assert timings.wait_ms is not None
        assert timings.read_ms is not None
        assert timings.wait_ms >= 40
        assert timings.read_ms >= 80

    async def test_a_refusal_has_taken_a_look_up_at_most(self) -> None:
        async with outbound(resolver=Names(["10.0.0.1"])) as out:
            named = await post(out, "https://hook.example/")
            literal = await post(out, "https://10.0.0.1/")

        assert named.timings == Timings(lookup_ms=named.timings.lookup_ms)
        assert named.timings.lookup_ms is not None
        assert literal.timings == Timings()


async def test_a_certificate_that_proves_an_address_is_enough_for_a_literal(tmp_path: Path) -> None:
    server, client = certificate(tmp_path, "127.0.0.1")
    async with stranger(says(EMPTY), tls=server) as them, outbound(tls=client) as out:
        assert isinstance(await post(out, f"https://127.0.0.1:{them.port}/"), Answer)


async def test_old_tls_is_refused(tmp_path: Path) -> None:
    server, _ = certificate(tmp_path)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        server.minimum_version = server.maximum_version = ssl.TLSVersion.TLSv1_1
    async with stranger(says(EMPTY), tls=server) as them, outbound(resolver=Names(["127.0.0.1"])) as out:
        assert await category(out, f"https://hook.example:{them.port}/") == "tls_error"


async def test_a_certificate_proves_no_name_that_it_does_not_list() -> None:
    pool = Pool(asyncio.get_running_loop(), RecordingDialer(), None)
    assert not pool._trust().hostname_checks_common_name
