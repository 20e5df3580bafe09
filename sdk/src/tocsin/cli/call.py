"""A signed curl."""

import json
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from tocsin.cli import show
from tocsin.cli.session import session

if TYPE_CHECKING:
    import httpx

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})


def call(
    method: Annotated[str, typer.Argument(help="GET, POST, PUT, PATCH or DELETE.")],
    path: Annotated[str, typer.Argument(help="Path at the relay with its query, such as '/v1/events?limit=5'.")],
    data: Annotated[
        str | None, typer.Option("--data", "-d", help="The JSON body; @file reads it from a file, - from stdin.")
    ] = None,
    header: Annotated[list[str] | None, typer.Option("--header", "-H", help="'Name: value'; may be repeated.")] = None,
    include: Annotated[bool, typer.Option("--include", "-i", help="Show the answer's status and headers too.")] = False,
) -> None:
    """Send one signed request, and print the answer; a stream of events as it comes. Exits with 1 if the relay refuses.

    Writes get a fresh Idempotency-Key unless you give one.

        tocsin call GET /v1/agents/me
        tocsin call POST /v1/schedules/preview -d '{"spec": {"cron": "0 9 * * 1-5"}}'
    """
    import httpx

    from tocsin.auth import RequestSigner, find_key, find_url, is_here
    from tocsin.client import Unreachable

    method, path = method.upper(), _path(path)
    if method not in _METHODS:
        raise typer.BadParameter(f"GET, POST, PUT, PATCH or DELETE, not {method!r}", param_hint="method")
    named = session()
    url = find_url(named.url)
    body = _body(data)
    try:
        with httpx.stream(
            method,
            f"{url}/{path.lstrip('/')}",
            content=body,
            headers=_headers(method, body, header or []),
            auth=RequestSigner(find_key(named.key)),
            timeout=60,
            trust_env=not is_here(url),
        ) as answer:
            if include:
                show.err.print(f"[bold]{answer.status_code}[/bold] {answer.reason_phrase}")
                for name, value in answer.headers.items():
                    show.err.print(f"[dim]{name}:[/dim] {escape(value)}")
            _print(answer)
    except httpx.TransportError as error:
        raise Unreachable.after(error) from None
    raise typer.Exit(0 if answer.status_code < 400 else 1)


def _path(given: str) -> str:
    if "://" in given.partition("?")[0]:
        raise typer.BadParameter("only the path; name another relay by --url, before the command", param_hint="path")
    return given


def _body(data: str | None) -> bytes | None:
    if data is None:
        return None
    if data == "-":
        return sys.stdin.buffer.read()
    return Path(data[1:]).read_bytes() if data.startswith("@") else data.encode()


def _headers(method: str, body: bytes | None, given: list[str]) -> dict[str, str]:
    headers = {"Accept": "application/json"}
    if method not in {"GET", "HEAD"}:
        headers["Idempotency-Key"] = secrets.token_urlsafe(16)
    if body is not None:
        headers["Content-Type"] = "application/json"
    for line in given:
        name, colon, value = line.partition(":")
        if not colon:
            raise typer.BadParameter(f"write a header as 'Name: value', not {line!r}", param_hint="--header")
        headers[name.strip().title()] = value.strip()
    return headers


def _print(answer: "httpx.Response") -> None:
    """The body: indented for people, untouched for pipes. A stream of events as it comes."""
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        for chunk in answer.iter_bytes():
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
        return
    answer.read()
    if not sys.stdout.isatty() or "json" not in answer.headers.get("content-type", ""):
        sys.stdout.buffer.write(answer.content)
        if sys.stdout.isatty() and answer.content:
            print()
        return
    show.out.print_json(json.dumps(answer.json()))
