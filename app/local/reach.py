"""Whether a database or a Valkey that was named can be reached."""

import socket
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from app.local.errors import LocalError

connect_seconds_max = 5
answer_seconds_max = 2
postgres_oldest = 15


def require_database(url: str) -> int:
    """The major version of the Postgres at this address; refuses what cannot be reached or is too old."""
    if not url.startswith(("postgresql://", "postgres://")):
        raise LocalError("TOCSIN_DATABASE_URL must begin with postgresql://")
    try:
        with psycopg.connect(url, connect_timeout=connect_seconds_max) as db:
            major = db.info.server_version // 10000
    except psycopg.Error as error:
        raise LocalError(
            f"cannot reach the database at {database_at(url)} (TOCSIN_DATABASE_URL): {_reason(error)}"
        ) from error
    if major < postgres_oldest:
        raise LocalError(
            f"the database at {database_at(url)} is PostgreSQL {major}; it must be {postgres_oldest} or newer"
        )
    return major


def is_answering(url: str) -> bool:
    """Whether the database answers within a moment: one that hangs takes connections, and says nothing on them."""
    try:
        with psycopg.connect(url, connect_timeout=answer_seconds_max):
            return True
    except psycopg.Error as error:
        # A server that says why it takes no connection, answers.
        return "FATAL" in str(error)


def _reason(error: psycopg.Error) -> str:
    """Only the reason, of all that libpq says."""
    lines = str(error).strip().splitlines() or ["no answer"]
    told = next((line for line in lines if "failed: " in line), lines[-1])
    return told.rpartition("failed: ")[2].strip()


def database_at(url: str) -> str:
    """Host, port and name of a database, and nothing secret."""
    try:
        named = conninfo_to_dict(url)
    except psycopg.Error:
        return "an address that cannot be read"
    return f"{named.get('host', 'localhost')}:{named.get('port', 5432)}/{named.get('dbname', '')}"


def require_valkey(url: str) -> str:
    """The version of the Valkey (or Redis) at this address; refuses what cannot be reached."""
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise LocalError("TOCSIN_VALKEY_URL must begin with redis://, rediss:// or unix://")
    where = valkey_at(url)
    if parts.scheme != "redis":
        return "not asked (the address is not plain redis://)"
    try:
        address = (parts.hostname or "localhost", parts.port or 6379)
        with socket.create_connection(address, timeout=connect_seconds_max) as peer:
            heard = _converse(peer, parts.username, parts.password)
    except OSError as error:
        raise LocalError(f"cannot reach Valkey at {where} (TOCSIN_VALKEY_URL): {error.strerror or error}") from error
    return heard


def valkey_at(url: str) -> str:
    """Host and port of a Valkey, or its socket, and nothing secret."""
    parts = urlsplit(url)
    try:
        return parts.path if parts.scheme == "unix" else f"{parts.hostname or 'localhost'}:{parts.port or 6379}"
    except ValueError as error:
        # Not as Python says it: what stands in the port's place may be a password.
        raise LocalError("TOCSIN_VALKEY_URL has no number for a port; write / @ : # in a password as %xx") from error


def _converse(peer: socket.socket, username: str | None, password: str | None) -> str:
    """Log in, ask for the version, and hang up."""
    if password is not None:
        words = ["AUTH", *([username] if username else []), password]
        peer.sendall(_command(*words))
        if not (answer := peer.recv(256)).startswith(b"+OK"):
            raise LocalError(
                f"Valkey refuses the password of TOCSIN_VALKEY_URL: {answer.decode(errors='replace').strip()}"
            )
    peer.sendall(_command("INFO", "server"))
    heard = peer.recv(8192).decode(errors="replace")
    if heard.startswith("-"):
        raise LocalError(f"Valkey answers {heard.strip()}; is the password missing from TOCSIN_VALKEY_URL?")
    named = dict(line.split(":", 1) for line in heard.splitlines() if ":" in line)
    return named.get("valkey_version") or named.get("redis_version") or "of an unknown version"


def _command(*words: str) -> bytes:
    """One command in the server's own framing, so that no character of a password is special."""
    parts = [word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
