"""The law is no use if it holds whatever happens: each of these changes to a journal that keeps it is noticed."""

import pytest
from sqlalchemy import text

from app.kit.database import Database
from tests.simulation.actions import Action, Pass, Put, Story, Trigger, Work
from tests.simulation.world import Broken, World

_ONE = "(select id from fires where kind = 'auto' and state = 'fired' order by scheduled_at limit 1)"
_STORY: tuple[Action, ...] = (
    Put(1, {"spec": {"every": "PT2S"}, "overlap": "skip", "max_fires": 100}),
    Work(0),
    *(action for _ in range(8) for action in (Pass(1), Work(0))),
    Trigger(1),
    Work(0),
)


@pytest.mark.parametrize(
    ("change", "law"),
    [
        (f"delete from fires where id = {_ONE}", "every_slot_is_there_once"),
        ("update fires set until = scheduled_at + interval '3 s' where kind = 'auto'", "every_slot_is_there_once"),
        (f"update fires set scheduled_at = scheduled_at + interval '1 s' where id = {_ONE}", "every_row_is_a_slot"),
        ("delete from fires where kind <> 'auto'", "asked_for_is_there"),
        ("update fires set fired_at = fire_at - interval '1 ms' where fired_at is not null", "nothing_is_early"),
        (f"update fires set id = 'fir_another' where id = {_ONE}", "ids_follow_from_slots"),
        ("insert into messages select id || 'x', agent_id, type, body, created_at from messages", "a_fire_rings_once"),
        (f"update fires set state = 'planned' where id = {_ONE}", "states_make_sense"),
        ("update fires set run = 1 where run is not null", "runs_rise"),
        ("update schedules set fired = fired + 1", "no_more_than_allowed"),
        ("update fires set outstanding = true where fired_at is not null", "runs_wait_for_one_another"),
        ("insert into schedule_skips select id, 'missed', 1 from schedules", "skips_are_counted"),
    ],
)
async def test_what_is_against_the_law_is_noticed(database: Database, change: str, law: str) -> None:
    world = World(database, Story(1, 1, _STORY))
    await world.furnish()
    for action in _STORY:
        await world.do(action)
    await world.check()

    async with database.transaction() as db:
        await db.execute(text(change))

    with pytest.raises(Broken, match=law):
        await world.check()
