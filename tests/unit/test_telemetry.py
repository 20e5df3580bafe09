"""Lines that are written many at once, and values that are counted many at once."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from app.kit import telemetry
from app.kit.telemetry.distribution import Distribution
from tests.logged import Lines, written

__all__ = ["written"]

NOW = datetime(2026, 11, 22, 9, 0, 0, 1500, tzinfo=UTC)
ROWS = ({"delivery": "dlv_1", "status": 200}, {"delivery": "dlv_2", "reason": "no success in 10 attempts"})


def test_many_lines_of_json_are_as_if_they_were_written_one_by_one(written: Lines) -> None:
    telemetry.configure("json", "info")
    telemetry.lines("app.deliveries.watching", "attempt", NOW, ROWS)
    telemetry.logger("app.deliveries.watching").info("attempt", **ROWS[1])

    first, second, single = map(json.loads, written())
    assert first["status"] == 200
    assert second["timestamp"] == "2026-11-22T09:00:00.001500Z"
    assert {**second, "timestamp": ""} == {**single, "timestamp": ""}


def test_many_lines_of_text_are_as_if_they_were_written_one_by_one(written: Lines) -> None:
    telemetry.configure("text", "info")
    telemetry.lines("app.deliveries.watching", "attempt", NOW, ROWS)
    telemetry.logger("app.deliveries.watching").info("attempt", **ROWS[1])

    _, second, single = written()
    assert second.startswith("2026-11-22T09:00:00.001500Z [info     ] attempt ")
    assert second[27:] == single[27:]


@pytest.mark.parametrize(
    ("level", "wished", "logged"),
    [("info", "all", "all"), ("debug", "failures", "failures"), ("info", "none", "none"), ("warning", "all", "none")],
)
def test_attempts_are_logged_as_wished_unless_the_level_is_above_theirs(
    written: Lines, level: str, wished: telemetry.AttemptLog, logged: str
) -> None:
    telemetry.configure("json", level, wished)

    assert telemetry.attempts_logged() == logged


def test_a_distribution_is_what_a_histogram_would_be() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    distribution = Distribution("lag_seconds", "How late.", (0.1, 1, 10), registry=ours)
    histogram = Histogram("lag_seconds", "How late.", buckets=(0.1, 1, 10), registry=theirs)

    values = [0, 0.1, 0.100001, 5, 10, 10.5, 99]
    distribution.observe(values[:3])
    distribution.observe(values[3:])
    for value in values:
        histogram.observe(value)

    created = b"lag_seconds_created"
    assert generate_latest(ours).splitlines() == [
        line for line in generate_latest(theirs).splitlines() if created not in line
    ]


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_times_are_written_as_rfc_3339_in_utc_however_the_line_comes(
    written: Lines, log_format: telemetry.LogFormat
) -> None:
    row = {"next_attempt_at": datetime(2026, 11, 23, 3, 16, 21, 305645, tzinfo=timezone(timedelta(hours=2)))}
    telemetry.configure(log_format, "info")
    telemetry.lines("app.deliveries.watching", "attempt", NOW, [row])
    telemetry.logger("app.deliveries.watching").info("attempt", **row)

    told = '"next_attempt_at":"{}"' if log_format == "json" else "next_attempt_at={}"
    many, single = (line.replace('": "', '":"') for line in written())
    assert told.format("2026-11-23T01:16:21.305645Z") in many
    assert told.format("2026-11-23T01:16:21.305645Z") in single
