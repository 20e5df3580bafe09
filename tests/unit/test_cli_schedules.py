"""What the command line makes of the options of a schedule, and how it tells of schedules."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

import pytest
import typer
from rich.console import Console

from tocsin import Client, PrivateKey, cli
from tocsin.cli import show
from tocsin.cli.schedules import backfills, words
from tocsin.cli.schedules.options import Terms, When
from tocsin.cli.schedules.terms import changes_of, members_of, spec_of
from tocsin.cli.schedules.words import SHIFTS
from tocsin.problems import NotFound, Problem, UnknownKey
from tocsin.recurrence import zone_database_version
from tocsin.schemas.schedules import (
    Backfill,
    Fire,
    NewSchedule,
    PatchSchedule,
    PreviewedFire,
    Schedule,
    SchedulePreview,
)
from tocsin.schemas.wire import Page

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
BERLIN = "Europe/Berlin"
DAILY = {"cron": "0 9 * * *"}

SPECS: list[tuple[When, Any]] = [
    (When(cron=["0 9 * * *"]), DAILY),
    (
        When(cron=["0 9 * * *"], timezone=BERLIN, dst="skip_gap"),
        {"cron": "0 9 * * *", "timezone": BERLIN, "dst": "skip_gap"},
    ),
    (When(every=["90s"]), {"every": "PT90S"}),
    (When(every=["15m"]), {"every": "PT15M"}),
    (When(every=["2h"]), {"every": "PT2H"}),
    (When(every=["1d"], anchor="2026-11-22T00:00:00Z"), {"every": "P1D", "anchor": "2026-11-22T00:00:00Z"}),
    (When(every=["PT1H30M"]), {"every": "PT1H30M"}),
    (When(every=["nonsense"]), {"every": "nonsense"}),  # the relay says what is wrong with it
    (When(at=["2027-01-01T09:00:00Z"]), {"at": "2027-01-01T09:00:00Z"}),
    (When(in_=["15m"]), {"at": "2026-11-22T09:15:00.000+00:00"}),
    (When(in_=["PT1H30M"]), {"at": "2026-11-22T10:30:00.000+00:00"}),
    # several of them are a union
    (When(cron=["0 9 * * *"], every=["1d"]), {"union": [DAILY, {"every": "P1D"}]}),
    (
        When(cron=["0 9 * * 1-5", "0 11 * * 6"], timezone=BERLIN),
        {"union": [{"cron": "0 9 * * 1-5", "timezone": BERLIN}, {"cron": "0 11 * * 6", "timezone": BERLIN}]},
    ),
    # what is excluded is cron text in the same zone, or a spec of its own
    (
        When(cron=["0 9 * * *"], timezone=BERLIN, exclude=["* * 24-26 12 *"]),
        {"cron": "0 9 * * *", "timezone": BERLIN, "exclude": [{"cron": "* * 24-26 12 *", "timezone": BERLIN}]},
    ),
    (When(every=["1h"], exclude=["@midnight"]), {"every": "PT1H", "exclude": [{"cron": "@midnight"}]}),
    (
        When(every=["1h"], exclude=['{"at": "2027-01-01T00:00:00Z"}', '[{"every": "P1D"}]']),
        {"every": "PT1H", "exclude": [{"at": "2027-01-01T00:00:00Z"}, {"every": "P1D"}]},
    ),
    (
        When(cron=["0 9 * * *"], every=["1d"], exclude=["* * 1 1 *"]),
        {"union": [DAILY, {"every": "P1D"}], "exclude": [{"cron": "* * 1 1 *"}]},
    ),
    (When(spec='[{"cron": "0 9 * * *"}]'), [DAILY]),
]

REFUSED: list[When] = [
    When(),
    When(in_=["soon"]),
    When(every=["1d"], timezone=BERLIN),  # a day of 24 hours has no zone; dropped, it would mislead
    When(at=["2027-01-01T09:00:00Z"], dst="skip_gap"),
    When(cron=["@daily"], anchor="2026-11-22T00:00:00Z"),
    When(exclude=["* * 1 1 *"]),  # nothing to exclude it from
    When(spec="{}", cron=["@daily"]),
    When(spec="{}", timezone=BERLIN),
    When(spec="nonsense"),
    When(spec="5"),
    When(spec="[5]"),
    When(spec="@/no/such/file"),
    When(in_=["PT0S"]),
    When(cron=["@daily"], exclude=["{nonsense}"]),
]


@pytest.mark.parametrize(("when", "expected"), SPECS)
def test_options_mean_a_spec(when: When, expected: Any) -> None:
    assert spec_of(when, NOW) == expected


@pytest.mark.parametrize("when", REFUSED)
def test_options_that_mean_nothing_are_refused(when: When) -> None:
    with pytest.raises(typer.BadParameter):
        spec_of(when, NOW)


def test_a_spec_can_be_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "spec").write_text(json.dumps({"union": [DAILY]}))
    assert spec_of(When(spec=f"@{tmp_path / 'spec'}"), NOW) == {"union": [DAILY]}


def test_every_option_has_its_member_on_the_wire(tmp_path: Path) -> None:
    (tmp_path / "payload").write_text('{"task": "report"}')
    terms = Terms(
        endpoint="ep_1",
        payload=f"@{tmp_path / 'payload'}",
        name="report",
        starts_at="2027-01-01T00:00:00Z",
        ends_at="2027-12-31T00:00:00+01:00",
        max_fires=10,
        jitter="30s",
        overlap="buffer_all",
        buffer_max=5,
        completion="report",
        completion_timeout="2h",
        misfire="all",
        catch_up_max=7,
        catch_up_window="1d",
        pause_after=3,
        notify_endpoint="ep_2",
    )
    new = NewSchedule(spec=DAILY, **members_of(terms))
    assert new.model_dump(exclude_defaults=True, mode="json") == {
        "spec": DAILY,
        "endpoint_id": "ep_1",
        "payload": {"task": "report"},
        "name": "report",
        "starts_at": "2027-01-01T00:00:00.000Z",
        "ends_at": "2027-12-30T23:00:00.000Z",
        "max_fires": 10,
        "jitter": "PT30S",
        "overlap": "buffer_all",
        "buffer_max": 5,
        "completion": "report",
        "completion_timeout": "PT2H",
        "misfire": "all",
        "catch_up_max": 7,
        "catch_up_window": "P1D",
        "pause_after_give_ups": 3,
        "notify_endpoint_id": "ep_2",
    }
    assert set(NewSchedule.model_fields) == set(new.model_fields_set)  # nothing that a schedule can be is left out


@pytest.mark.parametrize("terms", [Terms(starts_at="tomorrow"), Terms(ends_at="2027-01-01"), Terms(payload="{")])
def test_terms_that_cannot_be_read_are_refused(terms: Terms) -> None:
    with pytest.raises(typer.BadParameter):
        members_of(terms)


CHANGES: list[tuple[When, Terms, list[str], dict[str, Any]]] = [
    (When(), Terms(name="report"), [], {"name": "report"}),
    (When(every=["5s"]), Terms(), [], {"spec": {"every": "PT5S"}}),
    (When(), Terms(payload="null"), [], {"payload": None}),
    (When(), Terms(), ["ends-at", "pause-after"], {"ends_at": None, "pause_after_give_ups": None}),
    (When(), Terms(overlap="skip"), ["buffer-max"], {"overlap": "skip", "buffer_max": None}),
    (When(), Terms(), ["--jitter"], {"jitter": None}),
]


@pytest.mark.parametrize(("when", "terms", "removed", "expected"), CHANGES)
def test_a_change_says_only_what_was_said(
    when: When, terms: Terms, removed: list[str], expected: dict[str, Any]
) -> None:
    made = changes_of(when, terms, removed, NOW)
    assert made == expected
    assert PatchSchedule(**made).model_dump(exclude_unset=True, mode="json") == expected


@pytest.mark.parametrize(
    ("when", "terms", "removed"),
    [
        (When(), Terms(), []),
        (When(), Terms(), ["spec"]),  # a schedule without a spec is none
        (When(), Terms(name="report"), ["name"]),
        (When(timezone=BERLIN), Terms(), []),
    ],
)
def test_a_change_that_means_nothing_is_refused(when: When, terms: Terms, removed: list[str]) -> None:
    with pytest.raises(typer.BadParameter):
        changes_of(when, terms, removed, NOW)


# How it is told


def schedule(**members: Any) -> Schedule:
    plain: dict[str, Any] = {
        "id": "sch_1",
        "spec": {"cron": "0 9 * * 1-5", "timezone": BERLIN},
        "endpoint_id": "ep_1",
        "overlap": "allow",
        "misfire": "latest",
        "completion": "delivery",
        "state": "active",
        "version": 1,
        "runs": 0,
        "skipped": {},
        "give_ups": 0,
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Schedule(**plain | members)


def fire(**members: Any) -> Fire:
    plain: dict[str, Any] = {
        "id": "fir_1",
        "schedule_id": "sch_1",
        "kind": "auto",
        "scheduled_at": NOW,
        "fire_at": NOW,
        "state": "fired",
        "attempts": 1,
    }
    return Fire(**plain | members)


def backfill(open: int, state: str = "running", **members: Any) -> Backfill:
    plain: dict[str, Any] = {
        "id": "bkf_1",
        "schedule_id": "sch_1",
        "start": NOW - timedelta(hours=1),
        "end": NOW,
        "overlap": "allow",
        "state": state,
        "slots": 3,
        "open": open,
        "fired": 3 - open,
        "skipped": 0,
        "dead": 0,
        "created_at": NOW,
    }
    return Backfill(**plain | members)


def moved() -> PreviewedFire:
    return PreviewedFire(scheduled_at=NOW, local="2027-03-28T03:00:00.000+02:00", shift="moved")


def preview_of(*fires: PreviewedFire) -> SchedulePreview:
    return SchedulePreview(explanation="", fires=list(fires), warnings=[], timezone_database="2026a")


def test_what_a_spec_means_is_told_in_english() -> None:
    assert words.meaning(schedule().spec) == "At 09:00 on Monday through Friday, Europe/Berlin time"
    assert words.meaning({"tide": "high"}) == '{"tide": "high"}'  # from a relay that is newer


def test_only_what_is_not_as_usual_is_told() -> None:
    assert words.described(schedule()) == {"state": "active", "endpoint": "ep_1", "version": 1}
    told = words.described(
        schedule(jitter="PT30S", overlap="skip", ends_at=NOW, endpoint_id=None, skipped={"overlap": 3, "missed": 1})
    )
    assert told == {
        "state": "active",
        "endpoint": "deleted",
        "ends_at": "2026-11-22T09:00:00.000Z",
        "jitter": "PT30S",
        "overlap": "skip",
        "version": 1,
        "skipped": "1 missed, 3 overlap",
    }


def test_a_pause_says_since_when_and_why() -> None:
    paused = schedule(state="paused", paused_at=NOW, pause_reason="holidays")
    assert words.state(paused) == f"paused since {show.with_offset(NOW)}: holidays"


@pytest.mark.parametrize(
    ("one", "fate", "cause", "late"),
    [
        (fire(lateness_ms=9, delivery_state="delivered"), "fired, delivered", "", "9 ms"),
        (fire(lateness_ms=3_700_000, kind="manual"), "fired (manual)", "", "1 h 1 min"),
        (fire(state="skipped", reason="overlap"), "skipped", "overlap", ""),
        (fire(state="dead", reason="gave_up", kind="backfill"), "dead (backfill)", "gave_up", ""),
        (fire(state="skipped", reason="paused", until=NOW), "skipped", f"paused, and all up to {show.local(NOW)}", ""),
    ],
)
def test_what_became_of_a_slot_is_told(one: Fire, fate: str, cause: str, late: str) -> None:
    assert (words.fate(one), words.cause(one), words.lateness(one)) == (fate, cause, late)


def test_a_slot_is_told_by_its_own_clock_with_what_is_special_about_it() -> None:
    assert words.slot(moved()) == "Sun 2027-03-28 03:00:00 +02:00"
    assert words.remark(moved()) == words.SHIFTS["moved"]
    put_off = PreviewedFire(
        scheduled_at=NOW, fire_at=NOW + timedelta(milliseconds=12_345), local="2026-11-22T09:00:00.250+00:00"
    )
    assert words.slot(put_off) == "Sun 2026-11-22 09:00:00.250 +00:00"
    assert words.remark(put_off) == "fires 12.345 s later"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3_600, "1 h"), (46_800, "13 h"), (93_600, "1 d 2 h")],
)
def test_a_length_of_time_is_told_by_its_largest_units(seconds: int, told: str) -> None:
    assert words.length(timedelta(seconds=seconds)) == told
    assert words.away(NOW + timedelta(seconds=seconds), NOW) in {f"in {told}", f"{told} ago"}


# The commands, against prepared answers


class Relay:
    """What stands in for a relay: it gives prepared answers by method and path, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, Mapping[str, str], Any]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        path, _, query = target.partition("?")
        self.asked.append((f"{method} {path}", dict(headers), json.loads(body) if body else parse_qs(query)))
        answer = self.answers[f"{method} {path}"]
        if isinstance(answer, Problem):
            return answer.status, json.dumps(answer.document()).encode()
        return 200, answer.model_dump_json().encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answer = self.answer

        class Handler(BaseHTTPRequestHandler):
            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline()
                if self.parse_request():
                    body = self.rfile.read(int(self.headers.get("content-length", 0)))
                    status, document = answer(self.command, self.path, dict(self.headers.items()), body)
                    self.send_response(status)
                    self.end_headers()
                    self.wfile.write(document)
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                return None

        return Handler


@pytest.fixture
def relay() -> Iterator[Relay]:
    opened = Relay()
    yield opened
    opened.close()


Type = Callable[..., str]
Ended = tuple[Any, Any]  # its exit code, and what it has printed


@pytest.fixture
def typing(relay: Relay, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Type:
    """Types a command, and gives what it prints."""

    def type_(*typed: str) -> str:
        code, told = typed_at(relay, monkeypatch, capfd, *typed)
        assert code in (0, None), told.err
        return told.out

    return type_


def typed_at(relay: Relay, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *typed: str) -> Ended:
    """Types a command, which may be refused; gives how it ends, and what it prints."""
    key = PrivateKey.from_seed(bytes(32)).text
    monkeypatch.setattr("sys.argv", ["tocsin", "--url", relay.url, "--key", key, "schedule", *typed])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code, capfd.readouterr()


def lines(printed: str) -> list[str]:
    return [" ".join(line.split()) for line in printed.splitlines() if line.strip()]


def test_a_schedule_is_added_as_the_issue_says(relay: Relay, typing: Type, tmp_path: Path) -> None:
    (tmp_path / "payload").write_text('{"task": "report"}')
    relay.answers["POST /v1/schedules"] = schedule(next_fire=NOW, payload={"task": "report"})
    typed = ["add", "--cron", "0 9 * * 1-5", "--tz", BERLIN, "--endpoint", "ep_1", "--payload"]
    told = lines(typing(*typed, f"@{tmp_path / 'payload'}"))
    _, _, sent = relay.asked[0]
    assert sent["spec"] == {"cron": "0 9 * * 1-5", "timezone": BERLIN}
    assert (sent["endpoint_id"], sent["payload"]) == ("ep_1", {"task": "report"})
    assert told[:2] == ["sch_1", "At 09:00 on Monday through Friday, Europe/Berlin time"]
    assert told[-1].startswith(f"next {show.with_offset(NOW)}, ")


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["--jitter", "soon"], "jitter: 'soon' is not a duration"),
        (["--buffer-max", "5"], "buffer_max: goes with overlap 'buffer_all' only, which is 'allow' here"),
        (["--create-only"], "go with --id"),
    ],
)
def test_what_cannot_be_is_refused_before_it_is_sent(
    relay: Relay, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], typed: list[str], told: str
) -> None:
    words = ["add", "--every", "5s", "--endpoint", "ep_1"]
    _, printed = typed_at(relay, monkeypatch, capfd, *words, *typed)
    assert told in printed.err
    assert relay.asked == []


@pytest.mark.parametrize(
    ("typed", "field", "expected"),
    [([], "If-Match", None), (["--if-version", "3"], "If-Match", '"3"'), (["--create-only"], "If-None-Match", "*")],
)
def test_a_chosen_id_is_put(relay: Relay, typing: Type, typed: list[str], field: str, expected: str | None) -> None:
    relay.answers["PUT /v1/schedules/daily"] = schedule(chosen_id="daily")
    assert "sch_1  daily" in typing("add", "--id", "daily", "--every", "1d", "--endpoint", "ep_1", *typed)
    _, headers, _ = relay.asked[0]
    assert {name.title(): value for name, value in headers.items()}.get(field) == expected


def test_a_change_sends_what_was_said(relay: Relay, typing: Type) -> None:
    relay.answers["PATCH /v1/schedules/daily"] = schedule(version=2, overlap="skip")
    told = typing("change", "daily", "--overlap", "skip", "--remove", "jitter", "--if-version", "1")
    _, headers, sent = relay.asked[0]
    assert sent == {"overlap": "skip", "jitter": None}
    assert {name.title(): value for name, value in headers.items()}["If-Match"] == '"1"'
    assert "overlap" in told


def test_schedules_are_listed_by_what_they_mean(relay: Relay, typing: Type) -> None:
    found = schedule(chosen_id="daily", next_fire=NOW, name="report")
    relay.answers["GET /v1/schedules"] = Page[Schedule](items=[found])
    header, row = lines(typing("ls", "--state", "active"))
    assert header == "id state next last when name"
    meaning = "At 09:00 on Monday through Friday, Europe/Berlin time"
    assert row == f"daily active {show.local(NOW)} - {meaning} report"
    assert relay.asked[0][2]["state"] == ["active"]


def test_showing_a_schedule_tells_what_is_to_come_and_what_became(relay: Relay, typing: Type) -> None:
    came = fire(lateness_ms=9, delivery_state="delivered")
    skipped = fire(state="skipped", reason="overlap", attempts=0)
    relay.answers["GET /v1/schedules/sch_1"] = schedule(overlap="skip", skipped={"overlap": 1})
    relay.answers["GET /v1/schedules/sch_1/upcoming"] = preview_of(moved())
    relay.answers["GET /v1/schedules/sch_1/fires"] = Page[Fire](items=[came, skipped])
    told = lines(typing("show", "sch_1"))
    assert told[2:] == [
        "state active",
        "endpoint ep_1",
        "overlap skip",
        "version 1",
        "skipped 1 overlap",
        "Next",
        told[8],
        "Last",
        "slot became late attempts because",
        f"{show.local(NOW)} fired, delivered 9 ms 1",
        f"{show.local(NOW)} skipped overlap",
    ]
    assert told[8].startswith("Sun 2027-03-28 03:00:00 +02:00")
    assert told[8].endswith(words.SHIFTS["moved"])


def test_what_is_to_come_of_a_paused_schedule_comes_only_if_it_is_resumed(relay: Relay, typing: Type) -> None:
    relay.answers["GET /v1/schedules/sch_1"] = schedule(state="paused", pause_reason="holidays")
    relay.answers["GET /v1/schedules/sch_1/upcoming"] = preview_of(moved())
    relay.answers["GET /v1/schedules/sch_1/fires"] = Page[Fire](items=[])
    told = lines(typing("show", "sch_1"))
    assert "state paused: holidays" in told
    assert told[-4] == "Next, if it were resumed now"
    assert told[-2:] == ["Last", "It has had no slot yet."]


def test_a_completed_schedule_has_nothing_to_come(relay: Relay, typing: Type) -> None:
    relay.answers["GET /v1/schedules/sch_1"] = schedule(state="completed", runs=1)
    relay.answers["GET /v1/schedules/sch_1/fires"] = Page[Fire](items=[fire()])
    assert "Next" not in typing("show", "sch_1")


def test_fires_are_filtered_by_the_relay(relay: Relay, typing: Type) -> None:
    relay.answers["GET /v1/schedules/sch_1/fires"] = Page[Fire](items=[fire()])
    typed = ["--state", "skipped", "--kind", "auto", "--backfill", "bkf_1", "--since", "2026-11-22T08:00:00.0005Z"]
    assert "fir_1" in typing("fires", "sch_1", *typed, "--until", "2026-11-22T09:00:00Z")
    query = relay.asked[0][2]
    assert query["since"] == ["2026-11-22T08:00:00.000500+00:00"]
    assert query["until"] == ["2026-11-22T09:00:00+00:00"]
    assert [query[name][0] for name in ("state", "kind", "backfill")] == ["skipped", "auto", "bkf_1"]


def test_a_journal_in_which_nothing_is_found_is_not_called_empty(relay: Relay, typing: Type) -> None:
    relay.answers["GET /v1/schedules/sch_1/fires"] = Page[Fire](items=[])
    assert "no slot yet" in typing("fires", "sch_1")
    for filter_ in (["--backfill", "bkf_1"], ["--until", "P1D"], ["--kind", "manual"]):
        assert lines(typing("fires", "sch_1", *filter_)) == ["No such slot."]


def test_a_terminal_too_narrow_for_a_row_shows_its_rest_beneath(monkeypatch: pytest.MonkeyPatch) -> None:
    columns, row = ("id", "state", "when", "name"), ("sch_1", "active", "Every 5 seconds, in step", "-")
    screen = StringIO()
    for width, shown in (
        (50, ["id     state   when                      name", "sch_1  active  Every 5 seconds, in step  -"]),
        (20, ["id     state", "sch_1  active", "  when Every 5", "  seconds, in step"]),
    ):
        screen.truncate(screen.seek(0))
        monkeypatch.setattr(show, "out", Console(file=screen, width=width, highlight=False, soft_wrap=True))
        show.rows(columns, [row])
        assert [line.rstrip() for line in screen.getvalue().splitlines()] == shown


def test_what_others_wrote_gives_a_terminal_no_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = StringIO()
    monkeypatch.setattr(show, "out", Console(file=screen, width=80, highlight=False, soft_wrap=True))
    show.members({"data": "\x1b]0;title\x07[bold]x\x9b2J", "lines": "one\n\ttwo"})
    assert screen.getvalue().splitlines() == ["data   \\x1b]0;title\\x07[bold]x\\x9b2J", "lines  one", "        two"]


STEPS: list[tuple[list[str], str, Any, str]] = [
    (["pause", "sch_1", "--reason", "holidays"], "POST /v1/schedules/sch_1/pause", {"reason": "holidays"}, "active"),
    (["resume", "sch_1"], "POST /v1/schedules/sch_1/resume", {}, f"next {show.with_offset(NOW)}"),
    (["trigger", "sch_1"], "POST /v1/schedules/sch_1/trigger", {}, "fir_1 is planned (manual)"),
    (["skip-next", "sch_1"], "POST /v1/schedules/sch_1/skip-next", {}, f"{show.with_offset(NOW)} is skipped"),
    (["complete", "sch_1", "fir_1"], "POST /v1/schedules/sch_1/fires/fir_1/complete", {}, "fir_1 is complete"),
]


@pytest.mark.parametrize(("typed", "asked", "sent", "told"), STEPS, ids=[step[0][0] for step in STEPS])
def test_stepping_in(relay: Relay, typing: Type, typed: list[str], asked: str, sent: Any, told: str) -> None:
    is_about_a_fire = typed[0] in {"trigger", "skip-next", "complete"}
    relay.answers[asked] = fire(kind="manual", state="planned") if is_about_a_fire else schedule(next_fire=NOW)
    assert told in typing(*typed)
    assert [(one, body) for one, _, body in relay.asked] == [(asked, sent)]
    [printed] = typing(*typed, "--json").splitlines()
    assert json.loads(printed)["id"] in {"sch_1", "fir_1"}


@pytest.mark.parametrize("verb", ["pause", "resume", "trigger", "skip-next", "rm"])
def test_stepping_in_can_be_meant_for_one_version_only(relay: Relay, typing: Type, verb: str) -> None:
    asked = "DELETE /v1/schedules/daily" if verb == "rm" else f"POST /v1/schedules/daily/{verb}"
    relay.answers[asked] = fire() if verb in {"trigger", "skip-next"} else schedule()
    typing(verb, "daily", "--if-version", "3")
    _, headers, _ = relay.asked[0]
    assert {name.title(): value for name, value in headers.items()}["If-Match"] == '"3"'


def test_several_schedules_are_removed_at_once(relay: Relay, typing: Type) -> None:
    relay.answers |= dict.fromkeys(("DELETE /v1/schedules/a", "DELETE /v1/schedules/b"), schedule())
    assert lines(typing("rm", "a", "b")) == ["✓ a is deleted", "✓ b is deleted"]


def test_if_one_removal_is_refused_the_others_are_made_all_the_same(
    relay: Relay, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    relay.answers |= {
        "DELETE /v1/schedules/a": schedule(),
        "DELETE /v1/schedules/b": NotFound("there is no such schedule"),
        "DELETE /v1/schedules/c": schedule(),
    }
    code, printed = typed_at(relay, monkeypatch, capfd, "rm", "a", "b", "c")
    assert code == 1
    assert lines(printed.out) == ["✓ a is deleted", "✓ c is deleted"]
    assert lines(printed.err)[:2] == ["✗ b: Not found (404)", "there is no such schedule"]


def test_what_would_meet_all_others_is_told_once(
    relay: Relay, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    relay.answers["DELETE /v1/schedules/a"] = UnknownKey("no agent has this key")
    code, printed = typed_at(relay, monkeypatch, capfd, "rm", "a", "b")
    assert (code, [asked for asked, _, _ in relay.asked]) == (1, ["DELETE /v1/schedules/a"])
    assert "tocsin register" in printed.err


def test_several_schedules_have_no_version_in_common(
    relay: Relay, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    _, printed = typed_at(relay, monkeypatch, capfd, "rm", "a", "b", "--if-version", "3")
    assert "--if-version" in printed.err
    assert relay.asked == []


def test_a_preview_needs_no_relay_and_no_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("TOCSIN_URL", "http://127.0.0.1:1")
    typed = ["preview", "--cron", "30 2 * * *", "--tz", BERLIN, "--after", "2027-03-26T12:00:00Z", "-n", "2"]
    monkeypatch.setattr("sys.argv", ["tocsin", "schedule", *typed])
    with pytest.raises(SystemExit):
        cli.main()
    told = lines(capfd.readouterr().out)
    assert told[0] == "At 02:30 every day, Europe/Berlin time"
    assert told[1].startswith("Sat 2027-03-27 02:30:00 +01:00")
    assert told[2].startswith("Sun 2027-03-28 03:00:00 +02:00")
    assert told[2].endswith(SHIFTS["moved"])
    assert told[-1] == f"time zone database {zone_database_version}"


# Backfills


def test_a_backfill_is_asked_for_and_left_alone(relay: Relay, typing: Type) -> None:
    relay.answers["POST /v1/schedules/sch_1/backfill"] = backfill(open=3)
    typed = ["backfill", "sch_1", "--from", "2026-11-22T08:00:00Z", "--to", "2026-11-22T09:00:00Z", "--no-wait"]
    assert lines(typing(*typed, "--overlap", "buffer_all")) == ["bkf_1 running 0 of 3 slots"]
    sent = {"start": "2026-11-22T08:00:00.000Z", "end": "2026-11-22T09:00:00.000Z", "overlap": "buffer_all"}
    assert relay.asked[0][2] == sent


def test_a_finished_backfill_is_not_waited_for(relay: Relay, typing: Type) -> None:
    relay.answers["GET /v1/schedules/sch_1/backfills/bkf_1"] = backfill(open=0, state="finished")
    assert lines(typing("backfills", "watch", "sch_1", "bkf_1")) == ["bkf_1 finished 3 of 3 slots: 3 fired"]


def test_backfills_are_listed_and_cancelled(relay: Relay, typing: Type) -> None:
    relay.answers["GET /v1/schedules/sch_1/backfills"] = Page[Backfill](items=[backfill(open=1)])
    cancelled = backfill(open=0, state="cancelled", fired=1, skipped=2)
    relay.answers["DELETE /v1/schedules/sch_1/backfills/bkf_1"] = cancelled
    assert "bkf_1" in typing("backfills", "ls", "sch_1")
    [told] = lines(typing("backfills", "cancel", "sch_1", "bkf_1"))
    assert told == "bkf_1 cancelled 3 of 3 slots: 1 fired, 2 skipped"


def test_a_backfill_is_told_of_whenever_it_gets_further(relay: Relay) -> None:
    path, pauses = "GET /v1/schedules/sch_1/backfills/bkf_1", list[float]()
    stages = iter([backfill(open=3), backfill(open=1), backfill(open=0, state="finished")])

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        relay.answers[path] = next(stages)

    with Client(relay.url, PrivateKey.from_seed(bytes(32))) as client:
        seen = list(backfills.steps(client, "sch_1", backfill(open=3), pause))
    assert [one.open for one in seen] == [3, 1, 0]
    assert pauses == [backfills.poll_seconds] * 3


def test_a_terminal_sees_a_bar_grow() -> None:
    screen = StringIO()
    console = Console(file=screen, force_terminal=True, width=100, color_system=None)
    stages = [backfill(open=3), backfill(open=1), backfill(open=0, state="finished")]
    backfills.watch(stages, "sch_1", "bkf_1", console, as_json=False)
    assert "3 of 3 slots: 3 fired" in screen.getvalue()
    assert "━" in screen.getvalue()


def test_whoever_stops_watching_is_told_how_to_go_on(capfd: pytest.CaptureFixture[str]) -> None:
    def going() -> Iterator[Backfill]:
        yield backfill(open=2)
        raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as ended:
        backfills.watch(going(), "sch_1", "bkf_1", show.out, as_json=False)
    assert ended.value.exit_code == 130
    told = capfd.readouterr()
    assert lines(told.out) == ["bkf_1 running 1 of 3 slots: 1 fired"]
    assert "tocsin schedule backfills watch sch_1 bkf_1" in told.err
    assert "tocsin schedule backfills cancel sch_1 bkf_1" in told.err
