"""The relay's own commands, which the SDK's `tocsin` mounts: up, api, worker, migrate, doctor, openapi, and keys'.

What a command needs is imported when it runs: agents' commands load this module too, and should not wait for it.
"""

import os
import re
import shutil
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from app.kit.sealing import Keyring
    from app.settings import ApiSettings, Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
loopback_networks = "127.0.0.0/8,::1/128"


@app.command()
def up(
    host: Annotated[str | None, typer.Option(help="Address that the API listens on.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port that the API listens on.")] = None,
    home: Annotated[Path | None, typer.Option(help="Folder that the data are kept in.")] = None,
    postgres_port: Annotated[int | None, typer.Option(min=1, max=65535, help="Default: any free one.")] = None,
    valkey_port: Annotated[int | None, typer.Option(min=1, max=65535, help="Default: any free one.")] = None,
    # What `make up` passes.
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
    command: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Start a whole relay here: Postgres, Valkey, API and worker. Ctrl-C stops it."""
    with one_line_errors():
        from app.local.output import Output
        from app.local.ports import free_port
        from app.local.tree import Plan, Tree
        from app.settings import Settings, inherited

        settings = Settings()
        served_at = host or settings.api.host
        allow = ",".join(settings.outbound.allow) or private_networks(served_at, settings.api)
        changes = {
            "TOCSIN_API_HOST": served_at,
            "TOCSIN_API_PORT": str(port or settings.api.port or free_port()),
            "TOCSIN_HOME": str((home or settings.home).absolute()),
            "TOCSIN_OUTBOUND_ALLOW": allow,
            "PYTHONUNBUFFERED": "1",
        }
        output = Output()
        if not settings.outbound.allow:
            output.say("tocsin", _said_of_outbound(allow))
        plan = Plan(
            home=(home or settings.home).absolute(),
            host=changes["TOCSIN_API_HOST"],
            port=int(changes["TOCSIN_API_PORT"]),
            environment=inherited(changes),
            secret=settings.secret,
            database_url=settings.database.url,
            valkey_url=settings.valkey.url,
            worker=settings.worker,
            chains=tuple(settings.chains),
            postgres_port=postgres_port,
            valkey_port=valkey_port,
            parent=parent,
            command=command or _as_typed(sys.argv[0]),
        )
        Tree(plan, output).run()


def _as_typed(program: str) -> str:
    """How this command can be typed in another terminal: by its path, where it is not on PATH."""
    return "tocsin" if shutil.which("tocsin") else min(program, os.path.relpath(program), key=len)


def private_networks(host: str, api: "ApiSettings") -> str:
    """What may be called beside the public internet, where the operator says nothing: this machine, if nobody else is
    served. Strangers could have what listens on its loopback called, and read."""
    from app.local.ports import is_loopback

    served_beyond = not is_loopback(host) or api.public_url is not None or api.authorities
    return "" if served_beyond else loopback_networks


def _said_of_outbound(allow: str) -> str:
    if allow:
        return f"TOCSIN_OUTBOUND_ALLOW is set to {allow}: agents here may be reached"
    return (
        "others may reach this relay, so it calls public addresses only; TOCSIN_OUTBOUND_ALLOW names further networks"
    )


@app.command()
def api() -> None:
    """Serve the API alone.

    Postgres and Valkey are those of the environment; where it names none, those of the relay that `tocsin up` runs in
    TOCSIN_HOME. The first line of the log says which.
    """
    with one_line_errors():
        import uvicorn

        from app.kit.http_server import BoundedHttp
        from app.local.ports import require_free
        from app.settings import Settings

        given = Settings()
        settings = _connected()
        require_free(settings.api.host, settings.api.port, "choose another with TOCSIN_API_PORT")
        _tell_servers(settings, given)
        uvicorn.run(
            "app.main:create",
            factory=True,
            host=settings.api.host,
            port=settings.api.port,
            log_config=None,
            log_level="warning",
            access_log=False,
            http=BoundedHttp,
            ws="none",
            # Open streams would hold a shutdown up for as long as their readers like.
            timeout_graceful_shutdown=5,
        )


@app.command()
def worker() -> None:
    """Run a worker alone.

    Postgres and Valkey are those of the environment; where it names none, those of the relay that `tocsin up` runs in
    TOCSIN_HOME. The first line of the log says which.
    """
    with one_line_errors():
        from app.local.ports import require_free_metrics
        from app.settings import Settings

        given = Settings()
        settings = _connected()
        require_free_metrics(settings.worker)
        _tell_servers(settings, given)
        # Ctrl-C waits until the worker has been read and can stop.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    # By name: workers know the app, and not the reverse. In this process, which has read most of their code by now.
    import_module("workers.main").main()


@app.command()
def migrate() -> None:
    """Bring the database to the newest version."""
    with one_line_errors():
        from app.local import migrations, sealed
        from app.local.reach import require_database

        settings = _joined()
        url = _database_url(settings)
        require_database(url)
        keyring = _keyring(settings)
        before = migrations.migrate(url)
        if before.up_to_date:
            typer.echo(f"The database is at version {before.newest} already.")
        else:
            typer.echo(f"Brought the database from {before.found or 'nothing'} to version {before.newest}.")
        if count := sealed.prepare(url, keyring):
            typer.echo(f"Sealed {count} secrets that an older release had stored as they are.")


@app.command()
def new_secret_key() -> None:
    """Print a new key that seals secrets, for TOCSIN_SECRET_KEY."""
    from app.kit.sealing import SecretKey

    typer.echo(SecretKey.new().text)


@app.command()
def reseal() -> None:
    """Seal all secrets with TOCSIN_SECRET_KEY; TOCSIN_SECRET_KEYS_BEFORE opens what others sealed."""
    with one_line_errors():
        from app.local import sealed

        url, keyring = _unlocked()
        count = sealed.reseal(url, keyring)
        typer.echo(f"Sealed {count} rows with the key {keyring.current}; nothing is left that another one sealed.")


@app.command()
def rotate_signing_key(
    overlap: Annotated[str, typer.Option(help="How long the key before signs, too, such as 7d or 12h.")] = "7d",
    announce: Annotated[str, typer.Option(help="How long the new key is published before it signs.")] = "1h",
    now: Annotated[bool, typer.Option("--now", help="Sign by the new key alone, at once: after a leak.")] = False,
) -> None:
    """Replace the key that signs `v1a` for the relay. Processes need no restart."""
    with one_line_errors():
        from app.local import sealed
        from app.local.spans import span, within

        least = timedelta(minutes=10)
        waits = timedelta(0) if now else within("--announce", span("--announce", announce), least, timedelta(days=30))
        lasts = timedelta(0) if now else within("--overlap", span("--overlap", overlap), least, timedelta(days=90))
        url, keyring = _unlocked()
        kid, signs_at = sealed.rotate_signing_key(url, keyring, waits, lasts)
        typer.echo(_said_of_rotation(kid, signs_at, lasts, now=now))


def _said_of_rotation(kid: str, signs_at: datetime, lasts: timedelta, *, now: bool) -> str:
    if now:
        return f"The key {kid} signs within seconds, and those before it no more. Tell agents to fetch the JWKS again."
    ends = signs_at + lasts
    return (
        f"The key {kid} is published at /.well-known/jwks.json and signs from {signs_at:%Y-%m-%d %H:%M} UTC; "
        f"until {ends:%Y-%m-%d %H:%M} UTC the key before signs, too."
    )


@app.command()
def doctor() -> None:
    """Check everything that a relay depends on. Exit code 1 if anything is wrong."""
    with one_line_errors():
        from app.local import checks

        findings = checks.examine(_joined())
        checks.show(findings)
        if not all(finding.well for finding in findings):
            raise typer.Exit(1)


@app.command()
def openapi() -> None:
    """Print the OpenAPI document."""
    import json

    from app.discovery.routes import describe
    from app.operations import FEATURES
    from app.settings import Settings

    origin = Settings.model_fields["api"].get_default().origin
    typer.echo(json.dumps(describe(FEATURES, origin), indent=2))


def _joined() -> "Settings":
    """The settings, with the servers of the relay that runs in this home where the environment names none."""
    from app.local import secret_key
    from app.local.running import Running
    from app.settings import Settings, adopt

    settings = Settings()
    relay = Running.read(settings.home)
    if relay is None:
        return settings
    adopt("TOCSIN_DATABASE_URL", relay.database_url)
    adopt("TOCSIN_VALKEY_URL", relay.valkey_url)
    if Settings().database.url == relay.database_url and (key := secret_key.kept(settings.home)) is not None:
        adopt("TOCSIN_SECRET_KEY", key.text)
    return Settings()


def _connected() -> "Settings":
    """The settings, once both servers have been reached, and the database's secrets open."""
    from app.local import sealed
    from app.local.errors import LocalError
    from app.local.reach import require_database, require_valkey

    settings = _joined()
    url = _database_url(settings)
    require_database(url)
    keyring = _keyring(settings)
    if settings.valkey.url is None:
        raise LocalError("TOCSIN_VALKEY_URL is not set, and no relay runs here; set it, or start one with `tocsin up`")
    require_valkey(settings.valkey.url)
    sealed.prepare(url, keyring)
    return settings


def _tell_servers(settings: "Settings", given: "Settings") -> None:
    """One line on which servers this part has joined, and whether the environment, as it was given, named them."""
    from app.kit import telemetry
    from app.local.reach import database_at, valkey_at

    assert settings.database.url is not None
    assert settings.valkey.url is not None
    relay = f"the relay that runs in {settings.home.absolute()}"
    telemetry.configure(settings.log.format, settings.log.level, settings.log.attempts)
    telemetry.logger(__name__).info(
        "joined its servers",
        database=database_at(settings.database.url),
        database_named_by="TOCSIN_DATABASE_URL" if given.database.url else relay,
        valkey=valkey_at(settings.valkey.url),
        valkey_named_by="TOCSIN_VALKEY_URL" if given.valkey.url else relay,
    )


def _unlocked() -> "tuple[str, Keyring]":
    """The database, and the keys that open its secrets."""
    from app.local.reach import require_database

    settings = _joined()
    url = _database_url(settings)
    require_database(url)
    return url, _keyring(settings)


def _keyring(settings: "Settings") -> "Keyring":
    from app.local.errors import LocalError

    if settings.secret.key is None:
        raise LocalError(
            "TOCSIN_SECRET_KEY is not set; `tocsin new-secret-key` prints one. Give all processes the same, and "
            "keep it apart from the database, whose backups cannot be used without it"
        )
    return settings.secret.keyring


def _database_url(settings: "Settings") -> str:
    from app.local.errors import LocalError

    if settings.database.url is None:
        raise LocalError(
            "TOCSIN_DATABASE_URL is not set, and no relay runs here; set it, or start one with `tocsin up`"
        )
    return settings.database.url


@contextmanager
def one_line_errors() -> Generator[None]:
    """What a person has to change is told in one line, with exit code 1; anything else is a bug and shows itself."""
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from app.local.errors import LocalError
    from app.payments.prices import BadTerms

    try:
        yield
    except (LocalError, BadTerms) as error:
        _refuse(str(error))
    except SettingsError as error:
        field = re.search(r'field "(\w+)"', str(error))
        if field is None:
            _refuse(f"the settings cannot be read: {error}")
        else:
            _refuse(f"TOCSIN_{field[1].upper()} is no JSON ({error.__cause__}): docs/settings.md shows what it takes")
    except ValidationError as error:
        first = error.errors()[0]
        place = [str(part) for part in first["loc"]]
        if first["type"] == "extra_forbidden":
            _refuse(_unknown(place))
        _refuse(_named(place) + first["msg"].removeprefix("Value error, "))


def _unknown(place: list[str]) -> str:
    from app.settings import meant_by

    name = _named(place).removesuffix(": ")
    if meant := meant_by(name):
        return f"{name} is no setting; is {meant} meant?"
    return f"{name} is no setting; docs/{'operating/chains' if place[0] == 'chains' else 'settings'}.md lists them"


def _named(place: list[str]) -> str:
    """The variable that a setting is read from, and where in it, if it is a document."""
    if place[:1] not in (["chains"], ["prices"]):
        return f"TOCSIN_{'_'.join(place).upper()}: " if place else ""
    within = "/".join(part for part in place[1:] if part != "[key]")
    return f"TOCSIN_{place[0].upper()}: " + (f"{within}: " if within else "")


def _refuse(line: str) -> NoReturn:
    typer.echo(f"tocsin: {' '.join(line.split())}", err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    app()
