"""`tocsin events`: the latest first, back to a time, on from a number, and as they happen."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from tests.unit.test_cli_schedules import Relay
from tocsin import Client, PrivateKey, cli
from tocsin.cli import show
from tocsin.cli.events import Journal, followed
from tocsin.schemas.events import Event
from tocsin.schemas.wire import Page

NOW = datetime.now(UTC).replace(microsecond=0)
KEY = PrivateKey.from_seed(bytes(32))

Type = Callable[..., tuple[int, list[int], str]]


def event(seq: int, hours_ago: float = 0.0) -> Event:
    return Event(seq=seq, kind="fire.fired", subject=f"fir_{seq}", at=NOW - timedelta(hours=hours_ago), data={})


class Keeper(Relay):
    """A relay with a journal, two events a page."""

    def __init__(self) -> None:
        super().__init__()
        self.journal = [event(seq, hours_ago=30 - seq) for seq in range(1, 8)]

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        self.answers.setdefault(f"{method} /v1/events", Page[Event](items=[]))
        super().answer(method, target, headers, body)
        return 200, self._page(self.asked[-1][2]).model_dump_json().encode()

    def _page(self, query: Mapping[str, Sequence[str]]) -> Page[Event]:
        after = int(query.get("after_seq", ["0"])[0])
        found = [event for event in self.journal if event.seq > after]
        begins = int(query.get("cursor", ["0"])[0])
        ordered = found[::-1] if query.get("order") == ["newest"] else found
        more = str(begins + 2) if len(ordered) > begins + 2 else None
        return Page[Event](items=ordered[begins : begins + 2], next=more)


@pytest.fixture
def relay() -> Iterator[Keeper]:
    opened = Keeper()
    yield opened
    opened.close()


@pytest.fixture
def typing(relay: Keeper, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Type:
    """Types `tocsin events`: how it ends, the numbers of the events it prints, and what else it says."""

    def type_(*typed: str) -> tuple[int, list[int], str]:
        monkeypatch.setattr("sys.argv", ["tocsin", "--url", relay.url, "--key", KEY.text, "events", "--json", *typed])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capfd.readouterr()
        return int(ended.value.code or 0), [json.loads(line)["seq"] for line in told.out.splitlines()], told.err

    return type_


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ([], [7, 6, 5, 4, 3, 2, 1]),
        (["--limit", "3"], [7, 6, 5]),
        (["--since", "26h"], [7, 6, 5]),  # the 4th happened a moment more than 26 hours ago
        (["--since", f"{NOW - timedelta(hours=25):%Y-%m-%dT%H:%M:%SZ}"], [7, 6, 5]),
        (["--since", "9d", "--limit", "2"], [7, 6]),
        (["--since", "1h"], []),
        (["--after", "4"], [5, 6, 7]),  # who has read so far goes on from there, in order
        (["--after", "4", "--limit", "1"], [5]),
    ],
)
def test_the_latest_come_first_unless_it_is_said_after_which(typing: Type, typed: list[str], told: list[int]) -> None:
    assert typing(*typed)[:2] == (0, told)


def test_looking_back_to_a_time_reads_no_further(relay: Keeper, typing: Type) -> None:
    relay.journal = [event(seq, hours_ago=100 - seq) for seq in range(1, 100)]
    typing("--since", "4h")
    assert len(relay.asked) == 2


def test_a_list_that_begins_at_two_places_is_refused(typing: Type) -> None:
    code, _, told = typing("--since", "1h", "--after", "4")
    assert code == 2
    assert "leave --since or --after out" in " ".join(told.split())


@pytest.mark.parametrize(
    ("after", "begins", "limit", "told"),
    [
        (None, None, 3, [5, 6, 7, 8, 9]),
        (None, NOW - timedelta(hours=24, seconds=30), 50, [6, 7, 8, 9]),
        (None, NOW, 50, [8, 9]),  # nothing of the past
        (2, None, 1, [3, 4, 5, 6, 7, 8, 9]),  # all after it: what goes on has no gap
    ],
)
def test_they_are_followed_in_the_order_they_happen(
    relay: Keeper, after: int | None, begins: datetime | None, limit: int, told: list[int]
) -> None:
    def happen(seconds: float) -> None:
        relay.journal.append(event(len(relay.journal) + 1))

    with Client(relay.url, KEY) as client:
        following = followed(Journal(client, None, None), after, begins, limit, happen)
        assert [event.seq for event in islice(following, len(told))] == told
    assert len(relay.asked) < 15


def test_a_journal_that_is_empty_is_followed_from_its_first_event(relay: Keeper) -> None:
    relay.journal = []
    with Client(relay.url, KEY) as client:
        following = followed(Journal(client, "a", "b"), None, None, 9, lambda _: relay.journal.append(event(1)))
        assert next(following).seq == 1


def test_who_waits_notices_that_nobody_reads_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as out:
        monkeypatch.setattr("sys.stdout", out)
        show.pause(0.001)
        os.close(reading)
        with pytest.raises(BrokenPipeError):
            show.pause(60)
