"""One process of many that tell stories, with a database of its own."""

import multiprocessing

import uvloop

from app.kit.database import Database
from tests.simulation.stories import story
from tests.simulation.telling import Told, shortened, tell

__all__ = ["take_database", "tell_each"]

_mine = ""


def take_database(urls: "multiprocessing.Queue[str]") -> None:
    """Take one of these, for good."""
    global _mine
    _mine = urls.get()


def tell_each(seeds: list[int]) -> list[Told]:
    """Tell the stories of these seeds, up to the first that goes wrong; that one as short as it can be."""
    return uvloop.run(_tell_each(seeds))


async def _tell_each(seeds: list[int]) -> list[Told]:
    database = Database(_mine, name="simulation")
    told: list[Told] = []
    try:
        for seed in seeds:
            told.append(await tell(database, story(seed)))
            if told[-1].complaint is not None:
                told[-1] = await shortened(database, told[-1])
                break
    finally:
        await database.close()
    return told
