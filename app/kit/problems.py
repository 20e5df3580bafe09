"""Problems on their way out: one place renders them as RFC 9457 documents."""

import json
from collections.abc import Sequence
from typing import Any

from psycopg import errors as postgres_errors
from pydantic import ValidationError
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.kit import telemetry
from tocsin.problems import DatabaseUnavailable, InternalError, MethodNotAllowed, NotFound, Problem, RequestTimeout

log = telemetry.logger(__name__)

BodyTooSlow = RequestTimeout

_away = (OperationalError, InterfaceError, PoolTimeoutError, postgres_errors.OperationalError, ConnectionError)


def response(problem: Problem, request_id: str) -> Response:
    """The document of a problem, with the request's id as its instance."""
    document = problem.document(instance=request_id)
    return Response(json.dumps(document), problem.status, dict(problem.headers), "application/problem+json")


def pointers(error: ValidationError) -> list[dict[str, str]]:
    """Where a wire model was not met: a JSON pointer (RFC 6901) and what would be accepted, for each place."""
    return [{"pointer": _pointer(e["loc"]), "detail": e["msg"]} for e in error.errors(include_url=False, include_input=False)]


def _pointer(location: Sequence[int | str]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: no such path, no such method on it."""
    assert isinstance(error, HTTPException)
    request_id = request.state.request_id
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return response(MethodNotAllowed(f"this path answers {allowed}", headers={"Allow": allowed}), request_id)
    return response(NotFound(f"nothing answers at {request.url.path[:200]}; /openapi.json lists what does"), request_id)


async def on_database_away(request: Request, error: Exception) -> Response:
    """Postgres is restarting or gone: nothing was changed, and a retry will tell."""
    log.warning("the database is away", request_id=request.state.request_id, error=type(error).__name__)
    problem = DatabaseUnavailable("the database does not answer; nothing was changed", retry_after_seconds=2)
    return response(problem, request.state.request_id)


async def on_bug(request: Request, error: Exception) -> Response:
    """A defect of ours: the caller learns the request's id, the log learns the rest."""
    log.error("a request failed", request_id=request.state.request_id, path=request.url.path, exc_info=error)
    return response(InternalError("this is a defect of the relay; the log has it under this id"), request.state.request_id)


handlers: dict[Any, Any] = {
    HTTPException: on_http_exception,
    **dict.fromkeys(_away, on_database_away),
    Exception: on_bug,
}
