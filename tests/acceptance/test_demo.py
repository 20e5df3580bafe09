"""`make demo` shows the main job, and says by its exit code where it stopped."""

import subprocess
import sys

import pytest

from tests.acceptance.relays import environment
from tests.packages import ROOT

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("relay")]


def demo(**changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "examples.demo"],
        cwd=ROOT,
        env=environment(ROOT, COLUMNS="140", **changes),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_demo_shows_everything_and_ends_by_itself() -> None:
    shown = demo()
    assert shown.returncode == 0, shown.stdout + shown.stderr
    for sign in (
        "$0.001 once; ada 1.000 USDC → 0.999 USDC",
        "3 rings for sch_",
        "1 watcher, 3 subscriptions, 1 event, 3 rings",
        "the event was retracted to all three",
        "12, each verified by v1",
    ):
        assert sign in shown.stdout


def test_a_demo_that_fails_names_its_step() -> None:
    shown = demo(TOCSIN_ANVIL="/bin/false")
    assert shown.returncode == 1
    assert "The demo failed in step 1, stage: anvil did not start" in shown.stdout
