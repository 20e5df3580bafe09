"""The law of the journal over random stories: as many as a few seconds hold. `make simulate` tells thousands.

A story that fails is printed with its seed, and the shortest like it; TOCSIN_SIMULATION_SEED tells it again.
"""

import os
import time

import pytest

from app.kit.database import Database
from tests.simulation.stories import story
from tests.simulation.telling import shortened, tell

seconds_each = 3.0
stories_each = 8  # on a fast machine: every run tells the same stories, or fewer of them
asked = os.environ.get("TOCSIN_SIMULATION_SEED")


@pytest.mark.parametrize("part", range(8) if asked is None else [asked])
async def test_every_journal_keeps_the_law(database: Database, part: int | str) -> None:
    ends_at = time.monotonic() + seconds_each
    first = int(part) * 1_000_000
    seeds = range(first, first + stories_each) if asked is None else [int(asked)]
    for seed in seeds:
        told = await tell(database, story(seed))
        if told.complaint is not None:
            raise AssertionError(f"seed {seed}\n{await shortened(database, told)}")
        if time.monotonic() > ends_at:
            break
