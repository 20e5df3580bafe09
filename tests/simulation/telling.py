"""Telling a story to its end, and finding a shorter one that ends as badly."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from app.kit.database import Database
from tests.simulation.actions import Action, Story, Together
from tests.simulation.world import Broken, World

actions_between_checks = 12
shrinking_seconds_max = 25.0


@dataclass(frozen=True)
class Told:
    """How a story went."""

    story: Story
    schedules: int
    complaint: str | None = None
    law: str | None = None
    schedule: int | None = None

    def __str__(self) -> str:
        return f"{self.complaint}\n{self.story}"


async def tell(database: Database, story: Story) -> Told:
    """Tell it once. What goes wrong is a complaint, whether the law says so or a step fails."""
    world = World(database, story)
    try:
        await world.furnish()
        for number, action in enumerate(story.actions, start=1):
            await world.do(action)
            if number % actions_between_checks == 0:
                await world.check()
        await world.finish()
    except Broken as broken:
        return Told(story, len(world.lives), str(broken), broken.law, broken.schedule)
    except Exception as error:
        return Told(story, len(world.lives), f"{type(error).__name__}: {error}", type(error).__name__)
    return Told(story, len(world.lives))


async def shortened(database: Database, told: Told) -> Told:
    """A shorter story that breaks the same law; as short as half a minute makes it."""
    best, ends_at = told, time.monotonic() + shrinking_seconds_max

    async def fails(actions: Sequence[Action]) -> bool:
        nonlocal best
        if time.monotonic() > ends_at:
            return False
        again = await tell(database, replace(told.story, actions=tuple(actions)))
        if again.law != told.law:
            return False
        best = again
        return True

    actions: Sequence[Action] = told.story.actions
    if told.schedule is not None and await fails(alone := [a for a in actions if _concerns(a, told.schedule)]):
        actions = alone
    size = max(1, len(actions) // 2)
    while time.monotonic() < ends_at:
        shorter = await _without_some(actions, size, fails)
        if len(shorter) == len(actions) and size == 1:
            break
        size = max(1, size // 2) if len(shorter) == len(actions) else size
        actions = shorter
    return best


async def _without_some(
    actions: Sequence[Action], size: int, fails: Callable[[Sequence[Action]], Awaitable[bool]]
) -> Sequence[Action]:
    """What is left after each stretch of this size that is not needed has been taken out."""
    start = 0
    while start < len(actions):
        fewer = [*actions[:start], *actions[start + size :]]
        if await fails(fewer):
            actions = fewer
        else:
            start += size
    return actions


def _concerns(action: Action, schedule: int) -> bool:
    """Whether this is not only about another schedule."""
    if isinstance(action, Together):
        return _concerns(action.one, schedule) and _concerns(action.other, schedule)
    return getattr(action, "schedule", schedule) == schedule
