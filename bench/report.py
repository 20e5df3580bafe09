"""How figures are printed."""

from collections.abc import Sequence
from statistics import quantiles

__all__ = ["line", "show", "spread"]


def line(what: str, measured: str) -> None:
    """One figure."""
    print(f"{what:44} {measured}", flush=True)


def show(what: str, milliseconds: Sequence[float]) -> None:
    """How many milliseconds each took, in a line."""
    spreading = spread(milliseconds) if len(milliseconds) > 1 else {}
    line(what, ", ".join(f"{name} {value:.2f} ms" for name, value in spreading.items()) or "nothing to measure")


def spread(values: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99 and the worst."""
    hundredths = quantiles(values, n=100)
    return {"p50": hundredths[49], "p95": hundredths[94], "p99": hundredths[98], "max": max(values)}
