"""What every command starts from: which relay, which key, and how the answer is shown."""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tocsin.client import Client

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one value a line, for programs.")]


@dataclass(frozen=True)
class Session:
    """The options that stand before the command."""

    url: str | None = None
    key: str | None = None


_current: ContextVar[Session | None] = ContextVar("session", default=None)


def begin(named: Session) -> None:
    """Remember the options of the command that begins."""
    _current.set(named)


def session() -> Session:
    """The options of the command that is running."""
    return _current.get() or Session()


def client() -> "Client":
    """A client for the relay and key that were named, or the usual ones."""
    # Imported when it is needed: `tocsin --help` should not wait for an HTTP client.
    from tocsin.auth import find_key
    from tocsin.client import Client

    named = session()
    return Client(named.url, find_key(named.key))
