"""The price in a pool, and when a change of it is worth telling.

A price is taken once a block: the last one in it. What was observed is remembered by height, so that a reorganisation
takes back exactly what it takes from the chain, and the same blocks always give the same events.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Context, Decimal, localcontext
from itertools import groupby
from typing import Any, TypeAlias

from tocsin.schemas.evm import Crosses, EvmPrice, Moves

__all__ = ["Change", "Observation", "changed", "price_v2", "price_v3", "read", "remembered", "rewound", "stored"]

# How finely the window of a rule is remembered, beyond the blocks that may still be taken back.
steps = 240
_PRECISE = Context(prec=60)
_SHOWN = Context(prec=24)
# Pools may be made to say anything: no two prices are so far apart that this would not hold their ratio.
_RATIO = Context(prec=400)


@dataclass(frozen=True, slots=True)
class Observation:
    """A price at the end of a block, and whether it was told."""

    number: int
    timestamp: int
    price: Decimal
    told: bool = False

    def to_json(self) -> list[Any]:
        """As it is stored."""
        return [self.number, self.timestamp, str(self.price), self.told]

    @staticmethod
    def from_json(stored: Sequence[Any]) -> Observation:
        """As it was stored."""
        number, timestamp, price, told = stored
        return Observation(number, timestamp, Decimal(price), told)


@dataclass(frozen=True, slots=True)
class Change:
    """What the price was before, when, and how far it has come since, in per cent of that."""

    before: Observation
    percent: Decimal


Observations: TypeAlias = Sequence[Observation]


def price_v2(reserve0: int, reserve1: int, wanted: EvmPrice) -> Decimal | None:
    """What one of token 0 is worth, by what the pool holds of both; None of an empty pool."""
    return _price(Decimal(reserve1), Decimal(reserve0), wanted) if reserve0 and reserve1 else None


def price_v3(sqrt_price_x96: int, wanted: EvmPrice) -> Decimal | None:
    """What one of token 0 is worth, by the square root that the pool keeps; None where there is none."""
    return _price(Decimal(sqrt_price_x96**2), Decimal(2**192), wanted) if sqrt_price_x96 else None


def _price(units1: Decimal, units0: Decimal, wanted: EvmPrice) -> Decimal | None:
    with localcontext(_PRECISE):
        price = (units1 / units0).scaleb(wanted.decimals0 - wanted.decimals1)
        price = 1 / price if wanted.inverted else price
        return _SHOWN.plus(price)


def changed(rule: Moves | Crosses, seen: Observations, now: Observation) -> Change | None:
    """What to tell of a price that comes after those that were seen, oldest first; None where it is nothing."""
    match rule:
        case Crosses(level=level):
            return _crossed(Decimal(level), seen[-1], now) if seen else None
        case Moves(percent=percent, window=window):
            return _moved(Decimal(percent), _since(seen, now, window), now)


def _crossed(level: Decimal, before: Observation, now: Observation) -> Change | None:
    side = _side(before.price, level)
    # From a level it leads to both sides: only getting there, or beyond, is crossing it.
    if side in (0, _side(now.price, level)):
        return None
    return Change(before, _percent(before.price, now.price))


def _side(price: Decimal, level: Decimal) -> int:
    return (price > level) - (price < level)


def _moved(percent: Decimal, seen: Observations, now: Observation) -> Change | None:
    """The farther of the two: up from the lowest, or down from the highest."""
    if not seen:
        return None
    extremes = (min(seen, key=lambda each: each.price), max(seen, key=lambda each: each.price))
    changes = [Change(each, _percent(each.price, now.price)) for each in extremes]
    farthest = max(changes, key=lambda each: abs(each.percent))
    return farthest if abs(farthest.percent) >= percent else None


def _since(seen: Observations, now: Observation, window: timedelta) -> Observations:
    """Those within the window, from the last one that was told on."""
    told = max((place for place, each in enumerate(seen) if each.told), default=0)
    earliest = now.timestamp - window.total_seconds()
    return [each for each in seen[told:] if each.timestamp >= earliest]


def _percent(before: Decimal, now: Decimal) -> Decimal:
    with localcontext(_RATIO):
        return ((now - before) * 100 / before).quantize(Decimal("0.000001")).normalize()


def rewound(seen: Observations, below: int) -> Observations:
    """What was observed below a height."""
    return [each for each in seen if each.number < below]


def remembered(rule: Moves | Crosses, seen: Observations, *, blocks: int) -> Observations:
    """What has to be known for what comes next, when no more than so many blocks are ever taken back.

    Older than that, nothing changes any more: of each step of the window, the lowest and the highest are enough.
    """
    if not seen:
        return seen
    now, settled_below = seen[-1], seen[-1].number - blocks
    recent = [each for each in seen if each.number >= settled_below]
    older = [each for each in seen if each.number < settled_below]
    if isinstance(rule, Crosses):
        return [*older[-1:], *recent]
    window = rule.window.total_seconds()
    step = max(1, int(window) // steps)
    # The oldest block that may become the head again looks back from its own time.
    earliest = recent[0].timestamp - window
    kept = [
        each
        for _, group in groupby((e for e in older if e.timestamp >= earliest), key=lambda each: each.timestamp // step)
        for each in _extremes(list(group))
    ]
    assert now is recent[-1]
    return [*kept, *recent]


def _extremes(group: list[Observation]) -> Iterator[Observation]:
    """The lowest, the highest, and what was told, in their order."""
    low = min(group, key=lambda each: each.price)
    high = max(group, key=lambda each: each.price)
    yield from (each for each in group if each is low or each is high or each.told)


def stored(seen: Observations) -> Mapping[str, Any]:
    """What is kept of a filter between two looks."""
    return {"prices": [each.to_json() for each in seen]}


def read(kept: Mapping[str, Any]) -> Observations:
    """What was kept of a filter."""
    return [Observation.from_json(each) for each in kept["prices"]]
