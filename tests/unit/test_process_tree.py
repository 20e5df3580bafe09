"""Rules of the process tree."""

import signal

import pytest

from app.local.tree import how_it_ended, pause_seconds, reachable
from app.local.watchdog import keep_watch


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        ([], {}),
        ([b"watch 7 15\n", b"watch 8 2\n"], {7: 15, 8: 2}),
        # what has stopped is not stopped again: its number may be another's by now
        ([b"watch 7 15\n", b"forget 7\n"], {}),
        ([b"forget 7\n"], {}),
        # the parent died in the middle of a line
        ([b"watch 7 15\n", b"watch 8"], {7: 15}),
        ([b"watch 7 15\n", b""], {7: 15}),
    ],
)
def test_a_watchdog_knows_what_is_left_to_stop(lines: list[bytes], left: dict[int, int]) -> None:
    assert keep_watch(lines) == left


def test_a_watchdog_keeps_the_order_of_starting() -> None:
    watched = keep_watch([b"watch 9 2\n", b"watch 3 15\n", b"watch 5 15\n", b"forget 3\n", b"watch 3 15\n"])
    assert list(watched) == [9, 5, 3]


def test_pauses_grow_to_a_bound() -> None:
    assert [pause_seconds(ends) for ends in range(1, 7)] == [0.5, 1, 2, 4, 8, 8]


@pytest.mark.parametrize(
    ("code", "told"), [(0, "exit code 0"), (3, "exit code 3"), (-signal.SIGKILL, "signal SIGKILL")]
)
def test_an_end_is_told_by_code_or_signal(code: int, told: str) -> None:
    assert how_it_ended(code) == told


@pytest.mark.parametrize(
    ("host", "where"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("relay.test", "relay.test")],
)
def test_what_listens_everywhere_is_reached_on_loopback(host: str, where: str) -> None:
    assert reachable(host) == where
