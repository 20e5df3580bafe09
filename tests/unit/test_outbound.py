"""The way out of the house, against real servers on loopback and names that answer as the test says."""

from __future__ import annotations

import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from app.kit.addresses import networks
from app.kit.outbound import Answer, Fault
from tests.strangers import Names, certificate, outbound, post


@asynccontextmanager
async def receiver(handler: Callable[[web.Request], Awaitable[web.StreamResponse]], **site) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    tcp = web.TCPSite(runner, "127.0.0.1", 0, **site)
    await tcp.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def ok(request: web.Request) -> web.Response:
    return web.Response(text="thanks")


class TestTheRequest:
    async def test_it_arrives_with_the_host_of_the_url_at_the_address_that_was_vetted(self) -> None:
        seen: list[web.Request] = []

        async def handler(request: web.Request) -> web.Response:
            seen.append(request)
            return web.Response(body=await request.read(), headers={"X-Seen": "yes"})

        names = Names(["127.0.0.1"])
        async with receiver(handler) as port, outbound(resolver=names) as out:
            answer = await post(out, f"http://hook.example:{port}/a%2fb?x=1")

        assert isinstance(answer, Answer)
        assert (answer.status, answer.body, answer.headers["x-seen"]) == (200, b'{"a":1}', "yes")
        assert (seen[0].headers["Host"], seen[0].raw_path) == (f"hook.example:{port}", "/a%2fb?x=1")
        assert "Accept-Encoding" not in seen[0].headers
        assert names.asked == ["hook.example"]

    async def test_a_host_is_looked_up_once_an_attempt_and_connections_are_reused(self) -> None:
        peers: set[object] = set()

        async def handler(request: web.Request) -> web.Response:
            peers.add(request.transport.get_extra_info("peername") if request.transport else None)
            return web.Response()

        names = Names(["127.0.0.1"])
        async with receiver(handler) as port, outbound(resolver=names) as out:
            for _ in range(3):
                await post(out, f"http://hook.example:{port}/")

        assert len(names.asked) == 3
        assert len(peers) == 1

    async def test_it_asks_the_next_address_when_nobody_listens_at_the_first(self) -> None:
        async with receiver(ok) as port, outbound(resolver=Names(["127.0.0.9", "127.0.0.1"])) as out:
            assert isinstance(await post(out, f"http://hook.example:{port}/"), Answer)

    async def test_localhost_is_known_to_the_system(self) -> None:
        async with receiver(ok) as port, outbound(allow=networks(["127.0.0.0/8", "::1"])) as out:
            assert isinstance(await post(out, f"http://localhost:{port}/"), Answer)

    async def test_proxy_variables_are_not_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1/")
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")
        async with receiver(ok) as port, outbound() as out:
            assert isinstance(await post(out, f"http://127.0.0.1:{port}/"), Answer)

    async def test_get_takes_its_own_limit(self) -> None:
        async def handler(request: web.Request) -> web.Response:
            return web.Response(body=b"x" * 50_000)

        async with receiver(handler) as port, outbound() as out:
            url = f"http://127.0.0.1:{port}/"
            whole = await out.get(url, {}, timeout_seconds=5, body_bytes_max=50_000)
            cut = await out.get(url, {}, timeout_seconds=5, body_bytes_max=49_999)

        assert isinstance(whole, Answer)
        assert isinstance(cut, Answer)
        assert (len(whole.body), whole.truncated) == (50_000, False)
        assert (len(cut.body), cut.truncated) == (49_999, True)


class TestTheGuard:
    @pytest.mark.parametrize(
        "addresses",
        [
            [],  # does not resolve
            ["10.0.0.1"],
            ["169.254.169.254"],
            ["::1"],
            ["::ffff:10.0.0.1"],
            ["8.8.8.8", "10.0.0.1"],  # mixed
            ["127.0.0.1", "192.168.0.1"],  # one that the operator listed, one that nobody did
            ["8.8.8.8", "not an address"],
        ],
    )
    async def test_a_name_with_any_forbidden_address_is_not_called(self, addresses: list[str]) -> None:
        async with outbound(resolver=Names(addresses)) as out:
            fault = await post(out, "https://hook.example/")

        assert isinstance(fault, Fault)
        assert fault.category == "no_public_address"

    @pytest.mark.parametrize("host", ["10.0.0.1", "[::1]", "[::ffff:10.0.0.1]", "169.254.169.254", "[64:ff9b::a00:1]"])
    async def test_a_forbidden_literal_is_not_called_and_not_looked_up(self, host: str) -> None:
        names = Names(["8.8.8.8"])
        async with outbound(resolver=names) as out:
            fault = await post(out, f"https://{host}/")

        assert isinstance(fault, Fault)
        assert fault.category == "no_public_address"
        assert names.asked == []

    async def test_loopback_is_not_called_unless_the_operator_listed_it(self) -> None:
        async with receiver(ok) as port, outbound(allow=()) as out:
            fault = await post(out, f"http://127.0.0.1:{port}/")

        assert isinstance(fault, Fault)
        assert fault.category == "no_public_address"

    async def test_a_name_that_changes_its_answer_is_judged_each_time(self) -> None:
        names = Names(["127.0.0.1"], ["10.0.0.1"])
        async with receiver(ok) as port, outbound(resolver=names) as out:
            first = await post(out, f"http://hook.example:{port}/")
            second = await post(out, f"http://hook.example:{port}/")

        assert isinstance(first, Answer)
        assert isinstance(second, Fault)
        assert second.category == "no_public_address"

    async def test_an_open_connection_is_not_used_for_another_address_of_the_same_name(self) -> None:
        names = Names(["127.0.0.1"], ["127.0.0.2"])
        async with receiver(ok) as port, outbound(resolver=names) as out:
            first = await post(out, f"http://hook.example:{port}/")
            second = await post(out, f"http://hook.example:{port}/")

        assert isinstance(first, Answer)
        assert isinstance(second, Fault)  # nobody listens there
        assert second.category == "connection_failed"

    async def test_plain_http_is_for_listed_networks_only(self) -> None:
        async with outbound(resolver=Names(["8.8.8.8"])) as out:
            assert await post(out, "http://hook.example/") == Fault("https_required")
            assert await out.vet("http://hook.example/") == Fault("https_required")

    async def test_what_is_not_a_url_is_a_fault_too(self) -> None:
        async with outbound() as out:
            fault = await post(out, "http://127.1/")

        assert isinstance(fault, Fault)
        assert fault.category == "bad_url"

    async def test_vetting_connects_to_nothing(self) -> None:
        async with outbound(resolver=Names(["8.8.8.8"], ["10.0.0.1"])) as out:
            assert await out.vet("https://hook.example/") is None
            assert isinstance(await out.vet("https://hook.example/"), Fault)
            assert isinstance(await out.vet("https://user@hook.example/"), Fault)


class TestHostileReceivers:
    async def test_a_redirect_is_an_answer_and_not_followed(self) -> None:
        calls: list[str] = []

        async def handler(request: web.Request) -> web.Response:
            calls.append(request.path)
            return web.Response(status=302, headers={"Location": "/elsewhere"})

        async with receiver(handler) as port, outbound() as out:
            answer = await post(out, f"http://127.0.0.1:{port}/hook")

        assert isinstance(answer, Answer)
        assert (answer.status, calls) == (302, ["/hook"])

    async def test_cookies_are_forgotten(self) -> None:
        seen: list[str | None] = []

        async def handler(request: web.Request) -> web.Response:
            seen.append(request.headers.get("Cookie"))
            return web.Response(headers={"Set-Cookie": "a=b"})

        async with receiver(handler) as port, outbound() as out:
            await post(out, f"http://127.0.0.1:{port}/")
            await post(out, f"http://127.0.0.1:{port}/")

        assert seen == [None, None]

    async def test_a_packed_body_stays_packed(self) -> None:
        bomb = gzip.compress(b"\0" * 1_000_000)

        async def handler(request: web.Request) -> web.Response:
            return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

        async with receiver(handler) as port, outbound() as out:
            answer = await post(out, f"http://127.0.0.1:{port}/")

        assert isinstance(answer, Answer)
        assert answer.body == bomb

    async def test_nobody_listening_is_a_failed_connection(self) -> None:
        async with receiver(ok) as port:
            pass
        async with outbound() as out:
            fault = await post(out, f"http://127.0.0.1:{port}/")

        assert isinstance(fault, Fault)
        assert fault.category == "connection_failed"


class TestTls:
    async def test_the_certificate_must_prove_the_name_of_the_url(self, tls: tuple[ssl.SSLContext, ...]) -> None:
        server, client = tls
        names = Names(["127.0.0.1"])
        async with receiver(ok, ssl_context=server) as port, outbound(resolver=names, tls=client) as out:
            proven = await post(out, f"https://hook.example:{port}/")
            other = await post(out, f"https://other.example:{port}/")
            literal = await post(out, f"https://127.0.0.1:{port}/")

        assert isinstance(proven, Answer)
        assert isinstance(other, Fault)
        assert isinstance(literal, Fault)
        assert (other.category, literal.category) == ("tls_error", "tls_error")

    async def test_a_certificate_of_nobody_known_is_refused(self, tls: tuple[ssl.SSLContext, ...]) -> None:
        async with receiver(ok, ssl_context=tls[0]) as port, outbound(resolver=Names(["127.0.0.1"])) as out:
            fault = await post(out, f"https://hook.example:{port}/")

        assert isinstance(fault, Fault)
        assert fault.category == "tls_error"

    async def test_the_server_is_told_the_name_of_the_url(self, tls: tuple[ssl.SSLContext, ...]) -> None:
        server, client = tls
        told: list[str | None] = []
        server.sni_callback = lambda _socket, name, _context: told.append(name)
        async with receiver(ok, ssl_context=server) as port, outbound(resolver=Names(["127.0.0.1"]), tls=client) as out:
            await post(out, f"https://hook.example:{port}/")

        assert told == ["hook.example"]

    async def test_plain_text_where_tls_was_expected_is_a_tls_error(self) -> None:
        async with receiver(ok) as port, outbound() as out:
            fault = await post(out, f"https://127.0.0.1:{port}/")

        assert isinstance(fault, Fault)
        assert fault.category == "tls_error"


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return certificate(tmp_path)
