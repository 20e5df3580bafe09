"""The `tocsin` command: what an agent's owner types.

Whatever is installed beside this package can add commands through the entry-point group `tocsin.commands`, each entry
a `typer.Typer`; the relay adds `up`, `api`, `worker` and others so.
"""

import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points, version
from typing import Annotated

import typer
from pydantic import ValidationError

from tocsin.cli import show
from tocsin.cli.agents import keygen, me, register
from tocsin.cli.call import call
from tocsin.cli.deliveries import deliveries
from tocsin.cli.endpoints import endpoints
from tocsin.cli.events import events
from tocsin.cli.listen import listen
from tocsin.cli.messages import messages
from tocsin.cli.payments import payments, prices
from tocsin.cli.recoveries import recoveries
from tocsin.cli.schedules import schedules
from tocsin.cli.session import Session, begin
from tocsin.cli.subscriptions import subscribe, subscriptions, watchers
from tocsin.cli.verify import verify
from tocsin.problems import Problem, UnknownKey
from tocsin.schemas.wire import InvalidArgument

__all__ = ["main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    help="Tocsin wakes sleeping agents with signed webhooks.",
)


def _print_version(asked: bool) -> None:
    if asked:
        print(version("tocsin"))
        raise typer.Exit


@app.callback()
def options(
    url: Annotated[
        str | None, typer.Option(envvar="TOCSIN_URL", help="The relay; default: http://127.0.0.1:8585.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(envvar="TOCSIN_KEY", help="Your key file; default: ~/.config/tocsin/key.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    begin(Session(url, key))


for command in (keygen, register, me, listen):
    app.command()(command)
app.add_typer(schedules, name="schedule")
app.add_typer(subscribe, name="subscribe")
app.add_typer(subscriptions, name="subscriptions")
app.add_typer(endpoints, name="endpoints")
app.add_typer(messages, name="messages")
app.add_typer(deliveries, name="deliveries")
app.add_typer(recoveries, name="recoveries")
app.add_typer(verify, name="verify")
for command in (watchers, events, prices, payments):
    app.command()(command)
app.command(no_args_is_help=True)(call)


def main() -> None:
    """Run the command line; errors become a line each, and exit code 1."""
    try:
        _commands()()
    except Problem as problem:
        show.refusal(problem)
        if isinstance(problem, UnknownKey):
            show.hint("  Here that is: tocsin register")
        sys.exit(1)
    except InvalidArgument as error:
        show.invalid(error)
        sys.exit(1)
    except ValidationError as error:
        show.invalid(InvalidArgument.of(error))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:
        if not _is_told(error):
            raise
        show.failure(str(error).removeprefix(f"[Errno {getattr(error, 'errno', None)}] "))
        sys.exit(1)


def _is_told(error: Exception) -> bool:
    """Whether an error's own words are all that a person needs."""
    from tocsin.auth import NoKey, NoRelay
    from tocsin.client import ClientError
    from tocsin.client.calls import NoId

    return isinstance(error, NoKey | NoRelay | NoId | ClientError | OSError)


@cache
def _commands() -> Callable[[], object]:
    """Every command, with those of what else is installed. A broken one of these costs a warning, and only itself."""
    for entry in entry_points(group="tocsin.commands"):
        try:
            app.add_typer(entry.load())
        except Exception as error:  # whatever a stranger's import may raise
            show.failure(f"The commands of {entry.value} cannot be loaded: {error!r}")
    return typer.main.get_command(app)
