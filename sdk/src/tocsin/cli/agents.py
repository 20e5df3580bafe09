"""You: a key, and the agent that it speaks for."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tocsin.cli import show
from tocsin.cli.session import AsJson, client, session
from tocsin.keys import PrivateKey
from tocsin.problems import AlreadyRegistered, UnknownKey

if TYPE_CHECKING:
    from tocsin.client import Client

KeyFile = Annotated[Path | None, typer.Option("--out", "-o", help="Where to write it; default: ~/.config/tocsin/key.")]


def keygen(out: KeyFile = None) -> None:
    """Make a key. It is written to a file that only you can read, and it never replaces one.

    An agent is its key: whoever has the file is the agent. Nothing is sent anywhere; `tocsin register` does that.
    """
    from tocsin.auth import default_key_path

    path = out or default_key_path()
    try:
        key = _make_key(path)
    except FileExistsError:
        show.failure(f"There is a key in {path} already, and it may be in use. Choose another place with --out.")
        raise typer.Exit(1) from None
    show.out.print(f"[dim]keyid[/dim]  {key.public.keyid}")


def register(
    name: Annotated[str | None, typer.Option(help="A name for people; it need not be unique.")] = None,
    as_json: AsJson = False,
) -> None:
    """Register your key with the relay; says so if it is registered already.

    Makes a key first if none is in the usual place. One that --key or TOCSIN_KEY names is made by `tocsin keygen`.
    """
    ensure_key()
    with client() as relay:
        try:
            found = relay.agents.register(relay.key, name)
        except AlreadyRegistered:
            found = relay.agents.me()
            show.hint("This key was registered before.")
        show.record(found, as_json)
        show.hint(f"Registered at {relay.url}. Next: tocsin listen")


def ensure_key() -> None:
    """Make a key where the usual one is looked for, if none is named and none is there."""
    from tocsin.auth import default_key_path

    if session().key is None and not default_key_path().exists():
        _make_key(default_key_path())


def _make_key(path: Path) -> PrivateKey:
    key = PrivateKey.generate()
    key.save(path)
    show.hint(f"New key in {path}")
    return key


def ensure_registered(relay: "Client") -> None:
    """Register the key if the relay does not know it yet."""
    try:
        relay.agents.me()
    except UnknownKey:
        found = relay.agents.register(relay.key)
        show.hint(f"This relay did not know your key; you are now {found.id} there.")


def me(as_json: AsJson = False) -> None:
    """Show the agent that your key speaks for."""
    with client() as relay:
        show.record(relay.agents.me(), as_json)
