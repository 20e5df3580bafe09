"""Our two distributions, built as they are published."""

from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]


def build_wheels(into: Path) -> list[Path]:
    """The wheels of the SDK and of the relay."""
    return [Path(next(WheelBuilder(str(root)).build(directory=str(into)))) for root in (ROOT / "sdk", ROOT)]
