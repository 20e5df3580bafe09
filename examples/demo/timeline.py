"""What the demo shows: who did what, and when."""

import time
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

styles = {"relay": "bold magenta", "chain": "blue", "ada": "green", "bob": "yellow", "cyd": "cyan"}


class Timeline:
    """Prints one line for each thing that happens, after the seconds since the demo began."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._console = Console(highlight=False, emoji=False, markup=False, soft_wrap=True)

    @property
    def seconds(self) -> float:
        """Since the demo began."""
        return time.monotonic() - self._began

    def title(self, text: str) -> None:
        self._console.print()
        self._console.print(Text(text, style="bold"))

    def say(self, who: str, what: str, style: str = "") -> None:
        stamp = Text(f"{self.seconds:6.2f} s  ", style="dim")
        self._console.print(stamp + Text(f"{who:<6} ", style=styles.get(who, "")) + Text(what, style=style))

    def plain(self, text: str) -> None:
        self._console.print(Text(text))

    def summary(self, rows: Sequence[tuple[str, str]]) -> None:
        table = Table(title="What you have seen", title_style="bold", title_justify="left", show_header=False)
        for what, seen in rows:
            table.add_row(Text(what), Text(seen))
        self._console.print()
        self._console.print(table)
