"""What an operation costs: dollars as text in settings and on the wire, whole micro-dollars inside. Never a float."""

import re
from collections.abc import Mapping, Set
from types import MappingProxyType

# One micro-dollar is one atomic unit of a stablecoin with six decimals.
micro_usd_per_usd = 1_000_000
price_usd_max = 1_000_000

_PRICE = re.compile(r"\$(?P<dollars>0|[1-9][0-9]{0,6})(?:\.(?P<fraction>[0-9]{1,18}))?")


class BadTerms(ValueError):
    """Settings that nothing can be sold by, so the relay does not start. The message names the setting."""


class BadPrice(BadTerms):
    """A price that is none, or a price for what cannot be sold."""

    def __init__(self, message: str) -> None:
        super().__init__(f"TOCSIN_PRICES: {message}")


def micro_usd(price: str) -> int:
    """`$0.001` as 1000. Raises BadPrice for what is not such a price, is nothing, or is finer than a micro-dollar."""
    match = _PRICE.fullmatch(price)
    if match is None:
        raise BadPrice(f"{price!r} is not a price; write dollars such as $0.001")
    fraction = (match["fraction"] or "").rstrip("0")
    if len(fraction) > 6:
        raise BadPrice(f"{price} is finer than one micro-dollar ($0.000001)")
    amount = int(match["dollars"]) * micro_usd_per_usd + int(fraction.ljust(6, "0"))
    if not 0 < amount <= price_usd_max * micro_usd_per_usd:
        raise BadPrice(f"{price} must be more than nothing and at most ${price_usd_max}; leave out what is free")
    return amount


def price(amount: int) -> str:
    """1000 as `$0.001`: how prices are written."""
    dollars, fraction = divmod(amount, micro_usd_per_usd)
    return f"${dollars}" + f".{fraction:06}".rstrip("0").rstrip(".")


def usd(amount: int) -> str:
    """1000 as `0.001000`: how amounts are written."""
    dollars, fraction = divmod(amount, micro_usd_per_usd)
    return f"{dollars}.{fraction:06}"


def price_list(configured: Mapping[str, str]) -> Mapping[str, int]:
    """The price of each operation in micro-dollars. Raises BadPrice."""
    return MappingProxyType({operation: micro_usd(price) for operation, price in configured.items()})


def require_sold(configured: Mapping[str, int], sold: Set[str]) -> None:
    """Raises BadPrice where an operation has a price that does not exist or cannot be sold."""
    if unknown := sorted(set(configured) - sold):
        raise BadPrice(f"{unknown[0]!r} cannot have a price; these can: {', '.join(sorted(sold))}")
