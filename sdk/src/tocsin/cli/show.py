"""How answers look in a terminal."""

import json
import re
import select
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any

from pydantic import BaseModel
from rich import markup
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.padding import Padding

from tocsin.problems import InvalidBody, InvalidQuery, Problem
from tocsin.schemas.wire import InvalidArgument

# Into a pipe tables are as wide as they need to be: an id that is cut off is of no use to anybody.
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 10_000)
err = Console(highlight=False, soft_wrap=True, stderr=True)

_GAP = "  "
_NOTHING = frozenset({"", "-"})
_TOLD_ELSEWHERE = frozenset({"errors", "signature_base", "component"})
_SAY_TO_CORRECT = (InvalidBody, InvalidQuery)
_REASONS = frozenset({"reason", "state_reason"})
# What the relay says to all who call it, and what is typed here.
_TYPED = {
    "DELETE /v1/subscriptions/{id}": "tocsin subscriptions rm",
    "GET /v1/agents/me": "tocsin me",
    "POST /v1/deliveries/{id}/redeliver": "tocsin deliveries redeliver",
    "POST /v1/schedules/preview": "tocsin schedule preview",
    "POST …/enable": "tocsin endpoints enable",
    "POST …/resume": "tocsin endpoints resume",
    "POST …/verify": "tocsin endpoints verify",
}
# What a terminal obeys. Others wrote much of what is shown here.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def escape(text: str) -> str:
    """The text as it is to be read: neither as markup, nor as orders to the terminal."""
    return markup.escape(_CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text))


def typed(text: str) -> str:
    """The relay's advice with the commands of this program in place of its requests."""
    for request, command in _TYPED.items():
        text = text.replace(request, f"`{command}`")
    return text


def json_line(value: Any) -> None:
    """One JSON value on one line, uncoloured."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    print(json.dumps(plain, ensure_ascii=False, separators=(",", ":")), flush=True)


def json_lines(values: Iterable[BaseModel]) -> None:
    """Many JSON values, one a line."""
    for value in values:
        json_line(value)


def record(value: BaseModel, as_json: bool = False) -> None:
    """One thing, a line for each of its members."""
    if as_json:
        return json_line(value)
    members(value.model_dump(mode="json", exclude_none=True))
    return None


def members(named: Mapping[str, Any], indent: str = "") -> None:
    """Values by name, a line each."""
    width = max((len(name) for name in named), default=0)
    for name, value in named.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        text = typed(text) if name in _REASONS else text
        out.print(f"{indent}[dim]{escape(name):<{width}}[/dim]  {escape(text)}")


def table(values: Iterable[BaseModel], columns: Sequence[str], as_json: bool = False, empty: str = "none") -> None:
    """Many things of a kind: a row each."""
    if as_json:
        return json_lines(values)
    return rows(columns, ([_cell(getattr(value, column)) for column in columns] for value in values), empty)


def line(value: BaseModel, columns: Sequence[str]) -> None:
    """One of many things that are shown as they come."""
    out.print(escape(_GAP.join(_cell(getattr(value, column)) for column in columns)))


def rows(columns: Sequence[str], cells: Iterable[Sequence[str]], empty: str = "none", indent: int = 0) -> None:
    """Rows of text beneath their columns."""
    filled = list(cells)
    widths = [max(map(cell_len, column)) for column in zip(columns, *filled, strict=True)]
    if not filled:
        out.print(f"{' ' * indent}[dim]{empty}[/dim]")
    else:
        _draw(columns, filled, widths, indent)


def _draw(columns: Sequence[str], cells: Iterable[Sequence[str]], widths: Sequence[int], indent: int) -> None:
    """As many columns as a terminal has room for, and the rest of each row beneath it, by name.

    Nothing is cut off, and no column folded until it cannot be read.
    """
    ends = accumulate(width + len(_GAP) for width in widths)
    beside = max(1, sum(end - len(_GAP) <= out.width - indent for end in ends))
    if any(columns):
        _draw_line(columns, widths[:beside], indent, style="dim")
    for row in cells:
        _draw_line(row, widths[:beside], indent)
        beneath = list(zip(columns, row, strict=True))[beside:]
        named = (
            f"[dim]{name}[/dim] {escape(cell)}" if name else escape(cell)
            for name, cell in beneath
            if cell not in _NOTHING
        )
        rest = _GAP.join(named)
        if rest:
            out.print(Padding(rest, (0, 0, 0, indent + len(_GAP)), expand=False), soft_wrap=False)


def _draw_line(cells: Sequence[str], widths: Sequence[int], indent: int, style: str = "") -> None:
    aligned = _GAP.join(set_cell_size(cell, width) for cell, width in zip(cells, widths, strict=False))
    out.print(f"{' ' * indent}{escape(aligned.rstrip())}", style=style)


def pause(seconds: float) -> None:
    """Wait, but not for a reader that has gone: who only waits writes nothing, and would not notice."""
    reader = select.poll()
    try:
        reader.register(sys.stdout.fileno(), 0)
    except OSError:  # it is no file: there is no reader to ask for
        return time.sleep(seconds)
    if any(said & select.POLLERR for _, said in reader.poll(seconds * 1000)):
        raise BrokenPipeError
    return None


def done(text: str) -> None:
    """Something has been done."""
    out.print(f"[green]✓[/green] {escape(text)}")


def hint(text: str) -> None:
    """What could be done next. It goes to stderr, out of the way of pipes."""
    err.print(f"[dim]{escape(text)}[/dim]")


def failure(text: str) -> None:
    """Why something could not be done."""
    err.print(f"[red]✗[/red] {escape(text)}")


def refusal(problem: Problem, about: str | None = None) -> None:
    """What the relay refused, where, and what to do next; and what it is about, where that is one of many."""
    title = f"{problem.title} ({problem.status})"
    failure(title if about is None else f"{about}: {title}")
    errors: list[dict[str, str]] = problem.extras.get("errors") or []
    for error in errors:
        where = error.get("pointer", error.get("parameter", "")) or "body"
        err.print(f"  [bold]{escape(where)}[/bold]: {escape(typed(error.get('detail', '')))}")
    if not errors:
        err.print(f"  {escape(typed(problem.detail))}")
    # Where errors are listed, to correct them goes without saying: here they have no name.
    if (advice := problem.advice()) not in problem.detail and not (errors and type(problem) in _SAY_TO_CORRECT):
        err.print(f"  [dim]{escape(typed(advice))}[/dim]")
    if base := problem.extras.get("signature_base"):
        err.print("  [dim]The relay verified these lines:[/dim]")
        for line in str(base).split("\n"):
            err.print(f"  [dim]|[/dim] {escape(line)}")
    for name, value in problem.extras.items():
        if name not in _TOLD_ELSEWHERE:
            err.print(f"  [dim]{escape(name)}[/dim] {escape(json.dumps(value, ensure_ascii=False))}")
    if problem.instance:
        err.print(f"  [dim]request {escape(problem.instance)}[/dim]")


def invalid(error: InvalidArgument) -> None:
    """What was typed and cannot be sent, member by member."""
    failure("This cannot be sent:")
    for one in error.errors:
        where = one["pointer"].removeprefix("/")
        place = f"[bold]{escape(where)}[/bold]: " if where else ""
        err.print(f"  {place}{escape(one['detail'])}")


def local(moment: datetime) -> str:
    """A moment as people here read clocks."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def with_offset(moment: datetime) -> str:
    """The same in a sentence, beside times of other zones: with its offset."""
    return moment.astimezone().isoformat(sep=" ", timespec="seconds")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return local(value)
    if isinstance(value, BaseModel):
        return value.model_dump_json(exclude_none=True)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
