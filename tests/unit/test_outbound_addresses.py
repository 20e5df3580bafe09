"""Which addresses are dialled: public ones, up to the very edge, and nothing else, however a name or a URL leads there.

No test here connects to anything but loopback: what would be dialled is noted.
"""

from __future__ import annotations

import socket

import psutil
import pytest

from app.kit.addresses import networks
from app.kit.outbound import Answer, Fault, own_doors
from tests.hostile import BAD_ADDRESSES, HOSTILE_URLS, NO_ADDRESSES, PUBLIC_EDGES
from tests.strangers import Names, RecordingDialer, category, outbound, post, says, stranger

EVERYTHING = networks(["0.0.0.0/0", "::/0"])
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"


def literal(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def test_the_tables_are_as_long_as_promised() -> None:
    assert len(set(HOSTILE_URLS)) >= 100
    assert len(set(BAD_ADDRESSES)) >= 100


@pytest.mark.parametrize("url", HOSTILE_URLS)
async def test_a_hostile_url_is_neither_looked_up_nor_dialled(url: str) -> None:
    names, dialer = Names(["8.8.8.8"]), RecordingDialer()
    async with outbound(allow=EVERYTHING, resolver=names, dialer=dialer) as out:
        assert await category(out, url) == "bad_url"
        fault = await out.vet(url)

    assert isinstance(fault, Fault)
    assert (names.asked, dialer.dialled) == ([], [])


@pytest.mark.parametrize("address", [*BAD_ADDRESSES, *NO_ADDRESSES])
async def test_an_innocent_name_at_a_bad_address_is_not_dialled(address: str) -> None:
    dialer = RecordingDialer()
    names = Names([address], ["8.8.8.8", address], [address, "2606:4700:4700::1111"])
    async with outbound(allow=(), resolver=names, dialer=dialer) as out:
        refused = [await category(out, "https://hook.example/") for _ in range(3)]
        vetted = await out.vet("https://hook.example/")

    assert refused == ["no_public_address"] * 3
    assert isinstance(vetted, Fault)
    assert (dialer.dialled, len(names.asked)) == ([], 4)  # one look-up for each


@pytest.mark.parametrize("address", BAD_ADDRESSES)
async def test_a_bad_address_in_the_url_itself_is_not_dialled(address: str) -> None:
    names, dialer = Names(["8.8.8.8"]), RecordingDialer()
    async with outbound(allow=(), resolver=names, dialer=dialer) as out:
        assert await category(out, f"https://{literal(address)}/") == "no_public_address"
        assert await category(out, f"http://{literal(address)}:8080/") == "no_public_address"
        assert isinstance(await out.vet(f"https://{literal(address)}/"), Fault)

    assert (names.asked, dialer.dialled) == ([], [])


@pytest.mark.parametrize("address", PUBLIC_EDGES)
async def test_a_public_address_is_dialled_up_to_the_edge_of_what_is_not(address: str) -> None:
    dialer = RecordingDialer()
    async with outbound(allow=(), resolver=Names([address]), dialer=dialer) as out:
        assert await out.vet("https://hook.example/") is None
        assert await category(out, "https://hook.example:8443/") == "connection_failed"

    assert dialer.dialled == [(address, 8443)]


async def test_what_was_vetted_is_what_is_dialled_with_the_host_of_the_url() -> None:
    async with stranger(says(EMPTY)) as them:
        dialer = RecordingDialer(them.port)
        async with outbound(allow=EVERYTHING, resolver=Names(["9.9.9.9"]), dialer=dialer) as out:
            assert isinstance(await post(out, "http://hook.example:8000/a"), Answer)

    assert dialer.dialled == [("9.9.9.9", 8000)]
    assert them.heads[0].startswith(b"POST /a HTTP/1.1\r\nHost: hook.example:8000\r\n")


async def test_forbidden_targets_cannot_be_told_apart() -> None:
    names = Names([], ["10.0.0.1"], ["127.0.0.1"], ["169.254.169.254"], ["8.8.8.8", "10.0.0.1"], ["not an address"])
    async with outbound(allow=(), resolver=names, dialer=RecordingDialer()) as out:
        seen = [await category(out, "https://hook.example/") for _ in range(6)]

    assert set(seen) == {"no_public_address"}


async def test_forbidden_names_are_refused_in_one_sentence_whatever_they_resolve_to() -> None:
    names = Names([], ["10.0.0.1"], ["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["9.9.9.9"], ["127.0.0.1"])
    async with outbound(own=[("9.9.9.9", 8585), ("127.0.0.1", 8585)], resolver=names) as out:
        told = [await out.vet("https://hook.example:8585/") for _ in range(6)]

    refusals = {fault.refusal for fault in told if fault is not None}
    assert (len(told), refusals) == (6, {"the host does not resolve, or not only to public addresses"})


@pytest.mark.parametrize(
    ("url", "refusal"),
    [
        ("https://10.0.0.1/", "10.0.0.1 is not a public address; an operator can allow networks by"),
        ("https://[fd00::7]/", "fd00::7 is not a public address; an operator can allow networks by"),
        ("http://127.0.0.1:8585/", "127.0.0.1 is where this relay itself listens"),
        ("http://localhost:8585/", "localhost is where this relay itself listens"),
        # Beside our door, an address that is not listed is told as such, whoever listens there.
        ("http://10.0.0.1:8585/", "10.0.0.1 is not a public address"),
    ],
)
async def test_what_is_wrong_with_an_address_in_the_url_itself_is_told(url: str, refusal: str) -> None:
    names = Own({"localhost": ["127.0.0.1"]})
    async with outbound(own=[("127.0.0.1", 8585), ("10.0.0.1", 8585)], resolver=names) as out:
        fault = await out.vet(url)

    assert isinstance(fault, Fault)
    assert fault.refusal.startswith(refusal)


class TestOurOwnDoors:
    """Where our own processes listen is refused even where a listed network covers it."""

    @pytest.mark.parametrize(
        ("own", "address"),
        [
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1", "::ffff:127.0.0.1"),
            ("127.0.0.1", "127.0.0.2"),  # loopback in any form is this machine
            ("127.0.0.1", "::1"),
            ("127.0.0.1", "0.0.0.0"),
            ("::1", "127.0.0.1"),
            ("localhost", "127.0.0.1"),
            ("0.0.0.0", "127.0.0.1"),
            ("0.0.0.0", "::1"),
            ("::", "127.0.0.1"),
            ("", "127.0.0.1"),
            ("10.1.2.3", "10.1.2.3"),
            ("10.1.2.3", "::ffff:10.1.2.3"),
            ("[fd00::7]", "fd00:0::7"),
            ("9.9.9.9", "9.9.9.9"),  # public, and still ours
        ],
    )
    async def test_an_address_of_ours_is_not_dialled(self, own: str, address: str) -> None:
        dialer = RecordingDialer()
        names = Own({"hook.example": [address], "localhost": ["127.0.0.1", "::1"]})
        async with outbound(allow=EVERYTHING, own=[(own, 8585)], resolver=names, dialer=dialer) as out:
            named = await category(out, "http://hook.example:8585/")
            spelled = await category(out, f"http://{literal(address)}:8585/")
            beside = await category(out, "http://hook.example:8586/")

        assert (named, spelled, beside) == ("no_public_address", "no_public_address", "connection_failed")
        assert dialer.dialled == [(address, 8586)]

    async def test_a_name_of_ours_is_refused_by_name_and_by_every_address_that_it_has(self) -> None:
        dialer = RecordingDialer()
        names = Own({"db.internal": ["10.0.0.5", "10.0.0.6"], "hook.example": ["10.0.0.6"]})
        async with outbound(allow=EVERYTHING, own=[("DB.internal", 15432)], resolver=names, dialer=dialer) as out:
            for host in ("db.internal", "10.0.0.5", "hook.example"):
                assert await category(out, f"http://{host}:15432/") == "no_public_address"
                assert isinstance(await out.vet(f"http://{host}:15432/"), Fault)
            assert await category(out, "http://10.0.0.7:15432/") == "connection_failed"

        assert dialer.dialled == [("10.0.0.7", 15432)]

    async def test_an_address_of_any_interface_is_ours_where_we_listen_on_all(self) -> None:
        faces = [face for faces in psutil.net_if_addrs().values() for face in faces if face.family == socket.AF_INET]
        dialer = RecordingDialer()
        async with outbound(allow=EVERYTHING, own=[("0.0.0.0", 8585)], dialer=dialer) as out:
            seen = {await category(out, f"http://{face.address}:8585/") for face in faces}
            assert await category(out, "http://192.0.2.1:8585/") == "connection_failed"

        assert seen == {"no_public_address"}
        assert dialer.dialled == [("192.0.2.1", 8585)]

    async def test_an_agent_on_the_same_machine_is_still_reached(self) -> None:
        async with stranger(says(EMPTY)) as them, outbound(own=[("127.0.0.1", 8585), ("0.0.0.0", 9090)]) as out:
            assert isinstance(await post(out, them.url), Answer)

    @pytest.mark.parametrize(
        ("settings", "doors"),
        [
            ({"api": ("127.0.0.1", 8585)}, {("127.0.0.1", 8585)}),
            ({"api": ("127.0.0.1", 0)}, set()),  # any free port: nobody knows it yet
            ({"database_url": "postgresql://u:p@db.internal:15432/tocsin"}, {("db.internal", 15432)}),
            ({"database_url": "postgresql+psycopg://u:p@[::1]/tocsin"}, {("::1", 5432)}),
            ({"database_url": "postgresql://a:1,b:2/x"}, {("a", 1), ("b", 2)}),
            ({"database_url": "postgresql://a,b/x?port=7"}, {("a", 7), ("b", 7)}),
            ({"database_url": "postgresql://a/x?hostaddr=10.0.0.1"}, {("a", 5432), ("10.0.0.1", 5432)}),
            ({"database_url": "postgresql:///x?host=/run/postgresql"}, set()),
            ({"valkey_url": "redis://:secret@cache/0"}, {("cache", 6379)}),
            ({"valkey_url": "rediss://cache:7000"}, {("cache", 7000)}),
            ({"valkey_url": "unix:///run/valkey.sock"}, set()),
            ({"metrics_port": 9090}, {("0.0.0.0", 9090)}),
        ],
    )
    def test_doors_are_what_the_settings_say(self, settings: dict, doors: set[tuple[str, int]]) -> None:
        given = {"api": ("", 0), "database_url": None, "valkey_url": None, "metrics_port": None, **settings}
        assert own_doors(**given) == doors


class Own:
    """Names with fixed addresses."""

    def __init__(self, known: dict[str, list[str]]) -> None:
        self._known = known

    async def addresses(self, host: str) -> list[str]:
        return self._known.get(host, [])
