"""Where this relay's own processes listen. No stranger's URL leads there, whatever networks the operator opens."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from psycopg.conninfo import conninfo_to_dict

__all__ = ["own_doors"]

postgres_port = 5432
valkey_port = 6379


def own_doors(
    *, api: tuple[str, int], database_url: str | None, valkey_url: str | None, metrics_port: int | None
) -> frozenset[tuple[str, int]]:
    """Host and port of each, as the settings name them. A Unix socket is none: no URL leads to one."""
    doors = {api, *_of_postgres(database_url or ""), *_of_valkey(valkey_url or "")}
    if metrics_port is not None:
        doors.add(("0.0.0.0", metrics_port))
    return frozenset((host, port) for host, port in doors if port)


def _of_postgres(url: str) -> Iterator[tuple[str, int]]:
    """A connection string may name several hosts, and their addresses beside them."""
    # What stands before "://" may name a driver, too, which is nothing to the server's own library.
    known = conninfo_to_dict(f"postgresql://{url.partition('://')[2]}")
    ports = str(known.get("port") or postgres_port).split(",")
    for kind in ("host", "hostaddr"):
        hosts = str(known.get(kind) or "").split(",")
        # One port is for all hosts.
        for host, port in zip(hosts, ports * len(hosts) if len(ports) == 1 else ports, strict=False):
            if host and not host.startswith(("/", "@")):
                yield host, int(port or postgres_port)


def _of_valkey(url: str) -> Iterator[tuple[str, int]]:
    parts = urlsplit(url)
    if parts.hostname:
        yield parts.hostname, parts.port or valkey_port
