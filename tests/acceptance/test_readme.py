"""README's first screen, typed as it stands there."""

import re
import shlex

import pytest

from tests.acceptance.conftest import StartRelay
from tests.acceptance.relays import Account, wait_until_gone
from tests.packages import ROOT

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("relay")]

US = Account("us")


def test_the_first_screen_gives_a_verified_ring_and_leaves_nothing(start: StartRelay) -> None:
    up, listen = first_screen()
    relay = start(shlex.split(up), US, cwd=ROOT).wait_until_up()
    listener = start(shlex.split(listen), US, cwd=ROOT, TOCSIN_URL=relay.url)

    listener.wait_for_line("schedule.fired  ✓ v1 ✓ v1a")

    family = [*listener.family(), *relay.family()]
    assert f"in another terminal: {listen}" in relay.output
    listener.interrupt()
    relay.interrupt()
    wait_until_gone(family)


def first_screen() -> list[str]:
    """The commands of README's first block, without their comments."""
    block = re.search(r"```console\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block is not None
    return [line.removeprefix("$ ").partition("#")[0].strip() for line in block[1].splitlines()]
