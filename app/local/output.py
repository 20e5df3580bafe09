"""What a person sees of the tree: every line after the name of who said it."""

import contextlib
import sys
import threading
from collections.abc import Sequence
from typing import IO

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

colours = {
    "tocsin": "bold magenta",
    "postgres": "blue",
    "valkey": "red",
    "api": "green",
    "worker": "yellow",
}
name_width = max(map(len, colours))


class Output:
    """Writes whole lines, from any thread."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._console = Console(file=stream or sys.stdout, highlight=False, emoji=False, markup=False)
        self._lock = threading.Lock()

    def say(self, name: str, line: str) -> None:
        """One line of this speaker's."""
        prefix = Text(f"{name:<{name_width}} │ ", style=colours.get(name, "cyan"))
        # The reader of our output may have gone; the relay goes on.
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._console.print(prefix + Text.from_ansi(line), soft_wrap=True)

    def follow(self, name: str, pipe: IO[bytes]) -> threading.Thread:
        """Repeat everything that comes out of this pipe, until it ends; the thread that does so ends then, too."""
        reader = threading.Thread(target=self._repeat, args=(name, pipe), name=f"output of {name}", daemon=True)
        reader.start()
        return reader

    def box(self, title: str, rows: Sequence[tuple[str, str]], closing: str) -> None:
        """A framed summary: what is where, and one last line."""
        table = Table.grid(padding=(0, 2))
        for name, value in rows:
            table.add_row(Text(name, style="bold"), Text(value, overflow="fold"))
        table.add_row("", "")
        table.add_row("", Text(closing, style="dim"))
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._console.print(Panel(table, title=Text(title, style="bold"), expand=False, padding=(1, 2)))

    def _repeat(self, name: str, pipe: IO[bytes]) -> None:
        with pipe:
            for line in pipe:
                self.say(name, line.decode(errors="replace").rstrip())
