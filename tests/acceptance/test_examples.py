"""The programs in examples/ do what they say."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.relays import Account, Relay, run
from tests.packages import ROOT

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("relay")]

TOCSIN = Path(sys.executable).parent / "tocsin"


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    started = Relay([TOCSIN, "up"], tmp_path_factory.mktemp("relay"), Account("us"))
    yield started.wait_until_up()
    started.close()


def test_the_sleeper_is_woken_and_verifies(relay: Relay, tmp_path: Path) -> None:
    program = run([sys.executable, ROOT / "examples" / "sleeper.py", "3"], tmp_path, TOCSIN_URL=relay.url)
    assert program.returncode == 0, program.stderr
    *rings, last = program.stdout.splitlines()
    assert [line.split("  ")[1:] for line in rings] == [
        [f"run {n}", "{'do': 'wake up'}", "by ('v1',)"] for n in (1, 2, 3)
    ]
    assert last.endswith("is deleted after 3 rings")
