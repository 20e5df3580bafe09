"""You: a key, and the agent that it speaks for."""

from pathlib import Path
from typing import Annotated

import typer

from tocsin.cli import show
from tocsin.cli.session import AsJson, client, session

KeyFile = Annotated[Path | None, typer.Option("--out", "-o", help="Where to write it; default: ~/.config/tocsin/key.")]


def keygen(out: KeyFile = None) -> None:
    """Make a key. It is written to a file that only you can read, and it never replaces one.

    An agent is its key: whoever has the file is the agent. Nothing is sent anywhere; `tocsin register` does that.
    """
    from tocsin.auth import default_key_path
    from tocsin.keys import PrivateKey

    path = out or default_key_path()
    key = PrivateKey.generate()
    try:
        key.save(path)
    except FileExistsError:
        show.failure(f"There is a key in {path} already, and it may be in use. Choose another place with --out.")
        raise typer.Exit(1) from None
    show.done(f"New key in {path}")
    show.out.print(f"[dim]keyid[/dim]  {key.public.keyid}")


def register(
    name: Annotated[str | None, typer.Option(help="A name for people; it need not be unique.")] = None,
    as_json: AsJson = False,
) -> None:
    """Register your key with the relay. Makes a key first if you have none; says so if it is registered already."""
    from tocsin.auth import default_key_path, find_key
    from tocsin.problems import AlreadyRegistered

    named = session().key
    if named is None and not default_key_path().exists():
        keygen()
    find_key(named)
    with client() as relay:
        try:
            me = relay.agents.register(relay.key, name)
        except AlreadyRegistered:
            me = relay.agents.me()
            show.hint("This key was registered before.")
        show.record(me, as_json)
        show.hint(f"Registered at {relay.url}. Next: tocsin listen")


def me(as_json: AsJson = False) -> None:
    """Show the agent that your key speaks for."""
    with client() as relay:
        show.record(relay.agents.me(), as_json)
